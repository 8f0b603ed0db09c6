"""What a new server says first, and where its admin key is told."""

import json


def test_the_address_is_the_first_line_and_the_key_is_in_no_log(serve):
    served = serve(is_forked=False)  # it begins without a catalog
    lines = served.log.read_text().splitlines()
    first = json.loads(lines[0])
    assert (first["event"], first["url"], first["data"]) == ("server.starts", served.url, str(served.data))
    assert not [line for line in lines if served.key() in line]
    # A schema is made in one line, not in one for each migration.
    assert sum("catalog.migrated" in line for line in lines) == 1
    assert not [line for line in lines if "Running upgrade" in line]
