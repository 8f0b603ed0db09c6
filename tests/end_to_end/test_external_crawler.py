"""A crawler on ``headwater_client.server``, run as a process of its own, with a Headwater that is really served."""

import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from end_to_end.conftest import free_port, wait_for
from headwater_client import Headwater
from headwater_client.server import ExternalCrawler

PROGRAM = Path(__file__).with_name("shop_crawler.py")


class Crawling:
    """A crawler's process."""

    def __init__(self, served, **options):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = served.data.parent / f"crawler-{self.port}.log"
        command = [sys.executable, PROGRAM, str(self.port), served.url, served.key(), json.dumps(options)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def said(self, event, task):
        return f"{event} {task.fid}" in self.log.read_text()

    def is_registered(self):
        assert self.process.poll() is None, self.log.read_text()
        return "registered as External" in self.log.read_text()

    def end(self):
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(30)


@pytest.fixture
def served(serve):
    return serve(HEADWATER_NOTICE_BACKOFF="[0.2, 0.2, 1, 3]")


@pytest.fixture
def headwater(served):
    with Headwater(served.url, served.key()) as headwater:
        yield headwater


@pytest.fixture
def crawling(served):
    started = []

    def start(**options):
        crawling = Crawling(served, **options)
        started.append(crawling)
        wait_for(crawling.is_registered)
        return crawling

    yield start
    for crawling in started:
        crawling.end()


def begun(headwater, *, external=None, timeout=None, **params):
    """Start a task of a new crawler; its External is the one that was registered, or another."""
    external = external or next(headwater.externals.list(name="Shops"))
    stream = headwater.streams.create("Shops")
    return headwater.tasks.create(
        headwater.crawlers.create(external, stream, params={"shop": "a", **params}, timeout=timeout)
    )


def ended(headwater, task, *states):
    return wait_for(lambda: (now := headwater.tasks.get(task)).state in states and now)


def ids(headwater, task):
    return [document.id for document in headwater.streams.docs(task.stream)]


@pytest.mark.parametrize("blocking", [False, True])
def test_a_crawler_registers_itself_and_runs_a_task_to_its_end(headwater, crawling, blocking):
    crawling(blocking=blocking)
    task = begun(headwater)

    done = ended(headwater, task, "done", "failed")

    assert (done.state, done.code, done.reason, done.docs) == ("done", 200, "reported", 3)
    assert ids(headwater, task) == ["a-0", "a-1", "a-2"]


def test_what_a_person_stops_is_cancelled_and_what_it_brought_remains(headwater, crawling):
    crawler = crawling()
    task = begun(headwater, pace="slow", pages=1000)
    wait_for(lambda: ids(headwater, task))

    headwater.tasks.stop(task)

    wait_for(lambda: crawler.said("cancelled", task))
    assert headwater.tasks.get(task).code == 410
    assert ids(headwater, task)[0] == "a-0"


def test_what_a_person_deletes_ends_a_plain_function_in_its_next_write(headwater, crawling):
    crawler = crawling(blocking=True)
    task = begun(headwater, pace="slow", pages=1000)
    wait_for(lambda: ids(headwater, task))

    headwater.tasks.delete(task)

    wait_for(lambda: crawler.said("gone", task))
    assert ids(headwater, task) == []


def test_what_a_person_retries_while_it_fails_starts_anew_and_replaces_the_former(headwater, crawling):
    crawling()
    task = begun(headwater, pace="broken", pages=5)
    failed = ended(headwater, task, "failed")
    assert failed.message == "RuntimeError: the shop is closed"
    assert "in crawl" in failed.detail["traceback"]
    assert len(ids(headwater, task)) == 5

    headwater.tasks.retry(failed, {"pace": "quick", "pages": 2})

    done = ended(headwater, task, "done")
    assert done.attempt == 2
    assert ids(headwater, task) == ["a-0", "a-1"]


def test_a_retry_in_the_middle_of_a_run_ends_the_former_attempt(headwater, crawling):
    crawler = crawling(concurrency=1)
    task = begun(headwater, pace="slow", pages=1000)
    wait_for(lambda: ids(headwater, task))

    stopped = headwater.tasks.stop(task)
    headwater.tasks.retry(stopped, {"pace": "quick", "pages": 1})

    assert ended(headwater, task, "done", "failed").state == "done"
    assert crawler.said("cancelled", task)
    assert ids(headwater, task) == ["a-0"]


class LosesAnswers:
    """Stands before a crawler, hands its calls on, and loses the first answers."""

    def __init__(self, url, *, lost):
        self.starts = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                answer = httpx.post(url + self.path, content=body)
                outer.starts += 1
                if outer.starts > lost:
                    self.send_response(answer.status_code)
                    self.send_header("Content-Length", str(len(answer.content)))
                    self.end_headers()
                    self.wfile.write(answer.content)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def test_an_answer_that_is_lost_starts_nothing_twice(headwater, crawling):
    crawler = crawling()
    between = LosesAnswers(crawler.url, lost=1)
    parameters = [{"name": "shop"}, {"name": "pace"}]
    external = headwater.externals.create("Behind it", endpoint=between.url, parameters=parameters)
    task = begun(headwater, external=external, pace="late")

    assert ended(headwater, task, "done", "failed").state == "done"
    assert between.starts == 2
    assert crawler.log.read_text().count(f"begun {task.fid}") == 1
    between.close()


def test_params_that_the_code_does_not_know_fail_the_task_with_the_reason(headwater, crawling):
    crawling()
    external = next(headwater.externals.list(name="Shops"))
    more = [*external.parameters, {"name": "country", "default": "de"}]
    headwater.externals.update(external, {"parameters": more})

    failed = ended(headwater, begun(headwater), "failed")

    assert failed.reason == "start_failed"
    assert failed.detail["answer"] == {
        "success": False,
        "messages": [
            "params/country: is not known here",
            "the task is of version 2 of the External, this server registered 1",
        ],
    }


@pytest.mark.parametrize("blocking", [False, True])
def test_a_server_that_is_terminated_fails_its_tasks_with_a_word_and_keeps_what_was_written(
    headwater, crawling, blocking
):
    crawler = crawling(blocking=blocking, concurrency=1, grace=0.1)
    running = begun(headwater, pace="slow", pages=1000)
    wait_for(lambda: ids(headwater, running))
    waiting = begun(headwater, pace="slow", pages=1000)
    wait_for(lambda: headwater.tasks.get(waiting).state == "running")

    crawler.end()

    for task in (running, waiting):
        failed = headwater.tasks.get(task)
        assert (failed.state, failed.code, failed.message) == ("failed", 500, "the crawler was shut down")
    assert ids(headwater, running)[0] == "a-0"
    assert ids(headwater, waiting) == []


def test_a_second_signal_waits_for_no_run(headwater, crawling):
    crawler = crawling(grace=3600)
    task = begun(headwater, pace="slow", pages=1000)
    wait_for(lambda: ids(headwater, task))

    crawler.process.terminate()
    wait_for(lambda: "Waiting for application shutdown" in crawler.log.read_text())
    crawler.end()

    assert headwater.tasks.get(task).message == "the crawler was shut down"


def test_a_headwater_that_is_killed_in_between_loses_nothing(served, headwater, crawling):
    crawling()
    task = begun(headwater, pace="slow", pages=20)
    wait_for(lambda: ids(headwater, task))

    served.kill()
    served.start()

    assert ended(headwater, task, "done", "failed").state == "done"
    assert len(ids(headwater, task)) == 20


def test_a_task_that_waits_longer_than_its_timeout_is_not_taken_for_silent(headwater, crawling):
    crawling(concurrency=1)
    first = begun(headwater, pace="slow", pages=1000)
    wait_for(lambda: ids(headwater, first))
    second = begun(headwater, timeout=2)

    wait_for(lambda: headwater.tasks.get(second).message == "waits for 1 other")
    told = headwater.tasks.get(second).deadline
    wait_for(lambda: datetime.now(UTC) > told + timedelta(seconds=2))
    headwater.tasks.stop(first)

    assert ended(headwater, second, "done", "timed_out").state == "done"


def test_with_a_secret_headwater_is_let_in_and_others_are_not(headwater, crawling):
    crawler = crawling(secret="s3cret")

    order = {"fid": "f", "endpoint": "http://127.0.0.1:1/actions/tasks/f.t", "params": {"shop": "a"}}
    assert httpx.post(f"{crawler.url}/task", json=order).status_code == 401
    assert ended(headwater, begun(headwater), "done", "failed").state == "done"


def test_a_crawler_that_starts_before_headwater_registers_when_it_is_there(served, headwater):
    key = served.key()
    served.stop()
    served.key = lambda: key
    crawler = Crawling(served)
    wait_for(lambda: "Uvicorn running" in crawler.log.read_text())
    served.start()

    wait_for(crawler.is_registered)
    assert [external.endpoint for external in headwater.externals.list(name="Shops")] == [crawler.url]
    crawler.end()


def test_a_crawler_that_may_not_register_ends_and_says_why(served):
    served.key = lambda: "wrong"
    crawler = Crawling(served)

    assert crawler.process.wait(30) == 1
    assert "NotAuthenticated" in crawler.log.read_text()


def shops(*, schema=True, **options):
    return ExternalCrawler("Shops", schema=schema, headers={"X-Shop": "1"}, **options)


def test_registering_twice_changes_nothing_and_a_change_of_the_code_makes_a_version(headwater):
    first = shops().register(headwater, "http://ec:9000")
    second = shops().register(headwater, "http://ec:9000")
    third = shops(doc_id_field="id").register(headwater, "http://ec:9000")

    assert (second.fid, second.version) == (first.fid, first.version) == (third.fid, third.version - 1)
    assert (third.doc_id_field, third.headers) == ("id", {"X-Shop": "1"})


def test_what_others_keep_with_an_external_survives_a_registration(headwater):
    made = shops().register(headwater, "http://ec:9000")
    headwater.externals.update(made, {"meta": {"image": "a.png"}, "analysis": {"a": 1}, "headers": {"X-Route": "b"}})

    after = shops(schema=None).register(headwater, "http://ec:9001")

    assert after.meta == {"name": "Shops", "image": "a.png"}
    assert after.analysis == {"a": 1}
    assert after.headers == {"X-Shop": "1", "X-Route": "b"}
    assert after.schema is True


def test_many_that_register_in_the_same_moment_make_one_external(served, headwater):
    def register(_number):
        with Headwater(served.url, served.key()) as own:
            return shops().register(own, "http://ec:9000").fid

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(register, range(6)))

    assert len(list(headwater.externals.list(name="Shops"))) == 1
