"""The audit actor of a request: which key performs which action on which object."""

from collections.abc import Callable
from datetime import datetime

from fastapi import Request
from fastapi.routing import APIRoute

from headwater.api.openapi import operation_id
from headwater.api.request_ids import request_id_of
from headwater.catalog.audit import Actor
from headwater.catalog.core.change_tracking import AUDIT_RECORDER
from headwater.catalog.keys import Key
from headwater.domain.task import Origin

#: The command line's product name in ``User-Agent``.
_COMMAND_LINE = "headwater-cli/"
#: Operations that are aliases of another one.
_SAME = {"delete_task_object": "delete_task", "erase_doc_by_id": "erase_doc"}


def origin_of(request: Request) -> Origin:
    """Return the origin of a request, as the client declares it."""
    agent = request.headers.get("user-agent", "")
    return Origin.CLI if agent.startswith(_COMMAND_LINE) else Origin.API


def act_as(key: Key, request: Request, *, clock: Callable[[], datetime]) -> None:
    """Attribute all changes of this request to a key, in the audit."""
    route: APIRoute = request.scope["route"]
    called = operation_id(route)
    object_type, object_fid = object_of(route.path, request.path_params)
    actor = Actor(
        clock=clock,
        key=key.fid,
        name=key.name,
        origin=origin_of(request),
        action=_SAME.get(called, called),
        object_type=object_type,
        object_fid=object_fid,
        request_id=request_id_of(request.scope),
    )
    AUDIT_RECORDER.set(actor)


def object_of(path: str, named: dict[str, str]) -> tuple[str | None, str | None]:
    """Return the type and fid of the object in a path; of ``/actions/{type}/{fid}/…``, the last one."""
    if "task_fid" in named:
        return "tasks", named["task_fid"]
    if "task_id" in named:
        return "tasks", named["task_id"].partition(".")[0]
    return path.removeprefix("/actions").split("/")[1], named.get("fid")
