"""All that the API can change, and what is told of it: once, in order, and of what fails nothing."""

from datetime import timedelta

import httpx
import pytest

from builders import eventually, read_events
from headwater.catalog import events
from headwater.lifecycle import schedules, task_end


class Witness:
    """Hears of everything, and tells what came since it was last asked."""

    def __init__(self, api) -> None:
        self._db = api.app.state.services.db
        self._place = 0

    async def heard(self) -> list:
        told = await read_events(self._db, events.after, self._place, limit=1000)
        self._place = told[-1].id if told else self._place
        return told

    async def types(self) -> list[str]:
        return [
            f"{event.type} {event.data['change']}" if event.type == "stream.changed" else event.type
            for event in await self.heard()
        ]


@pytest.fixture
def recorder(api) -> Witness:
    return Witness(api)


async def _ok(answer) -> dict:
    assert answer.is_success, answer.text
    return answer.json()["payload"]


async def _status(api, task: dict, code: int, message: str | None = None) -> dict:
    said = {"code": code, "message": message}
    return await _ok(await api.post(f"/actions/tasks/{task['fid']}/status", json=said))


async def test_objects(api, made, recorder):
    stream, external = await made.stream(), await made.external()
    assert await recorder.types() == ["stream.created", "external.created"]
    crawler = await made.crawler(external, stream)
    assert await recorder.types() == ["crawler.created"]
    for path in (f"streams/{stream['fid']}", f"externals/{external['fid']}", f"crawlers/{crawler['fid']}"):
        kind = path.split("s/")[0]
        await _ok(await api.patch(f"/{path}", json={"meta": {"name": "new"}}))
        await _ok(await api.put(f"/{path}", json={"meta": {"name": "newer"}}))
        told = await recorder.heard()
        assert [event.type for event in told] == [f"{kind}.updated"] * 2
        assert [event.data["name"] for event in told] == ["new", "newer"]
        refused = await api.patch(f"/{path}", json={"meta": {}}, headers={"If-Match": '"1"'})
        assert refused.status_code == 412
    assert (await api.delete(f"/streams/{stream['fid']}")).status_code == 409
    assert await recorder.types() == []
    for version, published in ((1, ["external.published"]), (1, []), (None, ["external.published"]), (None, [])):
        await _ok(await api.post(f"/actions/externals/{external['fid']}/publish", json={"version": version}))
        assert await recorder.types() == published
    await api.delete(f"/crawlers/{crawler['fid']}")
    await api.delete(f"/streams/{stream['fid']}")
    await api.delete(f"/externals/{external['fid']}")
    assert await recorder.types() == ["crawler.deleted", "stream.deleted", "external.deleted"]


async def test_a_run_and_its_undoing(api, made, recorder):
    crawler = await made.crawler()
    await recorder.heard()
    task = await made.task(crawler)
    assert await recorder.types() == ["task.created"]
    assert (await api.post(f"/actions/crawlers/{crawler['fid']}/task")).status_code == 208
    assert await recorder.types() == []
    await _ok(await made.upload(task, **{"Idempotency-Key": "k"}))
    assert await recorder.types() == ["task.running", "stream.changed upload"]
    await _ok(await made.upload(task, **{"Idempotency-Key": "k"}))  # the same, answered as before
    assert (await made.upload(task, b"{")).status_code == 400
    assert await recorder.types() == []
    await _ok(await made.upload(task, b'{"id": "b"}\n'))
    await _status(api, task, 102, "half way")
    assert await recorder.types() == ["stream.changed upload", "task.reported"]
    await _ok(await api.patch(f"/tasks/{task['fid']}", json={"meta": {"name": "nightly"}}))
    await _status(api, task, 200)
    await _status(api, task, 200)  # said before
    assert await recorder.types() == ["task.updated", "task.done"]
    for _ in range(2):
        await _ok(await api.delete(f"/actions/tasks/{task['fid']}"))
    assert await recorder.types() == ["stream.changed remove", "task.deleted"]
    for _ in range(2):
        await _ok(await api.post(f"/actions/tasks/{task['fid']}/restore"))
    assert await recorder.types() == ["stream.changed restore", "task.restored"]
    await _ok(await api.post(f"/actions/crawlers/{crawler['fid']}/task/{task['fid']}"))
    await _ok(await made.upload(task))
    await _status(api, task, 200)
    assert await recorder.types() == [
        *("task.retried", "task.running", "stream.changed upload", "stream.changed replace", "task.done")
    ]
    await _ok(await api.delete(f"/streams/{crawler['stream']}/docs/a"))
    assert await recorder.types() == ["stream.changed erase"]


async def test_runs_that_end_otherwise(api, made, recorder):
    crawler = await made.crawler()
    parts = api.app.state.services
    for code, told in (
        (500, ["task.failed"]),
        (404, ["task.failed"]),
        (200, ["crawler.recovered", "task.done"]),
        (200, ["task.done"]),
    ):
        task = await made.task(crawler)
        await recorder.heard()
        await _status(api, task, code)
        assert await recorder.types() == told
    task = await made.task(crawler)
    await _ok(await api.post(f"/actions/tasks/{task['fid']}/stop"))
    await _ok(await api.post(f"/actions/tasks/{task['fid']}/stop"))
    assert await recorder.types() == ["task.created", "task.stopped"]
    await made.task(crawler)
    late = parts.clock() + timedelta(days=1)
    for _ in range(2):
        await parts.db.write(task_end.time_out, vault=parts.vault, at=late, limit=10)
    assert await recorder.types() == ["task.created", "task.timed_out"]
    task = await made.task(crawler)
    await made.upload(task)
    await _ok(await api.delete(f"/actions/tasks/{task['fid']}"))
    assert (await recorder.types())[3:] == ["task.stopped", "stream.changed remove", "task.deleted"]


async def test_what_a_gate_keeps_out_and_a_person_lets_in(api, made, recorder):
    crawler = await made.crawler(gates={"min_docs": 5})
    task = await made.task(crawler)
    await made.upload(task)
    await recorder.heard()
    await _status(api, task, 200)
    assert await recorder.types() == ["stream.changed withhold", "task.withheld"]
    for _ in range(2):
        await _ok(await api.post(f"/actions/tasks/{task['fid']}/publish"))
    assert await recorder.types() == ["stream.changed publish", "task.published"]


async def test_documents_that_wait_for_success_are_told_of_when_they_show(api, made, recorder):
    task = await made.task(await made.crawler(publish="on_success"))
    await recorder.heard()
    for _ in range(3):
        await _ok(await made.upload(task))
    assert await recorder.types() == ["task.running"]
    await _status(api, task, 200)
    assert await recorder.types() == ["stream.changed publish", "task.done"]


async def test_many_tasks_at_once_and_all_of_them_for_good(api, made, recorder):
    crawler = await made.crawler()
    tasks = [await made.done(crawler, b'{"id": "%d"}\n' % number) for number in range(3)]
    fids = [task["fid"] for task in tasks]
    await recorder.heard()
    await _ok(await api.post(f"/actions/streams/{crawler['stream']}/revert", json={"tasks": fids}))
    changed, *deleted = await recorder.heard()
    assert (changed.data["change"], changed.data["tasks"], changed.crawler) == ("remove", fids, crawler["fid"])
    assert [(event.type, event.task) for event in deleted] == [("task.deleted", fid) for fid in fids]
    await _ok(await api.post(f"/actions/streams/{crawler['stream']}/restore", json={"tasks": fids[1:]}))
    assert await recorder.types() == ["stream.changed restore", "task.restored", "task.restored"]
    assert (await api.delete(f"/streams/{crawler['stream']}?cascade=true")).is_success
    assert await recorder.types() == [
        "task.purged",
        *("stream.changed remove", "task.deleted", "task.purged") * 2,
        *("crawler.deleted", "stream.deleted"),
    ]


async def _until_open(api, task: dict, *, is_open: bool) -> None:
    async def is_so() -> bool:
        state = (await api.get(f"/tasks/{task['fid']}")).json()["payload"]["state"]
        return state == "running" if is_open else state == "failed"

    await eventually(is_so)


async def test_a_start_that_an_ec_answers_is_one_change(api, made, recorder, ecs):
    external = await made.external(endpoint="http://ec.test")
    crawler = await made.crawler(external)
    await recorder.heard()
    task = await made.task(crawler)
    await _until_open(api, task, is_open=True)
    assert await recorder.types() == ["task.created", "task.running"]
    await _status(api, task, 200)
    await recorder.heard()
    ecs.answer(httpx.Response(400))
    task = await made.task(crawler)
    await _until_open(api, task, is_open=False)
    assert await recorder.types() == ["task.created", "task.failed"]


async def test_runs_by_schedule_and_retries(api, made, recorder):
    parts = api.app.state.services
    external = await made.external(endpoint="http://ec.test")
    crawler = await made.crawler(external, schedule={"every": 3600}, retries=2)
    await recorder.heard()

    async def due(days: int) -> None:
        at = parts.clock() + timedelta(days=days)
        await parts.db.write(schedules.run_due, crawler["fid"], vault=parts.vault, at=at, rng=lambda: 0.0)

    await due(1)
    (task,) = (await api.get("/tasks")).json()["payload"]
    await _status(api, task, 102)
    assert await recorder.types() == ["task.created", "task.running"]
    await due(2)
    (skipped,) = await recorder.heard()
    assert (skipped.type, skipped.crawler) == ("crawler.skipped", crawler["fid"])
    assert "was open" in skipped.data["why"]
    await _status(api, task, 500)
    (failed,) = await recorder.heard()
    assert failed.type == "task.failed"
    assert failed.data["retry_at"].endswith("Z")
    # The next run is what the retry would have been.
    await due(3)
    told = [event for event in await recorder.heard() if event.task == task["fid"]]
    assert [(event.type, event.data["retry_at"]) for event in told] == [("task.updated", None)]
