import asyncio
import json
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import func, select, update

from builders import a_stream, an_external, read_events
from headwater.catalog import credentials, events, objects, tables
from headwater.catalog.objects import CRAWLERS, EXTERNALS, STREAMS
from headwater.domain.errors import (
    InUse,
    LoginUnfinished,
    LoginUnusable,
    NoLogin,
    NotFound,
    ParametersInvalid,
    Unavailable,
)
from headwater.domain.external import CredentialType
from headwater.domain.schedule import Schedule
from headwater.domain.task import Publish, Reason, TaskState
from headwater.lifecycle import crawlers as crawler_actions
from headwater.lifecycle import deletion, oauth
from headwater.lifecycle.crawlers import CrawlerConfig
from headwater.lifecycle.ec import client
from headwater.lifecycle.ec.client import EcClient
from headwater.lifecycle.ec.dispatcher import PAUSES, Dispatcher
from headwater.lifecycle.scheduler import Scheduler

UUID = "5b0c1c52-5a39-4b6c-9d3f-0d6a3c1f7e21"
OTHER = "00000000-5a39-4b6c-9d3f-0d6a3c1f7e21"
ACCEPTED = httpx.Response(200, json={"success": True})


class Desk:
    """A Headwater beside which ECs answer as the test says, and whose turns the test takes."""

    def __init__(self, world, ecs) -> None:
        self.world = world
        self.ecs = ecs
        self.ec_client = EcClient(ecs.transport())
        self.dispatcher = Dispatcher(
            world.db, self.ec_client, vault=world.vault, public_url="https://be", clock=world.clock
        )
        self.scheduler = Scheduler(world.db, vault=world.vault, clock=world.clock, rng=lambda: 0.0)

    async def external(self, **fields):
        base = {
            "endpoint": "http://ec.test/api",
            "credential": CredentialType.OAUTH,
            "oauth": "http://ec.test/oauth?app=1",
            "oauth_parameters": {"subdomain": "acme"},
            "headers": {"X-Key": "k"},
        }
        return await self.world.db.write(objects.add, EXTERNALS, an_external(**(base | fields)))

    async def fetch(self, external, *answers, uuid=UUID):
        self.ecs.answer(*answers)
        return await oauth.fetch(
            self.world.db,
            self.ec_client,
            external.fid,
            uuid,
            version=None,
            vault=self.world.vault,
            clock=self.world.clock,
        )

    async def login(self, external, *, uuid=UUID, **given):
        return (await self.fetch(external, self.gives(**given), uuid=uuid))[0]

    def gives(self, *, lasts: float | None = 3600, **given) -> httpx.Response:
        expiry = None if lasts is None else (self.world.at + timedelta(seconds=lasts)).timestamp()
        return httpx.Response(200, json={"user": "jo", "token": "secret", "expiry": expiry, "issued": None} | given)

    async def crawler(self, external, credential, **fields):
        stream = await self.world.db.write(objects.add, STREAMS, a_stream())
        base = {"params": {}, "timeout": 60, "publish": Publish.LIVE, "schedule": None, "meta": {}}
        return await self.world.db.write(
            crawler_actions.create_crawler,
            external.fid,
            stream.fid,
            CrawlerConfig(**(base | fields)),
            credential=credential if isinstance(credential, dict) else {"fid": credential.fid},
            vault=self.world.vault,
            at=self.world.at,
        )

    async def turn(self, **wait: float) -> None:
        self.world.wait(**wait)
        await self.dispatcher.turn(at=self.world.at)
        await self.dispatcher.idle()

    async def forget(self, external, credential) -> None:
        await self.world.db.write(oauth.forget, external, credential, vault=self.world.vault, at=self.world.at)

    async def waiting(self) -> int:
        return await self.world.db.read(
            lambda tx: tx.execute(select(func.count()).select_from(tables.notices)).scalar()
        )


@pytest.fixture
async def desk(world, ecs):
    made = Desk(world, ecs)
    yield made
    await made.ec_client.close()


async def test_a_token_is_fetched_with_the_externals_headers_and_kept_sealed(world, desk, ecs):
    external = await desk.external()
    kept, is_new = await desk.fetch(external, desk.gives(lasts=3600, email_address="jo@example.org"))
    (asked,) = ecs.asked
    assert (asked.method, str(asked.url)) == ("GET", f"http://ec.test/oauth/token?app=1&uuid={UUID}&subdomain=acme")
    assert asked.headers["X-Key"] == "k"
    assert (is_new, kept.user, kept.email_address) == (True, "jo", "jo@example.org")
    assert kept.expires_at == world.at + timedelta(hours=1)
    assert await world.db.read(credentials.get, external.fid, kept.fid) == kept
    stored = await world.db.read(lambda tx: str(tx.execute(select(tables.credentials)).all()))
    assert "secret" not in stored
    assert UUID not in stored
    assert world.vault.unseal(kept.sealed)["given"]["token"] == "secret"


async def test_the_same_login_again_renews_its_credential(world, desk):
    external = await desk.external()
    first = await desk.login(external, lasts=10)
    world.wait(seconds=60)
    again, is_new = await desk.fetch(external, desk.gives(lasts=60, token="other"))
    assert (again.fid, is_new, again.created_at) == (first.fid, False, first.created_at)
    assert (again.renewed_at, again.expires_at) == (world.at, world.at + timedelta(seconds=60))
    assert world.vault.unseal(again.sealed)["given"]["token"] == "other"
    assert await world.db.read(credentials.page, external.fid, after=None, limit=9) == [again]


async def test_a_login_that_is_fetched_several_times_at_once_is_one_credential(desk):
    external = await desk.external()
    desk.ecs.answer(desk.gives())
    calls = [
        oauth.fetch(
            desk.world.db,
            desk.ec_client,
            external.fid,
            UUID,
            version=None,
            vault=desk.world.vault,
            clock=desk.world.clock,
        )
        for _ in range(8)
    ]
    found = await asyncio.gather(*calls)
    assert len({kept.fid for kept, _ in found}) == 1
    assert [is_new for _, is_new in found].count(True) == 1


async def test_an_answer_that_was_lost_is_had_again_from_an_ec_that_gives_a_token_once(world, desk):
    external = await desk.external()
    kept = await desk.login(external, lasts=60)
    assert await desk.fetch(external, httpx.Response(404)) == (kept, False)
    world.wait(seconds=60)
    with pytest.raises(LoginUnfinished):
        await desk.fetch(external, httpx.Response(404))


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        (httpx.Response(404), LoginUnfinished, "answered 404 Not Found; finish the login"),
        (
            httpx.Response(409, json={"message": f"{UUID} waits"}),
            LoginUnfinished,
            "409 Conflict: ******** waits; finish",
        ),
        (httpx.Response(403, json={"token": "secret", "error": "no"}), LoginUnfinished, "403 Forbidden: no; finish"),
        (httpx.Response(400, text="secret"), LoginUnfinished, "400 Bad Request; finish"),
        (httpx.Response(200, json={"success": False, "payload": "secret"}), LoginUnfinished, "did not succeed"),
        (httpx.Response(200, text="secret"), LoginUnusable, "no JSON"),
        (httpx.Response(204), LoginUnusable, "no JSON"),
        (httpx.Response(200, text="[" * 100_000), LoginUnusable, "more than 64 KiB"),
        (httpx.Response(200, text="[" * 50_000), LoginUnusable, "no JSON"),
        (httpx.Response(200, json=["secret"]), LoginUnusable, "expected an object"),
        (httpx.Response(200, json={"access_token": "secret"}), LoginUnusable, "token: expected a text"),
        (httpx.Response(200, json={"token": "secret", "expiry": "soon"}), LoginUnusable, "expiry: expected"),
        (
            httpx.Response(302, headers={"Location": f"http://evil.test/{UUID}"}),
            LoginUnusable,
            "redirects to http://evil.test",
        ),
        (httpx.Response(302, headers={"Location": "/oauth/token"}), LoginUnusable, "redirects more than"),
        (httpx.Response(500, text="secret"), Unavailable, "500 Internal Server Error; ask"),
        (httpx.Response(429), Unavailable, "429 Too Many Requests"),
        (httpx.ConnectError("refused"), Unavailable, "cannot be reached: refused"),
        (httpx.ReadTimeout(""), Unavailable, "cannot be reached: ReadTimeout"),
        (httpx.RemoteProtocolError("secret"), Unavailable, "no HTTP"),
    ],
)
async def test_an_ec_that_gives_no_token_is_told_of_without_what_it_answered(world, desk, answer, error, said):
    external = await desk.external()
    with pytest.raises(error) as caught:
        await desk.fetch(external, answer)
    assert said in caught.value.detail
    assert "secret" not in caught.value.detail
    assert UUID not in caught.value.detail
    assert await world.db.read(credentials.page, external.fid, after=None, limit=9) == []


@pytest.mark.parametrize(("asked", "told"), [("7", 7), ("1", 5), ("999999", 3600), ("soon", 5)])
async def test_an_ec_says_itself_when_to_ask_again(desk, asked, told):
    with pytest.raises(Unavailable) as caught:
        await desk.fetch(await desk.external(), httpx.Response(503, headers={"Retry-After": asked}))
    assert caught.value.retry_after == told


async def test_an_ec_that_hangs_is_not_waited_for(monkeypatch, desk):
    async def hang(_request):
        await asyncio.sleep(3600)

    monkeypatch.setattr(client, "ANSWER_WITHIN", 0.05)
    desk.ec_client = EcClient(httpx.MockTransport(hang))
    with pytest.raises(Unavailable, match="did not answer within"):
        await desk.fetch(await desk.external())


async def test_metadata_addresses_are_not_asked_for_tokens(desk):
    desk.ec_client = EcClient()
    with pytest.raises(LoginUnusable, match="is not called"):
        await desk.fetch(await desk.external(oauth="http://169.254.169.254/oauth"))


async def test_an_external_that_is_deleted_while_its_ec_is_asked_keeps_no_token(world, desk):
    external = await desk.external()
    gone = {"cascade": False, "expected": None, "vault": world.vault, "at": world.at}

    async def delete_first(_request):
        await world.db.write(deletion.remove_external, external.fid, **gone)
        return desk.gives()

    desk.ec_client = EcClient(httpx.MockTransport(delete_first))
    with pytest.raises(NotFound, match="there is no external"):
        await desk.fetch(external)
    assert await world.db.read(lambda tx: tx.execute(select(tables.credentials)).all()) == []


async def test_a_login_begins_with_a_new_uuid_or_that_of_the_credential_that_is_renewed(world, desk):
    external = await desk.external()
    kept = await desk.login(external)

    async def begin(**options):
        base = {"renewing": None, "version": None, "vault": world.vault}
        return await world.db.read(oauth.begin, external.fid, OTHER, **(base | options))

    assert (await begin())[1] == OTHER
    assert (await begin(renewing=kept.fid))[1] == UUID
    with pytest.raises(NotFound, match="has no credential"):
        await begin(renewing=external.fid)


async def test_the_version_of_the_external_that_is_in_use_says_where_to_log_in(world, desk):
    external = await desk.external()
    edited = replace(external.definition, oauth="http://new.test/oauth")
    new = replace(external, definition=edited, version=2, published=1)
    await world.db.write(objects.save, EXTERNALS, external, new)
    of = {"renewing": None, "vault": world.vault}
    assert (await world.db.read(oauth.begin, external.fid, UUID, version=None, **of))[0].url.startswith("http://ec")
    assert (await world.db.read(oauth.begin, external.fid, UUID, version=2, **of))[0].url.startswith("http://new")


@pytest.mark.parametrize("credential", [{}, {"token": "t"}, {"fid": 7}, {"fid": "x", "oauth": "y"}, {"oauth": {}}])
async def test_a_crawler_names_a_credential_and_brings_none(desk, credential):
    with pytest.raises(ParametersInvalid, match="expected") as caught:
        await desk.crawler(await desk.external(), credential)
    assert [flaw.pointer for flaw in caught.value.flaws] == ["/credential"]


async def test_a_crawler_names_a_credential_of_its_own_external(desk):
    external, other = await desk.external(), await desk.external()
    kept = await desk.login(other)
    for fid in (kept.fid, "nothing", external.fid):
        with pytest.raises(ParametersInvalid, match="has no credential"):
            await desk.crawler(external, {"fid": fid})
    for named in ({"fid": kept.fid}, {"oauth": kept.fid}, {"type": "oauth", "fid": kept.fid, "expires_at": None}):
        assert (await desk.crawler(other, named)).login == kept.fid


async def test_an_ec_is_started_with_what_it_gave_as_it_is_kept_when_the_start_is_delivered(world, desk, ecs):
    external = await desk.external()
    crawler = await desk.crawler(external, await desk.login(external, lasts=60, tenant=7))
    await world.task(crawler)
    await desk.login(external, lasts=90, token="newer", tenant=8)
    ecs.answer(ACCEPTED)
    await desk.turn()
    assert ecs.calls()[-1] == "POST /api/task"
    given = json.loads(ecs.asked[-1].content)["credential"]
    assert {name: given[name] for name in ("user", "token", "tenant", "issued")} == {
        "user": "jo",
        "token": "newer",
        "tenant": 8,
        "issued": None,
    }
    assert isinstance(given["expiry"], float)


async def _failed_for_its_credential(desk, task):
    assert (task.state, task.code, task.reason) == (TaskState.FAILED, 500, Reason.CREDENTIAL_EXPIRED)
    assert "renew it" in task.message
    assert task.retry_at is None
    assert task.ended_at is not None
    assert await desk.waiting() == 0


async def test_a_task_whose_credential_has_expired_fails_and_its_ec_is_not_called(world, desk, ecs):
    external = await desk.external()
    crawler = await desk.crawler(external, await desk.login(external, lasts=60), retries=3)
    world.wait(seconds=60)
    opened = await world.create(crawler)
    assert opened.begun
    await _failed_for_its_credential(desk, opened.task)
    again = await world.retry(opened.task)
    assert again.task.attempt == 2
    await _failed_for_its_credential(desk, again.task)
    assert await world.now(again.task) == again.task
    await desk.turn()
    assert ecs.calls() == ["GET /oauth/token"]


async def test_a_credential_that_does_not_expire_starts_tasks_for_ever(world, desk):
    external = await desk.external()
    crawler = await desk.crawler(external, await desk.login(external, lasts=None))
    world.wait(days=10_000)
    assert (await world.task(crawler)).state is TaskState.NEW


async def test_a_task_whose_credential_expires_while_its_start_waits_fails(world, desk, ecs):
    external = await desk.external()
    crawler = await desk.crawler(external, await desk.login(external, lasts=60), retries=3)
    task = await world.task(crawler)
    ecs.answer(httpx.ConnectError("down"))
    await desk.turn()
    calls = len(ecs.asked)
    await desk.turn(seconds=60)
    await _failed_for_its_credential(desk, await world.now(task))
    assert len(ecs.asked) == calls


async def test_an_ec_that_works_already_goes_on_when_its_credential_expires(world, desk, ecs):
    external = await desk.external()
    task = await world.task(await desk.crawler(external, await desk.login(external, lasts=30)))
    ecs.answer(httpx.ReadTimeout("lost"))
    await desk.turn()
    await world.report(task, 102)
    await desk.turn(seconds=40)
    assert (await world.now(task)).state is TaskState.RUNNING
    assert await desk.waiting() == 0


async def test_a_run_by_schedule_and_a_retry_by_itself_fail_for_an_expired_credential(world, desk, ecs):
    external = await desk.external()
    credential = await desk.login(external, lasts=90)
    crawler = await desk.crawler(external, credential, schedule=Schedule(every=86400), retries=1)
    failing = await desk.crawler(external, credential, retries=1)
    task = await world.task(failing)
    ecs.answer(httpx.Response(400))
    await desk.turn()
    assert (await world.now(task)).retry_at is not None
    world.wait(seconds=90)
    await desk.scheduler.turn(at=world.at)
    retried = await world.now(task)
    assert retried.attempt == 2
    await _failed_for_its_credential(desk, retried)
    world.wait(days=1)
    await desk.scheduler.turn(at=world.at)
    tasks = await world.db.read(objects.page, objects.TASKS, where={"crawler": crawler.fid}, after=None, limit=9)
    assert [run.origin for run in tasks] == ["schedule"]
    await _failed_for_its_credential(desk, tasks[0])


async def test_a_renewal_lets_tasks_be_retried_that_it_had_kept_from_running(world, desk):
    external = await desk.external()
    credential = await desk.login(external, lasts=60)
    crawlers = [await desk.crawler(external, credential, retries=retries) for retries in (1, 1, 0)]
    world.wait(seconds=60)
    tasks = [await world.task(crawler) for crawler in crawlers]
    newer = await world.task(crawlers[0])
    before = await read_events(world.db, events.last)
    await desk.login(external, lasts=60)
    told = await read_events(world.db, events.after, before, limit=9)
    assert [(event.type, event.task) for event in told] == [
        ("task.updated", tasks[1].fid),
        ("task.updated", newer.fid),
    ]
    assert all(event.data["retry_at"] for event in told)
    await desk.scheduler.turn(at=world.at)
    states = [(await world.now(task)).state for task in (*tasks, newer)]
    assert states == [TaskState.FAILED, TaskState.NEW, TaskState.FAILED, TaskState.NEW]


async def test_a_script_that_uploads_is_given_no_credential_and_needs_none(world, desk):
    external = await desk.external(endpoint=None)
    crawler = await desk.crawler(external, await desk.login(external, lasts=60))
    world.wait(seconds=60)
    assert (await world.task(crawler)).state is TaskState.NEW


async def test_a_credential_is_forgotten_at_the_ec_too(world, desk, ecs):
    external = await desk.external()
    await desk.forget(external, await desk.login(external))
    assert await world.db.read(credentials.page, external.fid, after=None, limit=9) == []
    ecs.answer(httpx.Response(204))
    await desk.turn()
    asked = ecs.asked[-1]
    assert (asked.method, str(asked.url)) == ("DELETE", f"http://ec.test/oauth/token?app=1&uuid={UUID}&subdomain=acme")
    assert asked.headers["X-Key"] == "k"
    assert await desk.waiting() == 0


async def test_an_ec_that_is_down_is_told_later_to_forget_a_token(desk, ecs):
    external = await desk.external()
    await desk.forget(external, await desk.login(external))
    ecs.answer(httpx.ConnectError("down"))
    for pause in (0, *PAUSES, 3600, 3600, 3600, 3600):
        await desk.turn(seconds=pause)
    assert ecs.calls()[1:] == ["DELETE /oauth/token"] * 9
    ecs.answer(httpx.Response(200))
    await desk.turn(hours=1)
    assert await desk.waiting() == 0


@pytest.mark.parametrize("status", [404, 405, 410, 501, 401])
async def test_an_ec_that_knows_nothing_of_it_or_will_not_is_told_once(desk, ecs, status):
    external = await desk.external()
    await desk.forget(external, await desk.login(external))
    ecs.answer(httpx.Response(status))
    await desk.turn()
    assert await desk.waiting() == 0


async def test_an_ec_is_told_for_a_week_at_most(world, desk, ecs):
    external = await desk.external()
    await desk.forget(external, await desk.login(external))
    ecs.answer(httpx.ConnectError("down"))
    await desk.turn()
    await world.db.write(lambda tx: tx.execute(update(tables.notices).values(tries=200)))
    await desk.turn(hours=1)
    assert await desk.waiting() == 0


async def test_a_credential_that_crawlers_name_stays(world, desk):
    external = await desk.external()
    credential = await desk.login(external)
    crawler = await desk.crawler(external, credential)
    with pytest.raises(InUse, match=f"named by crawler {crawler.fid}"):
        await desk.forget(external, credential)
    await desk.crawler(external, credential)
    with pytest.raises(InUse, match="named by crawlers"):
        await desk.forget(external, credential)
    await world.db.write(
        deletion.remove_crawler, crawler.fid, cascade=False, expected=None, vault=world.vault, at=world.at
    )
    assert await world.db.read(objects.find, CRAWLERS, crawler.fid) is None


async def test_an_external_is_deleted_with_its_credentials_here_and_at_the_ec(world, desk, ecs):
    external = await desk.external()
    await desk.crawler(external, await desk.login(external))
    await desk.login(external, uuid=OTHER)
    await world.db.write(
        deletion.remove_external, external.fid, cascade=True, expected=None, vault=world.vault, at=world.at
    )
    ecs.answer(httpx.Response(204))
    await desk.turn()
    assert sorted(ecs.calls()) == ["DELETE /oauth/token"] * 2 + ["GET /oauth/token"] * 2


async def test_an_ec_at_which_nobody_logs_in_any_more_is_told_where_the_token_was_fetched(desk, ecs):
    external = await desk.external()
    credential = await desk.login(external)
    now = replace(external, definition=replace(external.definition, credential=None, oauth=None))
    with pytest.raises(NoLogin):
        oauth.service_of(now)
    await desk.forget(now, credential)
    ecs.answer(httpx.Response(204))
    await desk.turn()
    assert str(ecs.asked[-1].url).startswith(f"http://ec.test/oauth/token?app=1&uuid={UUID}")
