"""API keys over HTTP: made, limited, rotated and revoked; Basic authentication; slowed guessing."""

import base64
from datetime import timedelta

import pytest

from headwater.catalog import keys
from headwater.domain.scope import Scope


def _bearer(key: str) -> dict:
    return {"Authorization": f"Bearer {key}"}


async def _made(api, **body) -> dict:
    answer = await api.post("/keys", json={"name": "k"} | body)
    assert answer.status_code == 201, answer.text
    return answer.json()["payload"]


async def test_a_key_is_shown_once_and_works_until_it_is_revoked(api, assert_problem):
    made = await _made(api, name="nightly", scopes=["write"])
    fid, key = made["fid"], made.pop("key")
    assert (made["type"], made["scopes"], made["streams"], made["last_used_at"]) == ("keys", ["write"], None, None)
    assert (await api.post("/streams", json={}, headers=_bearer(key))).status_code == 201
    shown = (await api.get(f"/keys/{fid}")).json()["payload"]
    await api.app.state.services.key_usage.settled()
    used = (await api.get(f"/keys/{fid}")).json()["payload"]
    assert used["last_used_at"] is not None
    assert shown | {"last_used_at": None} == made
    assert (await api.get("/keys?name=nightly")).json()["payload"] == [used]
    assert (await api.get(f"/keys?fid={fid[:20]}")).json()["payload"][0]["fid"] == fid
    assert (await api.delete(f"/keys/{fid}")).status_code == 200
    assert_problem(await api.get("/streams", headers=_bearer(key)), 401, "not-authenticated")
    assert_problem(await api.patch(f"/keys/{fid}", json={"name": "x"}), 404, "not-found")
    assert (await api.get(f"/keys/{fid}")).json()["payload"]["revoked_at"] is not None


async def test_a_key_is_changed_with_its_next_request(api, assert_problem):
    key = await _made(api)
    assert_problem(await api.post("/streams", json={}, headers=_bearer(key["key"])), 403, "not-allowed")
    changed = await api.patch(f"/keys/{key['fid']}", json={"scopes": ["write"]}, headers={"If-Match": '"1"'})
    assert (changed.json()["version"], changed.headers["etag"]) == (2, '"2"')
    assert (await api.post("/streams", json={}, headers=_bearer(key["key"]))).status_code == 201
    stale = await api.patch(f"/keys/{key['fid']}", json={"name": "x"}, headers={"If-Match": '"1"'})
    assert_problem(stale, 412, "version-mismatch")
    entry = (await api.get(f"/audit?object={key['fid']}")).json()["payload"][0]
    assert (entry["action"], entry["object"]["type"], entry["detail"]["fields"]) == ("patch_key", "keys", ["/scopes"])


async def test_the_former_secret_of_a_rotated_key_works_for_the_overlap(api):
    key = await _made(api)
    rotated = (await api.post(f"/actions/keys/{key['fid']}/rotate", json={"overlap": 3600})).json()["payload"]
    assert (rotated["fid"], rotated["version"]) == (key["fid"], 2)
    for secret in (key["key"], rotated["key"]):
        assert (await api.get("/streams", headers=_bearer(secret))).status_code == 200
    last = (await api.post(f"/actions/keys/{key['fid']}/rotate", json={"overlap": 0})).json()["payload"]
    statuses = [
        (await api.get("/streams", headers=_bearer(secret))).status_code
        for secret in (key["key"], rotated["key"], last["key"])
    ]
    assert statuses == [401, 401, 200]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"name": ""}, "/name"),
        ({"scopes": []}, "/scopes"),
        ({"scopes": ["root"]}, "/scopes/0"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "/expires_at"),
        ({"expires_at": "2120-01-01T00:00:00"}, "/expires_at"),
        ({"streams": ["f" * 32]}, "/streams/0"),
        ({"scopes": ["admin"], "streams": []}, "/scopes"),
    ],
)
async def test_a_key_that_does_not_hold_together_is_refused(api, body, pointer, assert_problem):
    problem = assert_problem(await api.post("/keys", json={"name": "k"} | body), 400, "request-invalid")
    assert [error["pointer"] for error in problem["errors"]] == [pointer]


async def test_an_expired_key_is_refused(api, assert_problem):
    parts = api.app.state.services
    at = parts.clock()
    _, secret = await parts.db.write(keys.add, name="k", scopes=(Scope.READ,), at=at, expires_at=at - timedelta(1))
    assert_problem(await api.get("/streams", headers=_bearer(secret)), 401, "not-authenticated")


async def test_a_limited_key_sees_and_changes_only_what_it_reaches(api, made, assert_problem):
    ours, theirs = await made.crawler(), await made.crawler()
    by_stream = _bearer((await _made(api, scopes=["write"], streams=[ours["stream"]]))["key"])
    by_crawler = _bearer((await _made(api, scopes=["write"], crawlers=[ours["fid"]]))["key"])
    task, other = await made.task(ours), await made.task(theirs)
    for headers in (by_stream, by_crawler):
        lists = {
            "streams": ours["stream"],
            "externals": ours["external"],
            "crawlers": ours["fid"],
            "tasks": task["fid"],
        }
        for path, fid in lists.items():
            shown = (await api.get(f"/{path}", headers=headers)).json()["payload"]
            assert [each["fid"] for each in shown] == [fid]
            assert (await api.get(f"/{path}/{fid}", headers=headers)).status_code == 200
        for path in (
            f"/streams/{theirs['stream']}",
            f"/streams/{theirs['stream']}/docs",
            f"/streams/{theirs['stream']}/export",
            f"/externals/{theirs['external']}",
            f"/crawlers/{theirs['fid']}",
            f"/tasks/{other['fid']}/docs",
            f"/events?stream={theirs['stream']}",
            "/events",
            "/webhooks",
            "/metrics",
            f"/links?fid={ours['stream']}",
        ):
            assert_problem(await api.get(path, headers=headers), 403, "not-allowed")
        assert_problem(await api.post("/streams", json={}, headers=headers), 403, "not-allowed")
        assert_problem(await api.patch(f"/externals/{ours['external']}", json={}, headers=headers), 403, "not-allowed")
        upload = f"/actions/tasks/{other['fid']}/upload"
        assert_problem(await api.post(upload, content=b"{}", headers=headers), 403, "not-allowed")
        assert (await api.get(f"/tasks/{'f' * 32}", headers=headers)).status_code == 404
    upload = await api.post(f"/actions/tasks/{task['fid']}/upload", content=b'{"id": "a"}', headers=by_stream)
    assert upload.status_code == 200
    assert (await api.delete(f"/actions/tasks/{task['fid']}", headers=by_crawler)).status_code == 200


async def test_a_tool_may_send_its_key_as_a_password(api, made):
    task = await made.task()
    key = (await _made(api, scopes=["write"]))["key"]
    basic = {"Authorization": "Basic " + base64.b64encode(f"anybody:{key}".encode()).decode()}
    assert (await api.get("/streams", headers=basic)).status_code == 200
    assert (await api.post(f"/actions/tasks/{task['fid']}/upload", content=b"{}", headers=basic)).status_code == 200
    for wrong in ("eDp5", "!", "", base64.b64encode(key.encode()).decode(), base64.b64encode(b"\xff\xfe").decode()):
        assert (await api.get("/streams", headers={"Authorization": f"Basic {wrong}"})).status_code == 401


async def test_who_guesses_keys_is_slowed_and_who_has_one_goes_on(api, made, assert_problem):
    task = await made.task()
    tries = 0
    # Some are allowed again while these are tried.
    while tries < 600:
        tries += 1
        if tries % 2:
            refused = await api.get("/streams", headers=_bearer(f"hw_{tries}"))
        else:
            refused = await api.post(f"/actions/tasks/{task['fid']}.{tries}x/upload", content=b"{}")
        if refused.status_code != 401:
            break
    assert tries > 60
    assert_problem(refused, 429, "too-many-requests")
    assert int(refused.headers["retry-after"]) >= 1
    assert (await api.get("/streams")).status_code == 200
