import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from headwater.catalog import objects
from headwater.catalog.objects import NOTIFICATIONS

SLACK = "slack://TokenA1AAAA/TokenB1BBBB/TokenC1CCCCCCCCCCCCCCCCCC/#general"


@pytest.fixture
async def settings(settings):
    return settings.model_copy(update={"webhook_private_addresses": True})


@pytest.fixture
def receiver():
    """A service that takes JSON, or answers as told."""
    received, status = [], [200]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            received.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(status[0])
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"json://127.0.0.1:{server.server_port}/secret-path", received, status
        server.shutdown()


async def test_a_notification_is_kept_without_showing_its_secrets(api):
    answer = await api.post("/notifications", json={"url": SLACK, "meta": {"name": "Night shift"}})
    assert answer.status_code == 201, answer.text
    made = answer.json()["payload"]
    assert made["url"] == "slack://T...A/T...B/T...C/%23general/"
    assert made["events"] == ["task.failed", "task.timed_out", "task.withheld", "crawler.missed", "crawler.recovered"]
    assert (made["group_seconds"], made["conditions"]) == (60, {"max_rejected": None, "max_shrink": None})
    path = f"/notifications/{made['fid']}"
    changed = await api.patch(path, json={"group_seconds": 5, "conditions": {"max_shrink": 0.3}})
    assert changed.json()["payload"]["conditions"] == {"max_rejected": None, "max_shrink": 0.3}
    parts = api.app.state.services
    stored = await parts.db.read(objects.get, NOTIFICATIONS, made["fid"])
    assert parts.vault.unseal(stored.sealed_url) == SLACK
    whole = await api.put(path, json={"url": made["url"], "events": ["task.failed"]})
    assert (whole.json()["payload"]["events"], whole.json()["payload"]["group_seconds"]) == (["task.failed"], 60)
    assert [one["fid"] for one in (await api.get("/notifications?name=x")).json()["payload"]] == []
    assert (await api.delete(path)).status_code == 200
    assert (await api.get(path)).status_code == 404


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"url": "nosuch://x"}, "/url"),
        ({"url": "syslog://"}, "/url"),
        ({"url": "x"}, "/url"),
        ({}, "/url"),
        ({"url": SLACK, "events": ["task.lost"]}, "/events/0"),
        ({"url": SLACK, "crawlers": ["x"]}, "/crawlers/0"),
        ({"url": SLACK, "conditions": {"max_shrink": 2}}, "/conditions/max_shrink"),
        ({"url": SLACK, "group_seconds": -1}, "/group_seconds"),
    ],
)
async def test_a_notification_that_is_wrong_is_refused(api, body, pointer, assert_problem):
    problem = assert_problem(await api.post("/notifications", json=body), 400, "request-invalid")
    assert problem["errors"][0]["pointer"] == pointer


async def test_a_test_says_whether_the_service_took_it(api, receiver):
    url, received, status = receiver
    made = (await api.post("/notifications", json={"url": url})).json()["payload"]
    assert "secret-path" not in json.dumps(made)
    answer = await api.post(f"/actions/notifications/{made['fid']}/test")
    assert answer.json()["payload"] == {"sent": True, "error": None}
    assert received[0]["title"] == "Headwater: a test"
    assert "Nothing has happened" in received[0]["message"]
    status[0] = 500
    failed = (await api.post(f"/actions/notifications/{made['fid']}/test")).json()["payload"]
    assert failed["sent"] is False
    assert "500" in failed["error"]
    assert "secret-path" not in failed["error"]


async def test_notifications_are_for_admins(api, assert_problem):
    api.headers.pop("authorization")
    assert_problem(await api.post("/notifications", json={"url": SLACK}), 401, "not-authenticated")
