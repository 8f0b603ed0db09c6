"""The authorization matrix: every operation of the OpenAPI document, called by every kind of caller.

What an operation needs stands here, and not in the code, so that a change of it is seen.
"""

import re
from datetime import timedelta

import pytest

from headwater.catalog import keys
from headwater.domain.scope import Scope
from openapi_document import openapi

#: What an operation needs, unless it is listed below: to read needs read, anything else needs write.
READING = frozenset({"get", "head"})
OPEN = frozenset({"healthz", "readyz"})
ADMIN = frozenset(
    {
        *("list_audit", "erase_doc", "erase_doc_by_id"),
        *("create_webhook", "patch_webhook", "put_webhook", "delete_webhook", "rotate_webhook_secret"),
        *("create_notification", "patch_notification", "put_notification", "delete_notification", "test_notification"),
        *("create_key", "list_keys", "get_key", "patch_key", "revoke_key", "rotate_key"),
    }
)
#: Reads that start something, and the other way round.
WRITING = frozenset({"begin_login"})
CHECKING = frozenset({"check_external", "prepare_export"})
#: The calls of crawlers, for which the token of the task is enough.
OF_CRAWLERS = frozenset({"upload", "report_status", "write_log"})
#: What a key that is limited to another stream may call all the same: lists, which show it nothing of this one.
LISTS = frozenset(
    {
        *("list_streams", "list_externals", "list_crawlers", "list_tasks", "list_iceberg_tables"),
        *("get_iceberg_config", "list_iceberg_namespaces", "get_iceberg_namespace"),
    }
)

OPERATIONS = [
    (operation["operationId"], method, path)
    for path, methods in openapi()["paths"].items()
    for method, operation in methods.items()
]
REFUSED = frozenset({401, 403})


def needed(name: str, method: str) -> Scope | None:
    if name in OPEN:
        return None
    if name in ADMIN:
        return Scope.ADMIN
    if name in WRITING:
        return Scope.WRITE
    return Scope.READ if method in READING or name in CHECKING else Scope.WRITE


def test_what_is_listed_is_there():
    known = {name for name, _, _ in OPERATIONS}
    assert (OPEN | ADMIN | WRITING | CHECKING | OF_CRAWLERS | LISTS) - known == set()


@pytest.fixture
def settings(settings):
    """Settings with which nobody is slowed, however often they are refused."""
    return settings.model_copy(update={"failed_logins_per_minute": None})


@pytest.fixture
async def callers(api, made):
    """The headers of every kind of caller, by name, and the values of paths."""
    parts = api.app.state.services
    crawler, other = await made.crawler(), await made.crawler()
    task = await made.task(crawler)
    at = parts.clock()

    async def key(*scopes: Scope, **limits) -> tuple[str, dict]:
        made_, secret = await parts.db.write(keys.add, name="k", scopes=scopes, at=at, **limits)
        return made_.fid, {"Authorization": f"Bearer {secret}"}

    gone, revoked = await key(Scope.ADMIN)
    await parts.db.write(keys.revoke, gone, at=at)
    found = {
        "nobody": {},
        "a wrong key": {"Authorization": "Bearer hw_wrong"},
        "a revoked key": revoked,
        "an expired key": (await key(Scope.ADMIN, expires_at=at - timedelta(seconds=1)))[1],
        "a task's token": {"Authorization": f"Bearer {task['upload']['token']}"},
        "a key for another stream": (await key(Scope.WRITE, streams=(other["stream"],)))[1],
        "read": (await key(Scope.READ))[1],
        "write": (await key(Scope.WRITE))[1],
        "admin": (await key(Scope.ADMIN))[1],
    }
    return found, {"streams": crawler["stream"], "externals": crawler["external"], "crawlers": crawler["fid"]} | {
        "tasks": task["fid"],
        "keys": gone,
    }


def _filled(path: str, fids: dict) -> str:
    kind = path.removeprefix("/actions").split("/")[1]
    for name in re.findall(r"\{(\w+)\}", path):
        known = {"task_fid": fids["tasks"], "doc_id": "a", "export_fid": "f" * 32, "prefix": "headwater"} | {
            "namespace": "streams",
            "table": fids["streams"],
        }
        value = known.get(name, fids.get(kind, "f" * 32))
        path = path.replace(f"{{{name}}}", value)
    return path


def _may(caller: str, name: str, method: str) -> bool:
    scope = needed(name, method)
    if scope is None:
        return True
    if caller in set(Scope):
        return Scope(caller).allows(scope)
    if caller == "a key for another stream":
        return name in LISTS
    return caller == "a task's token" and name in OF_CRAWLERS


async def test_who_may_call_which_operation(api, callers):
    headers_of, fids = callers
    api.headers.pop("authorization")
    differing = {}
    for caller, headers in headers_of.items():  # those who may do most last, since they delete what the others call on
        for name, method, path in OPERATIONS:
            url = _filled(path, fids)
            if name in {"list_events", "list_changes"}:
                url += "?feed=normal"  # which ends
            answer = await api.request(method.upper(), url, headers=headers)
            if (answer.status_code not in REFUSED) is not _may(caller, name, method):
                differing[caller, name] = answer.status_code
    assert differing == {}
