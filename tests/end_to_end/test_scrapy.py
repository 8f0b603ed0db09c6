"""Spiders that are really run, over a site that is really served, into a Headwater that is as well."""

import json
import signal

import pytest

from end_to_end.conftest import Served, a_crawler, made, wait_for
from end_to_end.spiders import Project, Site


@pytest.fixture
def site():
    made_here = []

    def serve_pages(pages: int = 5, *, seconds: float = 0.0) -> Site:
        made_here.append(Site(pages, seconds=seconds))
        return made_here[-1]

    yield serve_pages
    for each in made_here:
        each.close()


@pytest.fixture(scope="module")
def headwater(tmp_path_factory):
    served = Served(tmp_path_factory.mktemp("served") / "data")
    served.start()
    yield served
    served.stop()


@pytest.fixture
def client(headwater):
    with headwater.client() as client:
        yield client


@pytest.fixture
def project(tmp_path, headwater):
    folder = tmp_path / "project"
    folder.mkdir()
    project = Project(folder, headwater)
    yield project
    project.end()


def _tasks(client):
    return [task["fid"] for task in client.get("/tasks").json()["payload"]]


def _latest(client, crawler):
    found = client.get("/tasks", params={"crawler": crawler["fid"], "limit": 1}).json()["payload"]
    return found[0] if found else None


def _documents(client, crawler):
    return [json.loads(line) for line in client.get(f"/streams/{crawler['stream']}/export").text.splitlines()]


def _running(client, crawler):
    """Wait until a task runs, and return it."""
    return wait_for(lambda: (now := _latest(client, crawler)) and now["state"] == "running" and now)


def test_what_a_spider_brings_is_in_the_stream(project, client, site):
    crawler = a_crawler(client)
    run = project.crawl(site(5), crawler)
    assert sorted(_documents(client, crawler), key=lambda doc: doc["id"]) == [
        {"id": str(number), "price": number} for number in range(5)
    ]
    task = _latest(client, crawler)
    assert (task["code"], task["message"], task["docs"]) == (200, "finished: 5 documents", 5)
    assert (task["detail"]["spider"], task["detail"]["reason"]) == ("pages", "finished")
    stats = task["detail"]["stats"]
    assert (stats["item_scraped_count"], stats["headwater/uploaded"], stats["headwater/task"]) == (5, 5, task["fid"])
    assert stats["finish_time"].startswith("20")
    assert "'headwater/code': 200" in run.log
    assert "ERROR" not in run.log
    log = client.get(f"/tasks/{task['fid']}/log", params={"limit": 1000}).json()["payload"]
    assert ("scrapy.core.engine", "Closing spider (finished)") in [(line["logger"], line["text"]) for line in log]


def test_items_of_every_kind_are_uploaded_and_one_that_cannot_be_json_is_dropped(project, client, site):
    crawler = a_crawler(client)
    run = project.crawl(site(), crawler, spider="kinds")
    assert sorted(_documents(client, crawler), key=lambda doc: doc["id"]) == [
        {"id": "attrs", "day": "2026-01-31"},
        {"id": "dataclass", "price": 8.5},
        {"id": "dict"},
        {"id": "item", "text": "a"},
        {"id": "pydantic", "longName": "b"},
    ]
    stats = _latest(client, crawler)["detail"]["stats"]
    assert (stats["headwater/not_json"], stats["item_dropped_count"]) == (1, 1)
    assert "Dropped: it cannot be JSON: /page:" in run.log


def test_a_spider_whose_task_is_deleted_stops(project, client, site):
    crawler = a_crawler(client)
    run = project.start(site(10_000, seconds=0.05), crawler, HEADWATER_STATUS_SECONDS=0.2, HEADWATER_MAX_SECONDS=0.2)
    task = _running(client, crawler)
    client.delete(f"/actions/tasks/{task['fid']}")
    assert run.wait() == 0
    assert "Spider closed (headwater_task_gone)" in run.log
    assert _documents(client, crawler) == []
    assert _latest(client, crawler)["message"] == "deleted"


def test_an_exception_in_the_spider_is_counted_and_does_not_fail_the_task(project, client, site):
    crawler = a_crawler(client)
    project.crawl(site(5), crawler, bad=2)
    task = _latest(client, crawler)
    assert (task["code"], task["message"]) == (200, "finished: 4 documents, 1 exception")
    assert task["detail"]["stats"]["spider_exceptions/LookupError"] == 1


def test_too_many_exceptions_fail_the_task_if_the_project_says_so(project, client, site):
    crawler = a_crawler(client)
    project.crawl(site(5), crawler, bad=2, CLOSESPIDER_ERRORCOUNT=1)
    task = _latest(client, crawler)
    assert (task["code"], task["reason"]) == (500, "reported")
    assert task["message"].startswith("closespider_errorcount: ")


@pytest.mark.parametrize(
    ("settings", "reason", "code"),
    [
        ({"CLOSESPIDER_ITEMCOUNT": 3}, "closespider_itemcount", 200),
        ({"CLOSESPIDER_PAGECOUNT": 3}, "closespider_pagecount", 200),
        ({"CLOSESPIDER_TIMEOUT": 1}, "closespider_timeout", 500),
        ({"CLOSESPIDER_TIMEOUT": 1, "HEADWATER_DONE_REASONS": "closespider_timeout"}, "closespider_timeout", 200),
    ],
)
def test_a_spider_that_brought_what_it_was_told_to_is_done(project, client, site, settings, reason, code):
    crawler = a_crawler(client)
    project.crawl(site(10_000, seconds=0.02), crawler, **settings)
    task = _latest(client, crawler)
    assert (task["code"], task["detail"]["reason"]) == (code, reason)
    assert task["docs"] > 0


def test_a_lenient_spider_keeps_what_does_not_match_aside_and_goes_on(project, client, site):
    schema = {"properties": {"price": {"not": {"const": 3}}}}
    crawler = a_crawler(client, external={"schema": schema})
    run = project.crawl(site(20), crawler, HEADWATER_LENIENT=True)
    task = _latest(client, crawler)
    assert (task["code"], task["message"]) == (200, "finished: 19 documents, 1 rejected")
    assert (task["docs"], task["rejected"], task["detail"]["stats"]["headwater/rejected"]) == (19, 1, 1)
    (reject,) = client.get(f"/tasks/{task['fid']}/rejects").json()["payload"]
    assert reject["id"] == "3"
    assert "Headwater kept an item aside: 3 /price" in run.log


def test_statistics_and_reasons_of_any_kind_close_the_task(project, client, site):
    crawler = a_crawler(client)
    run = project.crawl(site(8), crawler, odd=1, HEADWATER_STATUS_SECONDS=0.05, HEADWATER_MAX_SECONDS=0.2)
    task = _latest(client, crawler)
    assert (task["code"], task["docs"]) == (200, 8), run.log
    stats = task["detail"]["stats"]
    assert (stats["404"], stats["last\ufffdpage\ufffd"]) == (8, "a\ufffdb\ufffd")
    project.crawl(site(8), crawler, odd=1, close_after=3)
    task = _latest(client, crawler)
    assert (task["code"], task["detail"]["reason"]) == (500, "enough\ufffd\ufffd")


def test_a_document_that_does_not_match_stops_the_spider_and_fails_the_task(project, client, site):
    schema = {"properties": {"price": {"maximum": 3}}}
    crawler = a_crawler(client, external={"schema": schema})
    run = project.crawl(site(10_000, seconds=0.05), crawler, HEADWATER_MAX_SECONDS=0.01)
    assert "Spider closed (headwater_rejected)" in run.log
    task = _latest(client, crawler)
    assert (task["code"], task["reason"], task["detail"]["reason"]) == (500, "reported", "headwater_rejected")
    assert "/price: 4 is greater than the maximum of 3" in task["message"]
    assert task["detail"]["errors"][0]["doc_id"] == "4"
    assert "for this document: {'id': '4', 'price': 4}" in run.log
    # What was uploaded before it is kept.
    assert [doc["price"] for doc in _documents(client, crawler)] == [0, 1, 2, 3]


def test_a_document_that_does_not_match_in_the_last_upload_fails_the_task(project, client, site):
    crawler = a_crawler(client, external={"schema": {"properties": {"price": {"maximum": 3}}}})
    run = project.crawl(site(5), crawler)
    task = _latest(client, crawler)
    assert (task["code"], task["docs"]) == (500, 0)
    assert "'headwater/code': 500" in run.log


def test_a_spider_that_is_interrupted_fails_the_task_and_keeps_what_it_brought(project, client, site):
    crawler = a_crawler(client)
    run = project.start(site(10_000, seconds=0.02), crawler)
    _running(client, crawler)
    wait_for(lambda: "Scraped from" in run.log)
    run.process.send_signal(signal.SIGINT)
    assert run.wait() == 0
    task = _latest(client, crawler)
    assert (task["code"], task["detail"]["reason"]) == (500, "shutdown")
    assert task["message"].startswith("shutdown: ")
    assert len(_documents(client, crawler)) == task["docs"] > 0


def test_who_interrupts_a_spider_twice_waits_for_nothing(tmp_path, serve, site):
    headwater = serve()
    with headwater.client() as client:
        project = Project(tmp_path, headwater)
        run = project.start(site(10_000, seconds=0.02), a_crawler(client))
    wait_for(lambda: "Scraped from" in run.log)
    headwater.kill()
    run.process.send_signal(signal.SIGINT)
    wait_for(lambda: "Closing spider (shutdown)" in run.log)
    run.process.send_signal(signal.SIGINT)
    wait_for(lambda: run.process.poll() is not None, seconds=5)
    project.end()
    assert "forcing unclean shutdown" in run.log


def test_a_crawler_with_an_open_task_is_not_run_a_second_time(project, client, site):
    crawler = a_crawler(client)
    first = made(client, f"/actions/crawlers/{crawler['fid']}/task")
    run = project.crawl(site(), crawler)
    assert run.process.returncode == 1
    assert f"The crawl does not begin: the crawler has an open task, {first['fid']} (new)" in run.log
    assert "Crawled (200)" not in run.log
    assert _latest(client, crawler)["state"] == "new"


def test_an_open_task_is_stopped_first_if_the_project_says_so(project, client, site):
    crawler = a_crawler(client)
    first = made(client, f"/actions/crawlers/{crawler['fid']}/task")
    project.crawl(site(), crawler, HEADWATER_ON_OPEN_TASK="stop")
    assert client.get(f"/tasks/{first['fid']}").json()["payload"]["code"] == 410
    assert _latest(client, crawler)["code"] == 200


def test_a_crawler_is_found_by_its_name_and_its_run_has_the_parameters(project, client, site):
    external = {"parameters": [{"name": "shop", "type": "string"}]}
    crawler = a_crawler(client, external=external)
    client.patch(f"/crawlers/{crawler['fid']}", json={"meta": {"name": "Nightly"}})
    project.crawl(site(), None, HEADWATER_CRAWLER="Nightly", HEADWATER_PARAMS='{"shop": "north"}')
    task = _latest(client, crawler)
    assert (task["code"], task["params"]) == (200, {"shop": "north"})


def test_a_name_that_no_crawler_has_is_told(project, site):
    run = project.crawl(site(), None, HEADWATER_CRAWLER="Weekly")
    assert run.process.returncode == 1
    assert "The crawl does not begin: there is no crawler that is called 'Weekly'" in run.log


def test_a_name_that_two_crawlers_have_is_told(project, client, site):
    twins = [a_crawler(client)["fid"] for _ in range(2)]
    for fid in twins:
        client.patch(f"/crawlers/{fid}", json={"meta": {"name": "Twin"}})
    run = project.crawl(site(), None, HEADWATER_CRAWLER="Twin")
    assert f"2 crawlers are called 'Twin'; name one by its fid: {twins[1]}, {twins[0]}" in run.log


def test_a_task_that_somebody_else_began_is_filled_and_so_is_its_retry(project, client, site):
    crawler = a_crawler(client)
    task = made(client, f"/actions/crawlers/{crawler['fid']}/task")
    project.crawl(site(5), None, HEADWATER_ENDPOINT=task["upload"]["endpoint"])
    assert len(_documents(client, crawler)) == 5
    again = client.post(f"/actions/crawlers/{crawler['fid']}/task/{task['fid']}").json()["payload"]
    project.crawl(site(3), None, HEADWATER_ENDPOINT=again["upload"]["endpoint"])
    assert [doc["price"] for doc in _documents(client, crawler)] == [0, 1, 2]
    assert _latest(client, crawler)["attempt"] == 2


def test_without_a_crawler_the_spider_runs_and_nothing_is_uploaded(project, client, site):
    before = _tasks(client)
    run = project.crawl(site(5), None)
    assert "Disabled headwater_client.scrapy.HeadwaterPipeline: HEADWATER_CRAWLER is not set" in run.log
    assert "'item_scraped_count': 5" in run.log
    assert _tasks(client) == before


@pytest.mark.parametrize(
    ("settings", "outcome"),
    [
        ({"TWISTED_REACTOR_ENABLED": False}, "'headwater/code': 200"),
        ({"TWISTED_REACTOR": "twisted.internet.selectreactor.SelectReactor"}, "needs asyncio: set TWISTED_REACTOR"),
    ],
)
def test_scrapy_on_other_loops_works_or_says_what_to_set(project, client, site, settings, outcome):
    run = project.crawl(site(3), a_crawler(client), **settings)
    assert outcome in run.log
