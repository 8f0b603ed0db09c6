"""Tools that read files by parts ask for their length first."""

import time

from end_to_end.conftest import made


def test_the_length_of_a_prepared_export_is_told_at_once(serve):
    with serve().client() as client:
        stream = made(client, "/streams")
        path = made(client, f"/actions/streams/{stream['fid']}/export?format=parquet")["path"]
        began = time.monotonic()
        for _ in range(3):
            answer = client.head(path)
            assert (answer.status_code, answer.headers["content-length"]) == (200, str(len(client.get(path).content)))
        assert time.monotonic() - began < 3  # each took two seconds
