"""TaskWriters, in Python and in JavaScript, against a Headwater that is killed under them."""

import itertools
import json
import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from end_to_end.conftest import wait_for
from headwater_client import Headwater, TaskGone, TaskWriter, Unavailable
from node import NODE

ROOT = Path(__file__).parents[2]
MANY = 100_000


@pytest.fixture
def served(serve):
    return serve()


@pytest.fixture
def headwater(served):
    with Headwater(served.url, served.key()) as headwater:
        yield headwater


def _crawler(headwater: Headwater):
    stream = headwater.streams.create("Books")
    return headwater.crawlers.create(headwater.externals.create(doc_id_field="id"), stream)


def _document(number: int) -> dict:
    return {"id": f"{number:08}", "title": "A title of some length " * 10, "number": number}


def _shown(headwater: Headwater, stream: str) -> int:
    return b"".join(headwater.streams.export(stream)).count(b"\n")


def _kill_thrice(served, is_past) -> None:
    for part in (0.2, 0.5, 0.8):
        wait_for(lambda part=part: is_past(part * MANY), seconds=120)
        served.kill()
        served.start()


def test_a_hundred_thousand_documents_come_whole_through_three_kills_from_python(served, headwater):
    crawler = _crawler(headwater)
    writer = headwater.writer(crawler, max_bytes=500_000)

    def crawl() -> None:
        with writer:
            writer.write_all(map(_document, range(MANY)))

    with ThreadPoolExecutor() as crawling:
        ended = crawling.submit(crawl)
        _kill_thrice(served, lambda documents: writer.written >= documents)
        ended.result(120)
    task = headwater.tasks.get(writer.fid)
    assert (task.code, task.docs, writer.taken) == (200, MANY, MANY)
    assert _shown(headwater, crawler.stream) == MANY


def test_a_hundred_thousand_documents_come_whole_through_three_kills_from_javascript(served, headwater):
    crawler = _crawler(headwater)
    task = headwater.tasks.create(crawler)
    script = ROOT / "clients/js/test/served/upload_many.mjs"
    environment = {**os.environ, "ENDPOINT": task.upload.endpoint, "COUNT": str(MANY), "MAX_BYTES": "500000"}
    with subprocess.Popen([NODE, script], env=environment, stdout=subprocess.PIPE, text=True) as crawling:
        _kill_thrice(served, lambda documents: headwater.tasks.get(task).docs >= documents)
        outcome = json.loads(crawling.communicate(timeout=120)[0])
    found = headwater.tasks.get(task)
    assert (found.code, found.docs, outcome["taken"]) == (200, MANY, MANY)
    assert _shown(headwater, crawler.stream) == MANY


def test_deleting_the_task_ends_the_writer_within_one_buffer(headwater):
    writer = headwater.writer(_crawler(headwater), max_bytes=20_000)
    of_a_buffer = 20_000 // 250

    def crawl() -> int:
        """Return how many documents were written after the task was deleted."""
        with writer:
            for number in itertools.count():
                writer.write(_document(number))
                if deleted.is_set():
                    after = writer.written - written[0]
                    assert after < 4 * of_a_buffer, "it was told of nothing"

    deleted, written = threading.Event(), []
    with ThreadPoolExecutor() as crawling:
        ended = crawling.submit(crawl)
        wait_for(lambda: writer.taken > of_a_buffer)
        headwater.tasks.delete(writer.fid)
        written.append(writer.written)
        deleted.set()
        with pytest.raises(TaskGone, match="was deleted"):
            ended.result(30)
    assert headwater.tasks.get(writer.fid).state == "stopped"


def test_a_stopped_task_keeps_what_its_writer_has_uploaded(headwater):
    crawler = _crawler(headwater)
    writer = headwater.writer(crawler)
    writer.write(_document(1))
    writer.flush()
    headwater.tasks.stop(writer.fid)
    writer.write(_document(2))
    with pytest.raises(TaskGone):
        writer.close()
    writer.abandon()
    assert _shown(headwater, crawler.stream) == 1


def test_an_upload_whose_answer_was_lost_is_stored_once(served, headwater):
    crawler = _crawler(headwater)
    # Without ids, so that nothing but the key keeps a repetition apart.
    writer = headwater.writer(crawler, max_bytes=50_000)
    with writer:
        for number in range(5_000):
            writer.write({"number": number, "text": "x" * 200})
            if number in {1_500, 3_500}:
                served.kill()
                served.start()
    assert headwater.tasks.get(writer.fid).docs == 5_000


def test_memory_is_a_few_buffers_whatever_is_written(headwater, tmp_path):
    task = headwater.tasks.create(_crawler(headwater))
    script = tmp_path / "crawl.py"
    script.write_text(
        "import json, resource, sys\n"
        "from headwater_client import TaskWriter\n"
        "def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "with TaskWriter(sys.argv[1]) as writer:\n"
        "    before = peak()\n"
        "    for number in range(200_000):\n"
        "        writer.write({'id': number, 'text': 'x' * 500})\n"
        "print(peak() - before)\n"
    )
    ran = subprocess.run(
        [shutil.which("python3", path=str(Path(sys.executable).parent)), script, task.upload.endpoint],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert int(ran.stdout) < 60_000  # kilobytes, of 100 MB that were written
    assert headwater.tasks.get(task).docs == 200_000


def test_a_writer_gives_up_when_its_patience_is_at_an_end(served, headwater):
    writer = headwater.writer(_crawler(headwater), retry_for=0.5)
    served.kill()
    writer.write(_document(1))
    with pytest.raises(Unavailable, match="was tried"):
        writer.flush()
    writer.abandon()
    served.start()


def test_the_endpoint_of_a_task_may_be_used_with_a_key(served, headwater):
    task = headwater.tasks.create(_crawler(headwater))
    with TaskWriter(f"{served.url}/actions/tasks/{task.fid}", served.key()) as writer:
        writer.write(_document(1))
    assert headwater.tasks.get(task).code == 200


def test_writers_that_upload_too_much_at_once_wait_and_come_through(serve):
    served = serve(HEADWATER_UPLOADS_PER_TASK="1")
    with Headwater(served.url, served.key()) as headwater:
        crawler = _crawler(headwater)
        task = headwater.tasks.create(crawler)

        def bring(part: int) -> None:
            writer = TaskWriter(task.upload.endpoint, max_bytes=200_000, retry_for=60)
            writer.write_all(_document(part * 5_000 + number) for number in range(5_000))
            writer.flush()

        with ThreadPoolExecutor(6) as threads:
            list(threads.map(bring, range(6)))
        headwater.tasks.status(task, 200)
        assert _shown(headwater, crawler.stream) == 30_000
    statuses = [json.loads(line).get("status") for line in served.log.read_text().splitlines() if line.startswith("{")]
    assert 429 in statuses
