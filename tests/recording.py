"""Records the table of exchanges anew: its steps, taken by the Python client against a served Headwater.

``python -m tests.recording`` writes ``clients/exchanges.json``; ``make exchanges`` does.
"""

import gzip
import json
import re
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx

import docs_tour
from end_to_end.crawler_server import CrawlerServer
from exchange_table import FILE, filled, replaced, take_steps
from headwater_client import Headwater, TaskWriter

#: What differs from run to run, and what the table has in its place.
_PASSING = {
    r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z": "2026-03-01T12:00:00.000000Z",
    r"http://127\.0\.0\.1:\d+": "http://headwater.example.org",
}
_FID = re.compile(r"\b[0-9a-f]{32}\b")
_SENT = ("authorization", "content-encoding", "if-match", "prefer")
_ANSWERED = ("retry-after", "content-type")
_NOWHERE = "0" * 32
#: The login that there is, where there is one; whatever else is drawn by lot reads so as well.
_LOGIN = "5b0c1c52-5a39-4b6c-9d3f-0d6a3c1f7e21"
_GRANT = {"user": "jo", "token": "secret", "expiry": "2126-01-01T00:00:00Z", "issued": "2026-01-01T00:00:00Z"}


class Recorder(httpx.BaseTransport):
    """Passes requests on to a served Headwater, and notes them with their answers."""

    def __init__(self, faults: dict[str, Any]) -> None:
        self.exchanges: list[dict[str, Any]] = []
        self._faults = faults
        self._keys: dict[str, str] = {}
        self._network = httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        fault = self._faults.get(str(len(self.exchanges)))
        if fault is None:
            answer = self._network.handle_request(request)
            answer.read()
            answered = _answered(answer)
        else:
            answered = fault
        self.exchanges.append({"request": self._asked(request), "answer": answered})
        if answered == "dropped":
            raise httpx.ReadError("dropped")
        if fault is not None:
            return httpx.Response(fault["status"], headers=fault["headers"], json=fault["json"])
        # Decoded already, so without the headers that speak of how it came.
        return httpx.Response(answer.status_code, headers=answered["headers"], content=answer.content)

    def close(self) -> None:
        self._network.close()

    def _asked(self, request: httpx.Request) -> dict[str, Any]:
        path, _, query = request.url.raw_path.decode().partition("?")
        headers = {name: request.headers[name] for name in _SENT if name in request.headers}
        asked: dict[str, Any] = {"method": request.method, "path": path, "headers": headers}
        if query:
            asked["query"] = parse_qs(query, keep_blank_values=True)
        if "idempotency-key" in request.headers:
            number = len(self._keys) + 1
            asked["key"] = self._keys.setdefault(request.headers["idempotency-key"], f"upload {number}")
        if path.endswith("/upload"):
            asked["lines"] = [json.loads(line) for line in gzip.decompress(request.content).splitlines()]
        elif request.content:
            asked["json"] = json.loads(request.content)
        return asked


def _answered(answer: httpx.Response) -> dict[str, Any]:
    headers = {name: answer.headers[name] for name in _ANSWERED if name in answer.headers}
    body = {"text": answer.text} if "ndjson" in headers.get("content-type", "") else {"json": _timeless(answer.json())}
    return {"status": answer.status_code, "headers": headers, **body}


def _timeless(value: Any) -> Any:
    """Return JSON in which everything took a second and a half."""
    match value:
        case dict():
            return {
                name: 1.5 if name == "duration" and isinstance(each, float) else _timeless(each)
                for name, each in value.items()
            }
        case list():
            return [_timeless(each) for each in value]
        case _:
            return value


class Setting:
    """What there is when a case begins, and the names that the table has for it."""

    def __init__(self, url: str, key: str, given: dict[str, Any]) -> None:
        self._ec = CrawlerServer() if "login" in given else None
        with Headwater(url, key) as headwater:
            external = headwater.externals.create(
                "Books", doc_id_field="id", **given.get("external", {}), **self._oauth()
            )
            stream = headwater.streams.create("Books")
            login = None if self._ec is None else headwater.externals.fetch_token(external, _LOGIN).fid
            crawler = headwater.crawlers.create(external, stream, credential=login and {"fid": login})
            self.names = {
                "key": key,
                "nowhere": _NOWHERE,
                "stream": stream.fid,
                "external": external.fid,
                "crawler": crawler.fid,
            }
            if login is not None:
                self.names["credential"] = login
            for number, documents in enumerate(given.get("documents", []), start=1):
                with headwater.writer(crawler) as writer:
                    writer.write_all(documents)
                self.names[f"brought_{number}"] = writer.fid
            if "webhook" in given:
                webhook = headwater.webhooks.create(**given["webhook"])
                self.names |= {"webhook": webhook.fid, "delivery": headwater.webhooks.test(webhook).id}
            if "notification" in given:
                self.names["notification"] = headwater.notifications.create(**given["notification"]).fid
            if "api_key" in given:
                self.names["api_key"] = headwater.keys.create(given["api_key"]).fid
            if "task" in given:
                self._begin(headwater, crawler, given["task"])
        self.endpoint = f"{url}/actions/tasks/{self.names.get('task', _NOWHERE)}.{self.names.get('token', 'none')}"

    def _begin(self, headwater: Headwater, crawler: Any, state: str) -> None:
        task = headwater.tasks.create(crawler)
        self.names |= {"task": task.fid, "token": task.upload.token}
        if state in {"stopped", "retried"}:
            headwater.tasks.stop(task)
        if state == "retried":
            headwater.tasks.retry(task)
        if state == "deleted":
            headwater.tasks.delete(task)

    def _oauth(self) -> dict[str, Any]:
        """Return what makes the External one at which somebody has logged in."""
        if self._ec is None:
            return {}
        self._ec.on_token = lambda uuid: (200, _GRANT) if uuid == _LOGIN else (404, {"message": "nobody has logged in"})
        return {
            "endpoint": self._ec.url,
            "credential": "oauth",
            "oauth": f"{self._ec.url}/oauth",
            "oauth_parameters": {"subdomain": "acme"},
        }

    def close(self) -> None:
        """Take down what the case needed."""
        if self._ec is not None:
            self._ec.close()

    def named(self, recorded: Any) -> Any:
        """Return what was recorded, with placeholders and fixed values for what differs from run to run."""
        names = {value: name for name, value in self.names.items()}

        def change(text: str) -> str:
            for value, name in names.items():
                text = text.replace(value, f"{{{name}}}")
            text = _FID.sub(lambda found: f"{{{names.setdefault(found[0], f'new_{len(names)}')}}}", text)
            for passing, fixed in _PASSING.items():
                text = re.sub(passing, fixed, text)
            return text

        return _settled(replaced(recorded, change))


def _settled(value: Any) -> Any:
    """Return JSON with fixed values for what is drawn by lot, tokens and request ids, and what is counted later."""
    if isinstance(value, list):
        return [_settled(member) for member in value]
    if not isinstance(value, dict):
        return value
    settled = {name: _settled(member) for name, member in value.items()}
    fixed: dict[str, Any] = {"request_id": "5f2c9a1b7e3d4c60", "summary": None, "docs_version": 0}
    # Those of events, which count what other cases did.
    fixed |= {name: 1 for name in ("id", "last_event_id") if isinstance(settled.get(name), int)}
    fixed |= {"secret": "whsec_bmV3", "duration_ms": 0, "key": "hw_new"}
    if not str(settled.get("key", "")).startswith("hw_"):
        fixed.pop("key")  # the audit has the fid of one
    settled |= {name: fixed[name] for name in fixed if name in settled}
    if "docs_version" in settled:
        settled["docs"] = 0
    if "uuid" in settled and "url" in settled:
        settled |= {"uuid": _LOGIN, "url": settled["url"].replace(settled["uuid"], _LOGIN)}
    if isinstance(settled.get("upload"), dict):
        settled["upload"] = {
            "endpoint": f"http://headwater.example.org/actions/tasks/{settled['fid']}.new",
            "token": "new",
        }
    return settled


def record(case: dict[str, Any], url: str, key: str) -> dict[str, Any]:
    """Return a case with the exchanges that its steps come to."""
    setting = Setting(url, key, case.get("given", {}))
    recorder = Recorder(case.get("faults", {}))
    writer = TaskWriter(setting.endpoint, transport=recorder, max_seconds=60)
    with Headwater(url, key, transport=recorder) as headwater:
        take_steps(filled(case["steps"], setting.names), headwater, writer)
    writer.abandon()
    setting.close()
    kept = {name: value for name, value in case.items() if name != "exchanges"}
    return kept | {"exchanges": setting.named(recorder.exchanges)}


def main() -> None:
    """Write the table anew."""
    with tempfile.TemporaryDirectory() as folder, docs_tour.serving(Path(folder)) as served:
        key = (served.data / "admin.key").read_text().strip()
        table = [record(case, served.url, key) for case in json.loads(FILE.read_text())]
    FILE.write_text("[\n" + ",\n".join(map(_written, table)) + "\n]\n")


def _written(case: dict[str, Any]) -> str:
    """Return a case as text: a line for each of its steps and exchanges."""
    members = []
    for name, value in case.items():
        if name in {"steps", "exchanges"}:
            lines = ",\n".join(f"   {json.dumps(item, ensure_ascii=False)}" for item in value)
            members.append(f'  "{name}": [\n{lines}\n  ]')
        else:
            members.append(f'  "{name}": {json.dumps(value, ensure_ascii=False)}')
    return " {\n" + ",\n".join(members) + "\n }"


if __name__ == "__main__":
    main()
