"""Webhooks and their deliveries over HTTP, with a receiver that is really called."""

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from standardwebhooks.webhooks import Webhook as Verifier

from builders import eventually
from headwater.app import create_app
from headwater.catalog import keys
from headwater.catalog.keys import Scope

URL = "https://receiver.example/hook"
NOWHERE = "0" * 32


class Receiver(ThreadingHTTPServer):
    """Answers as it is told to, and keeps what it was sent."""

    daemon_threads = True

    def __init__(self) -> None:
        self.status = 200
        self.received: list[tuple[dict[str, str], bytes]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.received.append((dict(self.headers), body))
                self.send_response(outer.status)
                self.send_header("Content-Length", "4")
                self.end_headers()
                self.wfile.write(b"said")

            def log_message(self, *_args) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/hook"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


@contextlib.asynccontextmanager
async def _served(settings):
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        parts = app.state.services
        _, secret = await parts.db.write(keys.add, name="test", scopes=(Scope.ADMIN,), at=parts.clock())
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app, raise_app_exceptions=False),
            base_url="http://headwater.test",
            headers={"Authorization": f"Bearer {secret}"},
        ) as client:
            client.app = app
            yield client


@pytest.fixture
async def near(settings):
    """A client of an application whose webhooks may lead to this machine."""
    open_ = settings.model_copy(update={"webhook_private_addresses": True, "webhook_backoff": (0.05, 0.05)})
    async with _served(open_) as client:
        yield client


async def _made(api, **body):
    answer = await api.post("/webhooks", json={"url": URL} | body)
    assert answer.status_code == 201, answer.text
    return answer.json()["payload"]


async def _deliveries(api, webhook, **params):
    answer = await api.get(f"/webhooks/{webhook['fid']}/deliveries", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_secret_is_shown_once_and_again_when_it_is_replaced(api):
    answer = await api.post("/webhooks", json={"url": URL, "types": ["task.done"], "meta": {"name": "Chat"}})
    made = answer.json()["payload"]
    path = f"/webhooks/{made['fid']}"
    assert (answer.headers["location"], answer.headers["etag"]) == (path, '"1"')
    secret = made.pop("secret")
    assert secret.startswith("whsec_")
    assert made | {"created_at": "", "updated_at": "", "fid": ""} == {
        "fid": "",
        "type": "webhooks",
        "version": 1,
        "created_at": "",
        "updated_at": "",
        "meta": {"name": "Chat"},
        "url": URL,
        "types": ["task.done"],
        "stream": None,
        "crawler": None,
        "format": "standard",
        "enabled": True,
        "disabled_at": None,
        "disabled_reason": None,
        "failing_since": None,
        "former_secret_until": None,
    }
    assert (await api.get(path)).json()["payload"] == made
    rotated = (await api.post(f"/actions{path}/secret")).json()["payload"]
    assert rotated["secret"] not in {None, secret}
    assert (rotated["version"], rotated["former_secret_until"] is None) == (2, False)
    seen = [(await api.get(each)).text for each in (path, "/webhooks", f"{path}/deliveries")]
    assert [text for text in seen if "whsec_" in text or "sealed" in text] == []


async def test_a_webhook_is_changed_overwritten_and_deleted_as_any_object(api, made, assert_problem):
    stream = await made.stream()
    webhook = await _made(api, types=["task.*"], stream=stream["fid"])
    path = f"/webhooks/{webhook['fid']}"
    patched = await api.patch(path, json={"types": ["task.done"], "meta": {"name": "x"}}, headers={"If-Match": '"1"'})
    assert patched.json()["payload"] | {"types": ["task.done"]} == patched.json()["payload"]
    assert (patched.json()["payload"]["stream"], patched.json()["version"]) == (stream["fid"], 2)
    assert_problem(await api.patch(path, json={}, headers={"If-Match": '"1"'}), 412, "version-mismatch")
    assert_problem(await api.patch(path, json={"secret": "whsec_mine"}), 400, "request-invalid")
    assert_problem(await api.patch(path, json={"url": None}), 400, "request-invalid")
    put = (await api.put(path, json={"url": URL, "enabled": False})).json()["payload"]
    assert (put["types"], put["stream"], put["meta"], put["enabled"]) == ([], None, {}, False)
    assert (put["disabled_reason"], put["disabled_at"]) == ("by hand", put["updated_at"])
    again = (await api.patch(path, json={"enabled": True})).json()["payload"]
    assert (again["disabled_reason"], again["disabled_at"]) == (None, None)
    assert_problem(await api.delete(path, headers={"If-Match": '"1"'}), 412, "version-mismatch")
    assert (await api.delete(path)).status_code == 200
    for call in (api.get(path), api.get(f"{path}/deliveries"), api.post(f"/actions{path}/test"), api.delete(path)):
        assert_problem(await call, 404, "not-found")
    assert_problem(await api.post(f"/actions{path}/secret"), 404, "not-found")


async def test_webhooks_are_listed_by_their_fields(api, made):
    stream = await made.stream()
    first = await _made(api, stream=stream["fid"], meta={"name": "one"})
    second = await _made(api, enabled=False)

    async def listed(**params):
        return [each["fid"] for each in (await api.get("/webhooks", params=params)).json()["payload"]]

    assert await listed() == [second["fid"], first["fid"]]
    assert await listed(limit=1) == [second["fid"]]
    assert (
        await listed(stream=stream["fid"]) == await listed(enabled=True) == await listed(name="one") == [first["fid"]]
    )
    assert await listed(enabled=False) == [second["fid"]]


async def test_a_webhook_can_be_linked_by_hand(api, made):
    stream = await made.stream()
    links = [{"from": {"type": "streams", "fid": stream["fid"]}}]
    webhook = await _made(api, meta={"links": links})
    found = (await api.get("/links", params={"fid": webhook["fid"]})).json()["payload"]
    assert found == [links[0] | {"to": {"type": "webhooks", "fid": webhook["fid"]}}]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/url"),
        ({"url": "receiver.example/hook"}, "/url"),
        ({"url": "ftp://receiver.example/"}, "/url"),
        ({"url": "https://"}, "/url"),
        ({"url": "https://receiver.example:99999/"}, "/url"),
        ({"url": "https://jo:secret@receiver.example/"}, "/url"),
        ({"url": "https://receiver.example/\u0007"}, "/url"),
        ({"url": "http://receiver.example/"}, "/url"),
        ({"url": "https://127.0.0.1/"}, "/url"),
        ({"url": "https://[::ffff:10.0.0.1]/"}, "/url"),
        ({"url": "https://169.254.169.254/"}, "/url"),
        ({"url": URL, "types": ["done"]}, "/types/0"),
        ({"url": URL, "types": ["task.done", "task.**"]}, "/types/1"),
        ({"url": URL, "types": ["task." + "x" * 40]}, "/types/0"),
        ({"url": URL, "types": "task.done"}, "/types"),
        ({"url": URL, "stream": NOWHERE}, "/stream"),
        ({"url": URL, "crawler": NOWHERE}, "/crawler"),
        ({"url": URL, "enabled": "yes"}, "/enabled"),
        ({"url": URL, "secret": "whsec_mine"}, "/secret"),
    ],
)
async def test_what_cannot_be_a_webhook_is_told_with_its_place(api, assert_problem, body, pointer):
    problem = assert_problem(await api.post("/webhooks", json=body), 400, "request-invalid")
    assert [error["pointer"] for error in problem["errors"]] == [pointer]
    assert (await api.get("/webhooks")).json()["payload"] == []


async def test_a_webhook_outlives_what_it_is_about_and_can_be_changed_then(api, made):
    stream = await made.stream()
    webhook = await _made(api, stream=stream["fid"])
    await api.delete(f"/streams/{stream['fid']}")
    changed = await api.patch(f"/webhooks/{webhook['fid']}", json={"meta": {"name": "late"}})
    assert (changed.status_code, changed.json()["payload"]["stream"]) == (200, stream["fid"])


async def test_only_an_admin_says_where_data_is_sent(api):
    webhook = await _made(api)
    path = f"/webhooks/{webhook['fid']}"
    parts = api.app.state.services
    calls = {
        Scope.READ: [("GET", "/webhooks"), ("GET", path), ("GET", f"{path}/deliveries")],
        Scope.WRITE: [
            ("POST", f"/actions/webhooks/{NOWHERE}/test"),
            ("POST", f"/actions/webhook-deliveries/{NOWHERE}/replay"),
        ],
        Scope.ADMIN: [
            ("POST", "/webhooks"),
            ("PATCH", path),
            ("PUT", path),
            ("POST", f"/actions{path}/secret"),
            ("DELETE", path),
        ],
    }
    for has in Scope:
        _, secret = await parts.db.write(keys.add, name="k", scopes=(has,), at=parts.clock())
        for needs, some in calls.items():
            for method, where in some:
                if where == path and method == "DELETE" and has is Scope.ADMIN:
                    continue
                answer = await api.request(method, where, json={}, headers={"Authorization": f"Bearer {secret}"})
                assert (answer.status_code == 403) is not has.allows(needs), (has, method, where)


async def test_an_event_arrives_signed_and_its_delivery_is_listed(near, receiver):
    webhook = await _made(near, url=receiver.url, types=["stream.*"])
    stream = (await near.post("/streams", json={"meta": {"name": "Books"}})).json()["payload"]

    async def is_told() -> bool:
        return (await _deliveries(near, webhook, state="delivered"))["payload"] != []

    await eventually(is_told)
    ((headers, body),) = receiver.received
    sent = Verifier(webhook["secret"]).verify(body, headers)
    assert (sent["type"], sent["data"]["stream"], sent["data"]["name"]) == ("stream.created", stream["fid"], "Books")
    assert sent["timestamp"] == stream["created_at"]
    (delivery,) = (await _deliveries(near, webhook))["payload"]
    (attempt,) = delivery.pop("attempts")
    assert (attempt["number"], attempt["status"], attempt["answer"], attempt["error"]) == (1, 200, "said", None)
    assert delivery | {"created_at": "", "settled_at": ""} == {
        "id": headers["webhook-id"],
        "webhook": webhook["fid"],
        "event": sent["data"]["event"],
        "type": "stream.created",
        "state": "delivered",
        "due_at": None,
        "created_at": "",
        "settled_at": "",
        "payload": json.loads(body),
    }


async def test_a_delivery_that_was_given_up_is_replayed_under_its_id(near, receiver, assert_problem):
    receiver.status = 500
    webhook = await _made(near, url=receiver.url, types=["stream.*"])
    await near.post("/streams", json={})

    async def one(state: str) -> bool:
        return len((await _deliveries(near, webhook, state=state))["payload"]) == 1

    await eventually(lambda: one("failed"))
    (failed,) = (await _deliveries(near, webhook))["payload"]
    assert [attempt["error"] for attempt in failed["attempts"]] == ["the answer was 500 Internal Server Error"] * 3
    assert (await near.get(f"/webhooks/{webhook['fid']}")).json()["payload"]["failing_since"]
    receiver.status = 201
    answer = await near.post(f"/actions/webhook-deliveries/{failed['id']}/replay")
    assert (answer.status_code, answer.json()["payload"]["id"]) == (202, failed["id"])
    await eventually(lambda: one("delivered"))
    assert {headers["webhook-id"] for headers, _ in receiver.received} == {failed["id"]}
    assert len(receiver.received) == 4
    await near.patch(f"/webhooks/{webhook['fid']}", json={"enabled": False})
    refused = await near.post(f"/actions/webhook-deliveries/{failed['id']}/replay")
    assert_problem(refused, 409, "webhook-disabled")
    assert_problem(await near.post(f"/actions/webhook-deliveries/{NOWHERE}/replay"), 404, "not-found")


async def test_a_test_answers_what_came_of_it(near, receiver):
    webhook = await _made(near, url=receiver.url, types=["task.done"])
    path = f"/actions/webhooks/{webhook['fid']}/test"
    arrived = (await near.post(path)).json()["payload"]
    assert (arrived["state"], arrived["type"], arrived["event"]) == ("delivered", "webhook.test", None)
    ((headers, body),) = receiver.received
    assert Verifier(webhook["secret"]).verify(body, headers) == arrived["payload"]
    receiver.status = 302
    refused = await near.post(path)
    assert (refused.status_code, refused.json()["payload"]["state"]) == (200, "failed")
    assert refused.json()["payload"]["attempts"][0]["status"] == 302
    receiver.status = 410
    await near.post(path)
    gone = (await near.get(f"/webhooks/{webhook['fid']}")).json()["payload"]
    assert (gone["enabled"], gone["disabled_reason"]) == (False, "its receiver answered 410 (Gone)")
    assert [each["state"] for each in (await _deliveries(near, webhook))["payload"]] == [
        "failed",
        "failed",
        "delivered",
    ]


async def test_slack_is_sent_a_text_for_people(near, receiver):
    made = await near.post("/webhooks", json={"url": receiver.url, "types": ["stream.*"], "format": "slack"})
    assert made.json()["payload"]["format"] == "slack"
    await near.post(f"/actions/webhooks/{made.json()['payload']['fid']}/test")
    assert json.loads(receiver.received[0][1]) == {"text": "*webhook.test* this is a test; nothing has happened"}
    await near.post("/streams", json={})
    await eventually(lambda: _has(receiver, 2))
    assert json.loads(receiver.received[1][1]) == {"text": "*stream.created* stream created"}


async def _has(receiver, count: int) -> bool:
    return len(receiver.received) == count


async def test_deliveries_are_listed_page_by_page_newest_first(near, receiver):
    webhook = await _made(near, url=receiver.url, types=["task.done"])
    sent = [(await near.post(f"/actions/webhooks/{webhook['fid']}/test")).json()["payload"] for _ in range(3)]
    first = await _deliveries(near, webhook, limit=2)
    second = await _deliveries(near, webhook, limit=2, cursor=first["next_cursor"])
    assert first["payload"] + second["payload"] == sent[::-1]
    assert second["next_cursor"] is None
