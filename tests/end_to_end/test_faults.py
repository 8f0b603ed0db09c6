"""Attacks on a served Headwater: its log, its disk and its clock fail."""

import os
import signal
import subprocess
import sys

import pytest

from .conftest import a_crawler, made, wait_for


def _unwritable(how: str) -> int:
    """Return a file descriptor that takes no log line."""
    if how == "full":
        return os.open("/dev/full", os.O_WRONLY)
    reader, writer = os.pipe()
    if how == "reader gone":
        os.close(reader)
    else:  # nobody reads, and the pipe is full
        os.set_blocking(writer, False)
        while True:
            try:
                os.write(writer, b"x" * 4096)
            except BlockingIOError:
                break
        os.set_blocking(writer, True)
    return writer


@pytest.mark.parametrize(("how", "workers"), [("full", "1"), ("reader gone", "2"), ("nobody reads", "1")])
def test_a_log_that_cannot_be_written_and_a_database_that_fails_cost_one_answer(serve, faults, how, workers):
    stderr = _unwritable(how)
    served = serve(stderr=stderr, HEADWATER_WORKERS=workers, **faults.environment)
    os.close(stderr)
    with served.client() as client:
        crawler = a_crawler(client)
        for _ in range(3):
            faults.fail_wal_writes(1)
            # One of the writes that are asked for meets it, or the background's does; none is left without an answer.
            answers = [client.post("/streams", json={}).status_code for _ in range(5)]
            assert set(answers) <= {201, 503}
            wait_for(lambda: client.post("/streams", json={}) and faults.wal_faults_left == 0)
        wait_for(lambda: client.get("/readyz").status_code == 200)
        task = made(client, f"/actions/crawlers/{crawler['fid']}/task")
        answer = client.post(f"/actions/tasks/{task['fid']}/upload", content=b'{"id": "a"}\n')
        assert answer.json()["payload"]["count"] == 1
    served.process.terminate()
    assert served.process.wait(20) in {0, -signal.SIGTERM}


def test_a_server_on_a_full_disk_starts_deletes_purges_and_exports(serve, faults):
    faults.budget = 300 << 20
    served = serve(HEADWATER_DISK_RESERVE="64MiB", **faults.environment)
    line = b'{"id": "%d", "text": "' + b"x" * 1000 + b'"}\n'
    with served.client() as client:
        crawler = a_crawler(client)
        task = made(client, f"/actions/crawlers/{crawler['fid']}/task")
        path = f"/actions/tasks/{task['fid']}/upload"
        assert client.post(path, content=b"".join(line % n for n in range(1000))).status_code == 200

        # Below the reserve, uploads alone are refused, whatever their size; a byte of the catalog is still there.
        faults.budget = (64 << 20) - 4096
        wait_for(lambda: client.post(path, content=line % 1).status_code == 507)
        refused = client.post(path, content=line % 1)
        assert refused.json()["type"].endswith("/no-room")
        assert client.post(f"/actions/tasks/{task['fid']}/status", json={"code": 200}).status_code == 200
        assert client.get("/readyz").status_code == 200
        faults.budget = 0
    served.kill()

    # Others have filled the disk to the last byte; the ballast is all that there is.
    faults.budget = 0
    served.start()
    with served.client() as client:
        stream = client.get("/streams").json()["payload"][0]["fid"]
        assert client.get(f"/streams/{stream}/export").text.count("\n") == 1000
        assert not (served.data / "ballast").exists()
        assert client.delete(f"/actions/tasks/{task['fid']}").status_code == 200
        assert client.get(f"/streams/{stream}/export").text == ""
        before = faults.budget
        purge = [sys.executable, "-m", "headwater", "purge", "--older-than", "0", "--yes", "--data", str(served.data)]
        ran = subprocess.run(
            purge, env=os.environ | faults.environment, capture_output=True, text=True, check=False, timeout=120
        )
        assert ran.returncode == 0, ran.stderr
        assert "Purged 100" in ran.stdout  # and one, if an upload was taken before the disk was looked at again
        assert faults.budget > before - (8 << 20)
        assert client.get("/readyz").status_code == 200


def test_a_disk_that_fills_during_an_upload_refuses_it_and_keeps_nothing_of_it(serve, faults):
    faults.budget = 300 << 20
    served = serve(HEADWATER_DISK_RESERVE="64MiB", **faults.environment)

    def body():
        yield b'{"id": "a", "text": "' + b"x" * (1 << 20) + b'"}\n'
        faults.budget = 1 << 20
        for n in range(20):
            yield b'{"id": "%d", "text": "' % n + b"x" * (1 << 20) + b'"}\n'

    with served.client() as client:
        crawler = a_crawler(client)
        task = made(client, f"/actions/crawlers/{crawler['fid']}/task")
        assert client.post(f"/actions/tasks/{task['fid']}/upload", content=body()).status_code == 507
    assert list((served.data / "lake/staging").iterdir()) == []


def test_what_a_killed_server_spilled_goes_at_the_next_start(serve):
    served = serve()
    spill = served.data / "spill"
    (abandoned,) = spill.iterdir()
    (abandoned / "duckdb_temp_storage-0.tmp").write_bytes(b"x" * 1000)
    served.kill()
    served.start()
    (used,) = spill.iterdir()
    assert used.name != abandoned.name


def test_the_admin_key_is_in_no_log(serve):
    served = serve()
    said = served.log.read_text()
    assert served.key() not in said
    assert str(served.data / "admin.key") in said


def test_a_clock_that_jumps_ends_no_task_and_a_start_under_it_purges_nothing(serve, faults):
    served = serve(**faults.environment)
    with served.client() as client:
        crawler = a_crawler(client, timeout=600)
        deleted = made(client, f"/actions/crawlers/{crawler['fid']}/task")
        client.post(f"/actions/tasks/{deleted['fid']}/upload", content=b'{"id": "a"}\n')
        client.post(f"/actions/tasks/{deleted['fid']}/status", json={"code": 200})
        client.delete(f"/actions/tasks/{deleted['fid']}")
        task = made(client, f"/actions/crawlers/{crawler['fid']}/task")
        path = f"/actions/tasks/{task['fid']}/upload"
        assert client.post(path, content=b'{"id": "b"}\n').status_code == 200

        faults.set_clock_ahead(31 * 86400)
        wait_for(lambda: "clock.jumped" in served.log.read_text())
        assert client.post(path, content=b'{"id": "c"}\n').status_code == 200
    served.kill()
    served.start()
    with served.client() as client:
        wait_for(lambda: "clock.doubted" in served.log.read_text())
        assert client.post(path, content=b'{"id": "d"}\n').status_code == 200
        assert client.get(f"/tasks/{task['fid']}").json()["payload"]["state"] in {"new", "running"}
        assert client.post(f"/actions/tasks/{deleted['fid']}/restore").status_code == 200
        stream = client.get("/streams").json()["payload"][0]["fid"]
        assert client.get(f"/streams/{stream}/export").text.count("\n") == 4
