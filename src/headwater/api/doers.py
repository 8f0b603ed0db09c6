"""Who does what a request does, for the audit."""

from collections.abc import Callable
from datetime import datetime

from fastapi import Request
from fastapi.routing import APIRoute

from headwater.api.openapi import operation_id
from headwater.api.tracing import request_id_of
from headwater.catalog.audit import Doer
from headwater.catalog.keys import Key
from headwater.catalog.witness import WITNESS
from headwater.domain.task import Origin

#: What the command line calls itself, in ``User-Agent``.
_COMMAND_LINE = "headwater-cli/"
#: Calls that are the same as another one.
_SAME = {"delete_task_object": "delete_task"}


def origin_of(request: Request) -> Origin:
    """Return from where something is asked, as far as who asks says so."""
    agent = request.headers.get("user-agent", "")
    return Origin.CLI if agent.startswith(_COMMAND_LINE) else Origin.API


def is_done_by(key: Key, request: Request, *, clock: Callable[[], datetime]) -> None:
    """Let what is written from here on, until the request is answered, be the doing of who has a key."""
    route: APIRoute = request.scope["route"]
    called = operation_id(route)
    object_type, object_fid = _object(route.path, request.path_params)
    doer = Doer(
        clock=clock,
        key=key.fid,
        name=key.name,
        origin=origin_of(request),
        action=_SAME.get(called, called),
        object_type=object_type,
        object_fid=object_fid,
        request_id=request_id_of(request.scope),
    )
    WITNESS.set(doer)


def _object(path: str, named: dict[str, str]) -> tuple[str | None, str | None]:
    """Return the object that a path names, as type and fid: of ``/actions/{type}/{fid}/…`` the last one."""
    if "task_fid" in named:
        return "tasks", named["task_fid"]
    if "task_id" in named:
        return "tasks", named["task_id"].partition(".")[0]
    return path.removeprefix("/actions").split("/")[1], named.get("fid")
