from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import httpx
import pytest

from builders import eventually
from headwater.catalog import keys
from headwater.catalog.keys import Scope

OAUTH = {
    "endpoint": "http://ec.test/api",
    "credential": "oauth",
    "oauth": "http://ec.test/oauth",
    "oauthParameters": {"subdomain": "acme"},
}


def _gives(**given) -> httpx.Response:
    expiry = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    return httpx.Response(200, json={"user": "jo", "token": "secret", "expiry": expiry, "issued": None} | given)


@pytest.fixture
async def external(made) -> dict:
    return await made.external(**OAUTH)


async def _login(api, ecs, external: dict, **given) -> dict:
    ecs.answer(_gives(**given))
    answer = await api.post(f"/actions/externals/{external['fid']}/oauth/token", json={"uuid": str(uuid4())})
    assert answer.status_code == 201, answer.text
    return answer.json()["payload"]


async def test_a_login_is_begun_finished_named_by_a_crawler_and_used(api, made, ecs, external):
    begun = (await api.get(f"/externals/{external['fid']}/oauth", params={"reset": True})).json()["payload"]
    assert str(UUID(begun["uuid"])) == begun["uuid"]
    assert begun["url"] == f"http://ec.test/oauth/login?uuid={begun['uuid']}&subdomain=acme&reset=true"
    ecs.answer(_gives(reported_name="Jo Miller"))
    path = f"/actions/externals/{external['fid']}/oauth/token"
    answer = await api.post(path, json={"uuid": begun["uuid"]})
    kept = answer.json()["payload"]
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/externals/{external['fid']}/oauth/credentials/{kept['fid']}"
    assert (kept["user"], kept["reported_name"], kept["expired"]) == ("jo", "Jo Miller", False)
    assert (await api.get(answer.headers["location"])).json()["payload"] == kept
    again = await api.post(path, json={"uuid": begun["uuid"]})
    assert (again.status_code, again.json()["payload"]["fid"]) == (200, kept["fid"])

    crawler = await made.crawler(external, credential={"fid": kept["fid"]})
    shown = {"type": "oauth", "fid": kept["fid"], "expires_at": again.json()["payload"]["expires_at"]}
    assert crawler["credential"] == shown
    assert (await api.get("/crawlers")).json()["payload"][0]["credential"] == shown
    ecs.answer(httpx.Response(200, json={"success": True}))
    task = await made.task(crawler)

    async def started() -> bool:
        return "POST /api/task" in ecs.calls()

    await eventually(started)
    assert task["state"] == "new"
    paths = ("/crawlers", "/tasks", "/externals", f"/tasks/{task['fid']}")
    said = " ".join([(await api.get(path)).text for path in paths])
    said += (await api.get(f"/externals/{external['fid']}/oauth/credentials")).text
    assert "secret" not in said + answer.text + again.text
    assert begun["uuid"] not in said


async def test_credentials_are_listed_page_by_page_newest_first(api, ecs, external, assert_problem):
    made = [await _login(api, ecs, external, user=str(number)) for number in range(3)]
    path = f"/externals/{external['fid']}/oauth/credentials"
    page = (await api.get(path, params={"limit": 2})).json()
    rest = (await api.get(path, params={"limit": 2, "cursor": page["next_cursor"]})).json()
    assert [one["user"] for one in page["payload"] + rest["payload"]] == ["2", "1", "0"]
    assert rest["next_cursor"] is None
    assert_problem(await api.get(f"/externals/{'0' * 32}/oauth/credentials"), 404, "not-found")
    assert_problem(await api.get(f"{path}/{'0' * 32}"), 404, "not-found")
    assert made[0]["external"] == external["fid"]


async def test_a_credential_is_deleted_here_and_at_the_ec_unless_a_crawler_names_it(
    api, made, ecs, external, assert_problem
):
    kept = await _login(api, ecs, external)
    path = f"/externals/{external['fid']}/oauth/credentials/{kept['fid']}"
    crawler = await made.crawler(external, credential={"oauth": kept["fid"]})
    problem = assert_problem(await api.delete(path), 409, "in-use")
    assert crawler["fid"] in problem["detail"]
    assert (await api.delete(f"/crawlers/{crawler['fid']}")).status_code == 200
    ecs.answer(httpx.Response(204))
    assert (await api.delete(path)).json() == {"success": True, "payload": None, "version": 0}
    assert_problem(await api.delete(path), 404, "not-found")

    async def cleared() -> bool:
        return "DELETE /oauth/token" in ecs.calls()

    await eventually(cleared)


async def test_a_crawler_is_let_name_another_credential(api, made, ecs, external, assert_problem):
    first, second = await _login(api, ecs, external), await _login(api, ecs, external, expiry=None)
    crawler = await made.crawler(external, credential={"fid": first["fid"]})
    path = f"/crawlers/{crawler['fid']}"
    patched = await api.patch(path, json={"credential": {"fid": second["fid"]}})
    assert patched.json()["payload"]["credential"] == {"type": "oauth", "fid": second["fid"], "expires_at": None}
    kept = await api.patch(path, json={"timeout": 60})
    assert kept.json()["payload"]["credential"]["fid"] == second["fid"]
    sent_back = await api.put(path, json={"credential": kept.json()["payload"]["credential"]})
    assert sent_back.json()["payload"]["credential"]["fid"] == second["fid"]
    for refused in (
        await api.put(path, json={}),
        await api.patch(path, json={"credential": None}),
        await api.patch(path, json={"credential": {"fid": "0" * 32}}),
    ):
        assert assert_problem(refused, 400, "parameters-invalid")["errors"][0]["pointer"] == "/credential"


async def test_a_task_with_an_expired_credential_is_there_and_failed(api, made, ecs, external):
    kept = await _login(api, ecs, external, expiry="2026-01-01T00:00:00Z")
    assert kept["expired"]
    crawler = await made.crawler(external, credential={"fid": kept["fid"]}, retries=3)
    task = await made.task(crawler)
    assert (task["state"], task["code"], task["reason"]) == ("failed", 500, "credential_expired")
    assert kept["fid"] in task["message"]
    assert task["retry_at"] is None
    status = (await api.get(f"/streams/{crawler['stream']}")).json()["payload"]["status"]
    assert (status["state"], status["message"]) == ("failed", task["message"])
    assert ecs.calls() == ["GET /oauth/token"]


@pytest.mark.parametrize(
    ("answer", "status", "kind"),
    [
        (httpx.Response(404, json={"message": "not yet"}), 409, "login-unfinished"),
        (httpx.Response(200, json={"token": 7}), 409, "login-unusable"),
        (httpx.Response(503, headers={"Retry-After": "9"}), 503, "unavailable"),
    ],
)
async def test_an_ec_that_gives_no_token_is_a_problem_of_its_own(
    api, ecs, external, assert_problem, answer, status, kind
):
    ecs.answer(answer)
    answered = await api.post(f"/actions/externals/{external['fid']}/oauth/token", json={"uuid": str(uuid4())})
    assert_problem(answered, status, kind)
    assert answered.headers.get("retry-after") == ("9" if status == 503 else None)


async def test_nobody_logs_in_where_no_login_is_asked_for(api, made, assert_problem):
    external = await made.external(oauth="http://ec.test/oauth")
    assert_problem(await api.get(f"/externals/{external['fid']}/oauth"), 409, "no-login")
    asked = await api.post(f"/actions/externals/{external['fid']}/oauth/token", json={"uuid": str(uuid4())})
    assert_problem(asked, 409, "no-login")
    assert_problem(await api.get(f"/externals/{'0' * 32}/oauth"), 404, "not-found")


async def test_an_external_with_oauth_says_where_to_log_in(api, assert_problem):
    problem = assert_problem(await api.post("/externals", json={"credential": "oauth"}), 400, "schema-invalid")
    assert [error["pointer"] for error in problem["errors"]] == ["/oauth"]


@pytest.mark.parametrize("uuid", ["", "7", "x" * 36, "5b0c1c525a394b6c9d3f0d6a3c1f7e21", 7, None])
async def test_a_login_has_a_uuid(api, external, assert_problem, uuid):
    answer = await api.post(f"/actions/externals/{external['fid']}/oauth/token", json={"uuid": uuid})
    assert assert_problem(answer, 400, "request-invalid")["errors"][0]["pointer"] == "/uuid"


async def test_a_login_is_renewed_under_its_uuid(api, ecs, external):
    kept = await _login(api, ecs, external, expiry="2026-01-01T00:00:00Z")
    begun = await api.get(f"/externals/{external['fid']}/oauth", params={"credential": kept["fid"]})
    ecs.answer(_gives())
    path = f"/actions/externals/{external['fid']}/oauth/token"
    renewed = await api.post(path, json={"uuid": begun.json()["payload"]["uuid"]})
    assert renewed.status_code == 200
    assert (renewed.json()["payload"]["fid"], renewed.json()["payload"]["expired"]) == (kept["fid"], False)


async def test_logins_need_the_scope_to_write_and_credentials_that_to_read(api, external):
    parts = api.app.state.services
    _, secret = await parts.db.write(keys.add, name="reader", scopes=(Scope.READ,), at=parts.clock())
    reader = {"Authorization": f"Bearer {secret}"}
    path = f"/externals/{external['fid']}/oauth"
    statuses = [
        (await api.get(path, headers=reader)).status_code,
        (await api.post(f"/actions{path}/token", json={"uuid": str(uuid4())}, headers=reader)).status_code,
        (await api.delete(f"{path}/credentials/{'0' * 32}", headers=reader)).status_code,
        (await api.get(f"{path}/credentials", headers=reader)).status_code,
    ]
    assert statuses == [403, 403, 403, 200]
