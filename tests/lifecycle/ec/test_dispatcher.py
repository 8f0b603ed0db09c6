import asyncio
import json

import httpx
import pytest
from sqlalchemy import func, select

from builders import an_external, eventually
from headwater.catalog import tables
from headwater.catalog.vault import Vault
from headwater.domain.json_limits import unstorable
from headwater.domain.parameter import Parameter, ParameterType
from headwater.domain.task import Reason, TaskState
from headwater.lifecycle import deletion
from headwater.lifecycle.ec.client import EcClient
from headwater.lifecycle.ec.dispatcher import PAUSES, Dispatcher

EC = "http://ec.test/base/"
ACCEPTED = httpx.Response(200, json={"success": True, "payload": {"callback": "/jobs/7", "status": {"code": 102}}})


class Post:
    """A dispatcher whose turns the test takes."""

    def __init__(self, world, transport: httpx.MockTransport) -> None:
        self.world = world
        self.ec_client = EcClient(transport)
        self.dispatcher = Dispatcher(
            world.db, self.ec_client, vault=world.vault, public_url="https://be", clock=world.clock
        )

    async def turn(self, **wait: float) -> None:
        self.world.wait(**wait)
        await self.dispatcher.turn(at=self.world.at)
        await self.dispatcher.idle()


@pytest.fixture
async def post(world, ecs):
    made = Post(world, ecs.transport())
    yield made
    await made.ec_client.close()


async def _ec_task(world, **fields):
    external = an_external(endpoint=EC, headers={"X-Key": "k"}, **fields.pop("external", {}))
    return await world.task(await world.crawler(external=external, **fields))


async def _waiting(world):
    return await world.db.read(lambda tx: tx.execute(select(func.count()).select_from(tables.notices)).scalar())


async def test_an_ec_is_asked_once_with_all_that_it_needs(world, post, ecs):
    ecs.answer(ACCEPTED)
    task = await _ec_task(
        world,
        external={"parameters": (Parameter(name="pin", type=ParameterType.PASSWORD),)},
        sealed_credential=world.vault.seal({"user": "jo", "password": "hunter2"}),
        credential_type="basic",
        params=Vault.seal_passwords(
            world.vault, (Parameter(name="pin", type=ParameterType.PASSWORD),), {"pin": "4711"}
        ),
    )
    await post.turn()
    await post.turn()
    (request,) = ecs.asked
    assert str(request.url) == "http://ec.test/base/task?version=1"
    assert request.headers["X-Key"] == "k"
    token = world.vault.task_token(task.fid, 1)
    assert json.loads(request.content) == {
        "fid": task.fid,
        "params": {"pin": "4711"},
        "credential": {"user": "jo", "password": "hunter2"},
        "endpoint": f"https://be/actions/tasks/{task.fid}.{token}",
        "token": token,
    }
    now = await world.now(task)
    assert (now.code, now.state, now.callback) == (102, TaskState.RUNNING, "/jobs/7")
    assert now.deadline is not None
    assert await _waiting(world) == 0


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, json={}),
        httpx.Response(204),
        httpx.Response(201, json={"success": True, "payload": {"status": {"code": 0}}}),
        httpx.Response(200, json={"success": True, "payload": {"callback": None, "status": None}}),
    ],
)
async def test_what_an_ec_leaves_out_of_its_answer_has_a_default(world, post, ecs, answer):
    ecs.answer(answer)
    task = await _ec_task(world)
    await post.turn()
    now = await world.now(task)
    assert (now.code, now.callback) == (102, None)


@pytest.mark.parametrize(("code", "state"), [(200, TaskState.DONE), (503, TaskState.FAILED)])
async def test_an_ec_may_end_the_task_in_its_answer(world, post, ecs, code, state):
    ecs.answer(httpx.Response(200, json={"payload": {"status": {"code": code, "message": "so"}}}))
    task = await _ec_task(world)
    await post.turn()
    now = await world.now(task)
    assert (now.code, now.state, now.reason, now.message) == (code, state, Reason.REPORTED, "so")


async def test_an_ec_that_is_down_is_tried_five_times_over_a_minute(world, post, ecs):
    ecs.answer(httpx.ConnectError("refused"))
    task = await _ec_task(world)
    await post.turn()
    for pause in PAUSES:
        await post.turn(seconds=pause - 1)
        tries = len(ecs.asked)
        await post.turn(seconds=1)
        assert len(ecs.asked) == tries + 1
    now = await world.now(task)
    assert len(ecs.asked) == 5
    assert 50 <= sum(PAUSES) <= 70
    assert (now.code, now.state, now.reason) == (500, TaskState.FAILED, Reason.START_FAILED)
    assert "cannot be reached: refused" in now.message
    assert await _waiting(world) == 0


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_an_ec_that_asks_for_patience_gets_it(world, post, ecs, status):
    ecs.answer(httpx.Response(status), ACCEPTED)
    task = await _ec_task(world)
    await post.turn()
    waiting = await world.now(task)
    assert (waiting.state, waiting.detail["status"]) == (TaskState.NEW, status)
    assert waiting.message.endswith("; it is tried again")
    await post.turn(seconds=PAUSES[0])
    running = await world.now(task)
    assert (running.state, running.message, running.detail) == (TaskState.RUNNING, None, None)


async def test_an_ec_may_say_how_much_patience_it_needs(world, post, ecs):
    ecs.answer(httpx.Response(503, headers={"Retry-After": "20"}), ACCEPTED)
    await _ec_task(world)
    await post.turn()
    await post.turn(seconds=19)
    assert len(ecs.asked) == 1
    await post.turn(seconds=1)
    assert len(ecs.asked) == 2


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (httpx.Response(400, json={"why": "no such language"}), "answered 400 Bad Request"),
        (httpx.Response(404, text="nothing here"), "answered 404"),
        (httpx.Response(200, text="<html>"), "answer is not"),
        (httpx.Response(200, json=[1]), "answer is not"),
        (httpx.Response(200, json={"payload": {"status": {"code": "102"}}}), "answer is not"),
        (httpx.Response(200, json={"payload": {"status": {"code": 999}}}), "wrong status"),
        (httpx.Response(200, json={"success": False}), "did not succeed"),
        (httpx.Response(302, headers={"Location": "http://elsewhere.test/task"}), "redirects to http://elsewhere.test"),
    ],
)
async def test_an_ec_that_does_not_take_the_task_fails_it_at_once_and_its_answer_is_kept(
    world, post, ecs, answer, said
):
    ecs.answer(answer)
    task = await _ec_task(world)
    await post.turn()
    now = await world.now(task)
    assert (now.state, now.reason) == (TaskState.FAILED, Reason.START_FAILED)
    assert said in now.message
    assert now.detail["status"] == answer.status_code
    assert len(ecs.asked) == 1


@pytest.mark.parametrize(
    "content",
    [
        rb'{"payload": {"callback": "/a\ud800b"}}',
        rb'{"payload": {"callback": "/a\u0000b"}}',
        b"[" * 900 + b"]" * 900,
    ],
)
@pytest.mark.parametrize("status", [200, 400])
async def test_an_answer_that_cannot_be_kept_as_it_is_fails_the_task_once(world, post, ecs, content, status):
    ecs.answer(httpx.Response(status, content=content))
    task = await _ec_task(world)
    await post.turn()
    await post.turn(hours=1)
    now = await world.now(task)
    assert (now.state, now.reason, len(ecs.asked)) == (TaskState.FAILED, Reason.START_FAILED, 1)
    assert now.detail["status"] == status
    assert unstorable(now.detail) is None
    assert await _waiting(world) == 0


async def test_an_ec_may_upload_before_its_answer_arrives(world, post, ecs):
    task = await _ec_task(world)
    await world.upload(task, [{"id": "early"}])
    ecs.answer(ACCEPTED)
    await post.turn()
    now = await world.now(task)
    assert (now.state, now.docs, now.callback) == (TaskState.RUNNING, 1, "/jobs/7")


async def test_what_an_ec_reported_before_its_answer_arrived_stays(world, post, ecs):
    task = await _ec_task(world)
    await world.report(task, 102, message="5 of 41", detail={"done": 5})
    ecs.answer(ACCEPTED)
    await post.turn(seconds=10)
    now = await world.now(task)
    assert (now.message, now.detail, now.callback, now.heard_at) == ("5 of 41", {"done": 5}, "/jobs/7", world.at)


async def test_an_ec_that_works_though_it_did_not_answer_is_not_started_twice(world, post, ecs):
    task = await _ec_task(world)
    await world.upload(task, [{"id": "early"}])
    ecs.answer(httpx.ReadTimeout("slow"))
    await post.turn()
    await post.turn(minutes=0.9)
    assert len(ecs.asked) == 1
    assert (await world.now(task)).state is TaskState.RUNNING
    assert await _waiting(world) == 0


async def test_an_ec_that_closed_the_task_before_it_answered_has_closed_it(world, post, ecs):
    task = await _ec_task(world)
    await world.report(task, 200)
    ecs.answer(ACCEPTED)
    await post.turn()
    assert (await world.now(task)).code == 200
    assert ecs.asked == []


async def test_an_ec_is_told_of_the_end_of_its_task_at_its_callback(world, post, ecs):
    ecs.answer(ACCEPTED)
    task = await _ec_task(world)
    await post.turn()
    await world.stop(task)
    await post.turn()
    assert str(ecs.asked[1].url) == "http://ec.test/base/jobs/7/status?version=1"
    assert (ecs.asked[1].method, ecs.asked[1].headers["X-Key"]) == ("PATCH", "k")
    assert ecs.bodies()[1] == {"code": 410, "message": "stopped", "detail": None}
    assert await _waiting(world) == 0


async def test_an_absolute_callback_is_called_as_it_is(world, post, ecs):
    ecs.answer(httpx.Response(200, json={"payload": {"callback": "http://other.test/t/1/"}}))
    task = await _ec_task(world)
    await post.turn()
    await world.delete(task)
    await post.turn()
    assert str(ecs.asked[1].url) == "http://other.test/t/1/status?version=1"
    assert ecs.bodies()[1]["code"] == 410


async def test_silence_ends_a_task_and_its_ec_is_told_408(world, post, ecs):
    ecs.answer(ACCEPTED)
    task = await _ec_task(world, timeout=60)
    await post.turn()
    await post.turn(seconds=61)
    assert (await world.now(task)).state is TaskState.TIMED_OUT
    assert ecs.bodies()[1]["code"] == 408


async def test_an_ec_is_not_told_of_what_it_said_itself(world, post, ecs):
    ecs.answer(ACCEPTED)
    task = await _ec_task(world)
    await post.turn()
    await world.report(task, 200)
    await post.turn(hours=2)
    assert ecs.calls() == ["POST /base/task"]


@pytest.mark.parametrize("status", [404, 405, 501])
async def test_an_ec_that_does_not_know_the_call_is_not_asked_again(world, post, ecs, status):
    ecs.answer(ACCEPTED, httpx.Response(status))
    task = await _ec_task(world)
    await post.turn()
    await world.stop(task)
    await post.turn()
    await post.turn(hours=1)
    assert len(ecs.asked) == 2
    assert await _waiting(world) == 0


async def test_an_ec_that_cannot_be_told_is_tried_like_a_start_and_then_left(world, post, ecs):
    ecs.answer(ACCEPTED, httpx.ConnectError("down"))
    task = await _ec_task(world)
    await post.turn()
    await world.stop(task)
    for _ in range(8):
        await post.turn(seconds=40)
    assert len(ecs.asked) == 1 + 5
    assert await _waiting(world) == 0


async def test_a_task_stopped_while_its_start_was_under_way_is_ended_at_the_ec(world, ecs):
    task = await _ec_task(world)
    stopped = asyncio.Event()

    async def slow(request: httpx.Request) -> httpx.Response:
        ecs.asked.append(request)
        if request.method == "POST":
            await world.stop(task)
            stopped.set()
        return ACCEPTED

    post = Post(world, httpx.MockTransport(slow))
    await post.turn()
    assert stopped.is_set()
    await post.turn()
    await post.ec_client.close()
    assert ecs.calls() == ["POST /base/task", "PATCH /base/jobs/7/status"]
    assert (await world.now(task)).state is TaskState.STOPPED


async def test_a_retry_is_heard_of_after_the_end_of_the_former_attempt(world, post, ecs):
    ecs.answer(ACCEPTED, httpx.Response(503), ACCEPTED)
    task = await _ec_task(world)
    await post.turn()
    await world.stop(task)
    await post.turn()
    await world.retry(task)
    for _ in range(4):
        await post.turn(seconds=3)
    assert ecs.calls() == ["POST /base/task", *["PATCH /base/jobs/7/status"] * 2, "POST /base/task"]
    assert ecs.bodies()[3]["token"] == world.vault.task_token(task.fid, 2)


async def test_the_ec_of_a_crawler_deleted_with_its_running_task_is_still_told(world, post, ecs):
    ecs.answer(ACCEPTED)
    task = await _ec_task(world)
    await post.turn()
    await world.db.write(
        deletion.remove_external, task.external, cascade=True, expected=None, vault=world.vault, at=world.at
    )
    await post.turn()
    assert ecs.calls() == ["POST /base/task", "PATCH /base/jobs/7/status"]


async def test_what_waits_survives_a_restart_however_long_it_takes(world, post, ecs):
    task = await _ec_task(world, timeout=5)
    ecs.answer(ACCEPTED)
    await post.turn(hours=30)
    assert (await world.now(task)).state is TaskState.RUNNING


async def test_who_fell_silent_while_nobody_listened_is_not_timed_out_by_the_restart(world, ecs):
    task = await world.task(await world.crawler(timeout=5))
    world.wait(hours=1)
    ec_client = EcClient(ecs.transport())
    dispatcher = Dispatcher(world.db, ec_client, vault=world.vault, public_url="https://be", clock=world.clock)
    running = asyncio.create_task(dispatcher.run())

    async def pardoned() -> bool:
        return (await world.now(task)).deadline > world.at

    await eventually(pardoned)
    assert (await world.now(task)).state is TaskState.NEW
    world.wait(minutes=2)

    async def timed_out() -> bool:
        return (await world.now(task)).state is TaskState.TIMED_OUT

    await eventually(timed_out)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await ec_client.close()


async def test_a_slow_ec_holds_up_no_other(world):
    hang = asyncio.Event()

    async def answer(request: httpx.Request) -> httpx.Response:
        if json.loads(request.content)["fid"] == slow.fid:
            await hang.wait()
        return ACCEPTED

    ec_client = EcClient(httpx.MockTransport(answer))
    dispatcher = Dispatcher(world.db, ec_client, vault=world.vault, public_url="https://be", clock=world.clock)
    slow, fast = await _ec_task(world), await _ec_task(world)
    running = asyncio.create_task(dispatcher.run())

    async def runs(task) -> bool:
        return (await world.now(task)).state is TaskState.RUNNING

    await eventually(lambda: runs(fast))
    assert not await runs(slow)
    hang.set()
    await eventually(lambda: runs(slow))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await ec_client.close()
