"""Headwater against real crawler servers, good and bad."""

import pytest

from end_to_end.conftest import a_crawler, free_port, made, wait_for
from end_to_end.crawler_server import CrawlerServer, in_background, report, slowly, upload

RUNNING = (200, {"success": True, "payload": {"status": {"code": 102}}})


@pytest.fixture
def ec():
    server = CrawlerServer()
    yield server
    server.close()


@pytest.fixture
def headwater(serve):
    return serve(HEADWATER_NOTICE_BACKOFF="[0.2, 0.2, 1, 3]")


@pytest.fixture
def client(headwater):
    with headwater.client() as client:
        yield client


def _task(client, ec_url, **fields):
    crawler = a_crawler(client, external={"endpoint": ec_url}, **fields)
    return crawler, made(client, f"/actions/crawlers/{crawler['fid']}/task")


def _now(client, task):
    return client.get(f"/tasks/{task['fid']}").json()["payload"]


def _state(client, task, *states):
    return wait_for(lambda: (now := _now(client, task))["state"] in states and now)


def _export(client, crawler):
    return client.get(f"/streams/{crawler['stream']}/export").text


def test_a_crawl_from_start_to_stream(client, ec):
    def crawl(task):
        assert upload(task, {"id": "a"}, {"id": "b"}) == 200
        assert report(task, 200) == 200

    ec.on_start = lambda task: (in_background(lambda: crawl(task)), RUNNING)[1]
    crawler, task = _task(client, ec.url)
    done = _state(client, task, "done")
    assert (done["docs"], done["code"], done["reason"]) == (2, 200, "reported")
    assert _export(client, crawler) == '{"id": "a"}\n{"id": "b"}\n'
    assert ec.ends == []


def test_a_crawler_that_is_down_when_the_task_starts_is_started_when_it_is_up(client):
    port = free_port()
    _, task = _task(client, f"http://127.0.0.1:{port}")
    ec = CrawlerServer(port)
    assert _state(client, task, "running", "failed")["state"] == "running"
    assert len(ec.starts) == 1
    ec.close()


def test_a_crawler_that_stays_down_fails_the_task_and_says_so(client):
    _, task = _task(client, f"http://127.0.0.1:{free_port()}")
    failed = _state(client, task, "failed")
    assert (failed["code"], failed["reason"]) == (500, "start_failed")
    assert "cannot be reached" in failed["message"]


def test_a_crawler_that_answers_503_is_tried_again(client, ec):
    ec.on_start = lambda _task: (503, {}) if len(ec.starts) < 3 else RUNNING
    _, task = _task(client, ec.url)
    _state(client, task, "running")
    assert len(ec.starts) == 3
    assert len({start["token"] for start in ec.starts}) == 1


def test_a_crawler_that_answers_nonsense_fails_the_task_with_its_answer(client, ec):
    ec.on_start = lambda _task: (200, b"<html>It works!</html>")
    _, task = _task(client, ec.url)
    failed = _state(client, task, "failed")
    assert failed["reason"] == "start_failed"
    assert failed["detail"] == {"status": 200, "answer": "<html>It works!</html>"}


def test_a_crawler_that_answers_slowly_is_waited_for_and_holds_up_no_other(client, ec):
    slow = ec
    slow.on_start = lambda _task: slowly(1.0, RUNNING)
    _, waiting = _task(client, slow.url)
    quick = CrawlerServer()
    _, other = _task(client, quick.url)
    _state(client, other, "running")
    _state(client, waiting, "running")
    assert len(slow.starts) == 1
    quick.close()


def test_a_crawler_that_dies_after_its_first_upload_is_timed_out_and_its_documents_stay(client, ec):
    ec.on_start = lambda task: (in_background(lambda: upload(task, {"id": "a"})), RUNNING)[1]
    crawler, task = _task(client, ec.url, timeout=4)
    ended = _state(client, task, "timed_out")
    assert (ended["code"], ended["reason"]) == (408, "silent")
    assert _export(client, crawler) == '{"id": "a"}\n'
    path, body = wait_for(lambda: ec.ends and ec.ends[0])
    assert path == f"/task/{task['fid']}/status?version=1"
    assert body["code"] == 408


def test_a_crawler_may_upload_before_it_answers(client, ec):
    ec.on_start = lambda task: RUNNING if upload(task, {"id": "early"}) == 200 else (500, {})
    crawler, task = _task(client, ec.url)
    running = _state(client, task, "running")
    assert running["docs"] == 1
    assert _export(client, crawler) == '{"id": "early"}\n'


@pytest.mark.parametrize(("ending", "expected"), [("stop", {409}), ("delete", {404})])
def test_a_crawler_that_goes_on_after_the_end_is_refused(client, ec, ending, expected):
    crawler, task = _task(client, ec.url)
    start = wait_for(lambda: ec.starts and ec.starts[0])
    _state(client, task, "running")
    assert upload(start, {"id": "a"}) == 200
    if ending == "stop":
        client.post(f"/actions/tasks/{task['fid']}/stop")
    else:
        client.delete(f"/actions/tasks/{task['fid']}")
    assert {upload(start, {"id": "b"}), report(start, 102)} == expected
    assert wait_for(lambda: ec.ends)[0][1]["code"] == 410
    assert _export(client, crawler) == ('{"id": "a"}\n' if ending == "stop" else "")


def test_a_start_that_waits_survives_a_restart(headwater, client):
    port = free_port()
    headwater.stop()
    headwater.environment["HEADWATER_NOTICE_BACKOFF"] = "[5, 5, 5, 5]"
    headwater.start()
    _, task = _task(client, f"http://127.0.0.1:{port}")
    # Between two tries: a claim that is being worked on comes back only when its lease has run out.
    wait_for(lambda: "tried again" in (_now(client, task)["message"] or ""))
    headwater.kill()
    ec = CrawlerServer(port)
    headwater.start()
    _state(client, task, "running")
    ec.close()
