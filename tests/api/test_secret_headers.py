"""An External's headers hold keys of its EC: sealed in the catalog, and redacted for who may only read."""

import json

import httpx
import pytest
from sqlalchemy import select

from builders import eventually
from headwater.catalog import externals, keys, tables
from headwater.catalog.keys import Scope
from headwater.domain.redaction import REDACTED

KEY = "s3cret-of-the-ec"


@pytest.fixture
async def reader(api):
    """The headers of a key that may only read."""
    parts = api.app.state.services
    _, secret = await parts.db.write(keys.add, name="reader", scopes=(Scope.READ,), at=parts.clock())
    return {"Authorization": f"Bearer {secret}"}


async def _stored(api):
    def read(tx):
        return list(tx.execute(select(tables.external_versions.c.definition)).scalars())

    return (await api.app.state.services.db.read(read))[-1]["headers"]


async def _sent(api, fid):
    """The headers as the EC gets them."""
    parts = api.app.state.services
    return parts.vault.unseal_headers((await parts.db.read(externals.to_run, fid)).definition.headers)


async def test_header_values_are_sealed_in_the_catalog_and_redacted_for_readers(api, made, reader):
    external = await made.external(
        headers={"X-Key": KEY}, endpoint="http://jo:p4ss@ec.test", oauth="http://a:b1b1@ec.t"
    )
    assert external["headers"] == {"X-Key": KEY}
    assert KEY not in json.dumps(await _stored(api))
    path = f"/externals/{external['fid']}"
    assert (await api.get(path)).json()["payload"]["headers"] == {"X-Key": KEY}
    await api.patch(path, json={"analysis": {}})
    for shown in (
        path,
        f"{path}?version=1",
        "/externals",
        "/links?fid=" + external["fid"],
        f"{path}/versions",
        "/events",
    ):
        answer = await api.get(shown, headers=reader, params={"feed": "normal"} if shown == "/events" else None)
        assert answer.status_code == 200, answer.text
        for secret in (KEY, "p4ss", "b1b1"):
            assert secret not in answer.text
    shown = (await api.get(path, headers=reader)).json()["payload"]
    assert (shown["headers"], shown["endpoint"]) == ({"X-Key": REDACTED}, f"http://jo:{REDACTED}@ec.test")


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_a_placeholder_that_is_sent_back_keeps_the_value(api, made, method):
    external = await made.external(headers={"X-Key": KEY, "X-Other": "old"})
    path = f"/externals/{external['fid']}"
    sent = {"x-key": REDACTED, "X-Other": "new"} if method == "PUT" else {"X-Key": REDACTED, "X-Other": "new"}
    changed = await api.request(method, path, json={"headers": sent})
    assert changed.json()["payload"]["headers"] == {next(iter(sent)): KEY, "X-Other": "new"}
    assert await _sent(api, external["fid"]) == {next(iter(sent)): KEY, "X-Other": "new"}


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
async def test_a_placeholder_that_stands_for_nothing_is_refused(api, made, assert_problem, method):
    external = await made.external(headers={"X-Key": KEY})
    path = "/externals" if method == "POST" else f"/externals/{external['fid']}"
    problem = assert_problem(
        await api.request(method, path, json={"headers": {"X-New": REDACTED}}), 400, "request-invalid"
    )
    assert problem["errors"][0]["pointer"] == "/headers/X-New"
    assert await _sent(api, external["fid"]) == {"X-Key": KEY}


async def test_an_edit_of_something_else_leaves_the_sealed_value_as_it_is(api, made):
    external = await made.external(headers={"X-Key": KEY})
    before = await _stored(api)
    await api.patch(f"/externals/{external['fid']}", json={"docIdField": "sku"})
    assert await _stored(api) == before
    (edit,) = (await api.get("/audit", params={"action": "patch_external"})).json()["payload"]
    assert edit["detail"]["fields"] == ["/docIdField"]


async def test_what_a_crawler_reports_is_kept_without_what_it_was_sent(api, made, ecs, reader):
    secrets = {"pin": 'my "pin"', "password": "hunter2&more"}
    external = await made.external(
        endpoint="http://ec.test",
        headers={"X-Key": KEY},
        credential="basic",
        parameters=[{"name": "pin", "type": "password"}],
    )
    crawler = await made.crawler(
        external, params={"pin": secrets["pin"]}, credential={"user": "jo@x.test", "password": secrets["password"]}
    )
    ecs.answer(httpx.Response(200, json={}))
    task = await made.task(crawler)

    async def is_told() -> bool:
        return bool(ecs.asked)

    await eventually(is_told)
    (sent,) = ecs.bodies()
    report = {"code": 500, "message": f"cannot log in: {sent['credential']}", "detail": {"sent": sent, "key": KEY}}
    reported = await api.post(f"{httpx.URL(sent['endpoint']).path}/status", json=report)
    assert reported.status_code == 200
    for answer in (
        reported,
        await api.get(f"/tasks/{task['fid']}", headers=reader),
        await api.get(f"/tasks/{task['fid']}/attempts", headers=reader),
        await api.get("/streams", headers=reader),
        await api.get("/events", params={"feed": "normal"}, headers=reader),
    ):
        assert answer.status_code == 200, answer.text
        for secret in (json.dumps(secrets["pin"])[1:-1], secrets["password"], sent["token"], KEY, "jo@x.test"):
            assert secret not in answer.text
    assert reported.json()["payload"]["detail"]["sent"]["fid"] == task["fid"]
