"""Logs of runs, of a served Headwater: followed while they are written, in flat memory."""

import threading

from end_to_end.conftest import a_crawler, made, wait_for
from headwater_client import Headwater, TaskWriter

LINE = b'{"level": "info", "text": "page %07d of the shop was fetched in 12 ms, and had 50 items on it"}\n'


def test_a_log_is_followed_while_it_is_written_and_ends_with_its_attempt(serve):
    served = serve(arguments=["--workers", "2"])
    with served.client() as client, Headwater(served.url, served.key()) as headwater:
        task = made(client, f"/actions/crawlers/{a_crawler(client)['fid']}/task")
        found = []

        def follow():
            found.extend(line.text for line in headwater.tasks.follow_log(task["fid"]))

        follower = threading.Thread(target=follow)
        follower.start()
        with TaskWriter(task["upload"]["endpoint"]) as writer:
            for number in range(3):
                writer.log(f"page {number}")
                wait_for(lambda number=number: len(found) == number + 1)
        follower.join(30)
        assert not follower.is_alive()
        assert found == ["page 0", "page 1", "page 2"]
        assert [line.text for line in headwater.tasks.log(task["fid"], tail=2)] == ["page 1", "page 2"]


def test_a_log_of_100_mb_is_written_followed_in_flat_memory(serve):
    served = serve()
    lines = 1_000_000
    with served.client() as client:
        task = made(client, f"/actions/crawlers/{a_crawler(client)['fid']}/task")
        made_small = client.post(f"/actions/tasks/{task['fid']}/log", content=LINE % 0)
        assert made_small.status_code == 202
        before = served.memory()
        body = (b"".join(LINE % number for number in range(start, start + 5_000)) for start in range(0, lines, 5_000))
        answer = client.post(f"/actions/tasks/{task['fid']}/log", content=body, timeout=600)
        assert answer.json()["payload"] == {"lines": lines, "dropped": 0}
        written = served.memory()
        client.post(f"/actions/tasks/{task['fid']}/status", json={"code": 200})
        count = 0
        with client.stream("GET", f"/tasks/{task['fid']}/log", params={"follow": 1}, timeout=600) as response:
            for line in response.iter_lines():
                count += line.startswith('data: {"at"')
        assert count == lines + 1
        # What Python keeps of freed memory varies; a tenth of the log does not.
        assert max(written, served.memory()) - before < 40 << 20
        page = client.get(f"/tasks/{task['fid']}/log", params={"tail": 1}).json()
        assert page["payload"][0]["text"].startswith("page 0999999")
