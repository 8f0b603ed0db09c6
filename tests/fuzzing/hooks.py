"""What schemathesis cannot read in the OpenAPI: objects that exist, and which values go together.

It is run in an environment of its own, so that nothing of Headwater can be imported here.
"""

import json
import os
import random
import re
from http import HTTPStatus
from itertools import pairwise
from typing import Any
from urllib.request import Request, urlopen

import schemathesis
from hypothesis import strategies as st

_URL = os.environ["HEADWATER_URL"]
_HEADERS = {"Authorization": f"Bearer {os.environ['HEADWATER_KEY']}", "Content-Type": "application/json"}
#: Where nobody listens: what is made up is called by nobody.
_NOWHERE = "http://127.0.0.1:9"
_KINDS = {"streams", "externals", "crawlers", "tasks", "webhooks", "webhook-deliveries", "notifications", "keys"}
#: Of a service that does not exist.
_NOBODY = "jsons://nobody.invalid/"
#: Requests after which other objects are called upon: some have been deleted by then.
_TURN = 40

#: Nothing but what a list gave out is one; to leave it empty is to begin with the first page.
schemathesis.openapi.format("cursor", st.just(""))


@schemathesis.serializer("application/x-ndjson")
def lines(_context: object, value: object) -> bytes:
    """Send a text as a document that holds it: the OpenAPI knows of lines no more than that they are text."""
    return value if isinstance(value, bytes) else json.dumps({"id": value}).encode()


class World:
    """Objects to call upon, made anew from time to time."""

    def __init__(self) -> None:
        """Have none yet."""
        self._fids: dict[str, str] = {}
        self._left = 0

    def fid(self, kind: str) -> str:
        """Return the fid of an object of a kind."""
        if not self._left:
            self._fids, self._left = _made(), _TURN
        self._left -= 1
        return self._fids[kind]


def _made() -> dict[str, str]:
    stream = _post("/streams", {})
    external = _post("/externals", {"docIdField": "id", "parameters": [{"name": "language"}]})
    links = {"meta": {"links": [{"from": {"type": "streams", "fid": stream["fid"]}}]}}
    crawler = _post(f"/actions/externals/{external['fid']}/crawler", links)
    task = _post(f"/actions/crawlers/{crawler['fid']}/task", {})
    _post(f"/actions/tasks/{task['fid']}/upload", {"id": "0", "rating": 4})
    if random.random() < 0.5:
        _post(f"/actions/tasks/{task['fid']}/status", {"code": 200})
    webhook = _post("/webhooks", {"url": _NOWHERE})
    delivery = _post(f"/actions/webhooks/{webhook['fid']}/test", {})
    notification = _post("/notifications", {"url": _NOBODY})
    made = {"streams": stream, "externals": external, "crawlers": crawler, "tasks": task, "webhooks": webhook}
    made["notifications"] = notification
    made["keys"] = _post("/keys", {"name": "made up"})
    return {kind: each["fid"] for kind, each in made.items()} | {"webhook-deliveries": delivery["id"]}


def _post(path: str, body: object) -> dict[str, Any]:
    request = Request(_URL + path, data=json.dumps(body).encode(), headers=_HEADERS, method="POST")
    with urlopen(request, timeout=30) as answer:
        return json.load(answer)["payload"]


_WORLD = World()


@schemathesis.hook
def before_call(_context: object, case: Any, _kwargs: dict[str, Any]) -> None:
    """Let a request that is right by the OpenAPI be about what is there, and end."""
    headers = case.headers or {}
    if str(headers.get("If-Match", "")).startswith(('"', "W/")):
        headers["If-Match"] = "*"
    query = case.query or {}
    if case.operation.path == "/events":
        case.query = query = {**query, "feed": "normal"}  # which ends
    if case.meta is not None and case.meta.generation.mode.is_negative:
        return
    for name, kind in _objects_in(case.operation.path):
        case.path_parameters[name] = _WORLD.fid(kind)
    if case.operation.path == "/actions/externals/{fid}/crawler" and isinstance(case.body, dict):
        link = {"from": {"type": "streams", "fid": _post("/streams", {})["fid"]}}
        case.body |= {"meta": {"links": [link]}, "credential": None}
    case.body = _kept(case.body)
    for name in ("content-encoding", "last-event-id"):  # the body is plain, and nothing was heard before
        headers.pop(name, None)
    query.pop("follow", None)  # which does not end while the task is open
    for name in ("without", "last_event_id") if case.operation.path == "/events" else ("without", "feed"):
        query.pop(name, None)
    for name in {"as_of", "since"} & query.keys() if "/streams/" in case.operation.path else ():
        query[name] = 0
    if "op" in query:
        query["dry_run"] = "true"


def _kept(body: Any) -> Any:
    """Return a body without what no database keeps, and that leads nowhere: no address, and no parameters."""
    match body:
        case dict():
            return {_kept(name): _member(name, value) for name, value in body.items()}
        case list():
            return [_kept(value) for value in body]
        case str():
            return body.replace("\0", "")
        case _:
            return body


def _member(name: str, value: Any) -> Any:
    if name == "params":
        return {}  # the External here has next to none
    return _NOWHERE if name in {"endpoint", "oauth", "url"} and isinstance(value, str) else _kept(value)


#: What a request can be wrong in that JSON Schema has no words for: how values go together, and with what is stored.
_BEYOND_SCHEMA = (
    r"a text holds the character U\+0000",
    r"do(es)? not fit the External",
    r"the parameters do not hold together",
    r"nobody could log in: ",
    r"the schema does not compile: ",
    r"its External has no endpoint any more",
    r"a link (names one|leads to an) ",
    r"is no task of stream",
    r"cannot be about what does not exist",
    r"the filter says nothing",
    r"Headwater cannot start this crawler",
    r"/gates/max_rejected: from 1 on it is a number of lines, and whole",
    r"/(schedule|expect)(/cron|/timezone|): ",
    r"the result would be invalid: ",
    r"an admin key reaches everything",
    r"a scope goes with the mode snapshot",
    r"\?fields: names of fields are separated by commas",
    r"\?where: ",
    r"goes with format=",
    r"it is no Apprise URL",
    r"If-Match is '",
    r"a moment in the future is expected",
    r"expect has either cron or every",
    r"there is no (crawler|stream) '",
)


@schemathesis.hook
def filter_failure(_context: object, failure: Any, case: Any, response: Any) -> bool:
    """Leave out what was rightly refused although its shape is right, and what is rightly there."""
    match type(failure).__name__:
        case "RejectedPositiveData":
            beyond = re.search("|".join(_BEYOND_SCHEMA), response.text)
            return response.status_code != HTTPStatus.BAD_REQUEST or beyond is None
        case "AcceptedNegativeData":
            # An optional body that is left away is what it says it is. Any text is a line of a log.
            return "positive test case" not in failure.message and not case.operation.path.endswith("/log")
        case "UseAfterFree":
            # A deleted task can be restored; and a list of what belonged to something that is gone is empty.
            return "{" in case.operation.path and "/tasks/" not in case.operation.path
        case "EnsureResourceAvailability":
            # Not what was just created was called upon, but an object of the world, which may be deleted by now.
            return not _objects_in(case.operation.path)
        case _:
            return True


def _objects_in(path: str) -> list[tuple[str, str]]:
    """Return the parameters of a path that name objects, with the kind of each."""
    segments = path.strip("/").split("/")
    found = [(name.strip("{}"), kind) for kind, name in pairwise(segments) if kind in _KINDS and name[0] == "{"]
    return [*found, ("task_fid", "tasks")] if "{task_fid}" in path else found
