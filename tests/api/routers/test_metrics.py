import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from headwater.catalog import keys
from headwater.catalog.keys import Scope
from headwater.lake.segment_cache import CacheCounts


@pytest.fixture
def scraped(api):
    """What a scrape says: the value of each sample, by name and labels."""

    async def ask() -> dict:
        answer = await api.get("/metrics")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain; version=")
        return {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
        }

    return ask


async def test_what_there_is_is_told(made, scraped):
    crawler = await made.crawler()
    await made.task(crawler)
    found = await scraped()
    assert found["headwater_tasks", ("state", "new")] == 1
    assert found["headwater_tasks", ("state", "running")] == 0
    assert found[("headwater_streams",)] == 1
    assert found[("headwater_notices_waiting",)] == 0
    assert found[("headwater_notice_oldest_age_seconds",)] == 0
    assert found["headwater_build_info", ("version", "0.1.0")] == 1


async def test_uploads_are_counted_by_what_came_of_them(made, scraped):
    task = await made.task()
    body = b'{"id": "a"}\n{"id": "b"}\n'
    for _ in range(2):
        assert (await made.upload(task, body, **{"Idempotency-Key": "one"})).status_code == 200
    assert (await made.upload(task, b"nonsense")).status_code == 400
    found = await scraped()
    other = (("crawler", "other"), ("stream", "other"))
    for outcome in ("accepted", "replayed", "refused"):
        assert found["headwater_uploads_total", other[0], ("outcome", outcome), other[1]] == 1
    assert found["headwater_upload_documents_total", *other] == 2
    assert found["headwater_upload_bytes_total", *other] == len(body)
    assert found["headwater_rejected_documents_total", *other] == 0


async def test_requests_are_timed_by_route_and_no_token_is_told(api, made):
    task = await made.task()
    path = httpx.URL(task["upload"]["endpoint"]).path
    await api.post(f"{path}/upload", content=b'{"id": "a"}')
    await api.post(f"{path}/upload?", content=b'{"id": "a"}')
    await api.get(f"/tasks/{task['fid']}")
    await api.get(f"/nowhere/{task['fid']}")
    text = (await api.get("/metrics")).text
    name = "headwater_http_request_duration_seconds_count"
    assert f'{name}{{method="POST",route="/actions/tasks/{{task_id}}/upload",status="200"}} 2.0' in text
    assert f'{name}{{method="GET",route="/tasks/{{fid}}",status="200"}} 1.0' in text
    assert f'{name}{{method="GET",route="none",status="404"}} 1.0' in text
    assert task["fid"] not in text
    assert task["upload"]["token"] not in text


async def test_a_scrape_needs_a_key_that_may_read(api, assert_problem):
    parts = api.app.state.services
    _, secret = await parts.db.write(keys.add, name="prometheus", scopes=(Scope.READ,), at=parts.clock())
    assert (await api.get("/metrics", headers={"Authorization": f"Bearer {secret}"})).status_code == 200
    api.headers.pop("authorization")
    assert_problem(await api.get("/metrics"), 401, "not-authenticated")


async def test_the_memory_of_the_engine_is_told(api, scraped):
    parts = api.app.state.services
    parts.metrics.holds(await parts.engine.ask(parts.engine.held))
    assert (await scraped())[("headwater_engine_memory_bytes",)] >= 0


async def test_what_the_cache_of_the_lake_has_counted_is_told_once(api, scraped):
    counts = CacheCounts()
    for hits, misses, fetched in ((3, 1, 100), (5, 1, 100)):
        counts.hits, counts.misses, counts.fetched = hits, misses, fetched
        api.app.state.services.metrics.cached(counts)
    found = await scraped()
    reads = {key: value for key, value in found.items() if key[0] == "headwater_lake_cache_reads_total"}
    assert sorted(reads.values()) == [1, 5]
    assert found[("headwater_lake_cache_fetched_bytes_total",)] == 100
