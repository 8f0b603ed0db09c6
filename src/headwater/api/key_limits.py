"""Keys that are limited to streams and crawlers: which operations they may call, on which objects.

What is not listed here is refused to a limited key, so that a new operation is closed until somebody opens it.
"""

from typing import Any

from fastapi import Request
from sqlalchemy import ColumnElement

from headwater.api.audit_actor import object_of
from headwater.api.openapi import operation_id
from headwater.catalog import reach as reaches
from headwater.catalog.core.database import Database
from headwater.catalog.keys import Key
from headwater.catalog.objects import ObjectType
from headwater.domain.errors import NotAllowed

#: Lists, which show a limited key only what it reaches.
LISTS = frozenset({"list_streams", "list_externals", "list_crawlers", "list_tasks", "list_iceberg_tables"})
#: Operations that tell nothing about any object.
ABOUT_NOTHING = frozenset({"get_iceberg_config", "list_iceberg_namespaces", "get_iceberg_namespace"})
#: Operations whose handlers find out the object, and require it to be within reach.
NAMED_LATER = frozenset({"load_iceberg_table", "load_iceberg_credentials"})
#: Operations on an External that concern no other crawler.
ON_EXTERNALS = frozenset({"get_external", "list_versions"})
#: Types of objects of which all operations are allowed, within reach.
REACHED = frozenset({"streams", "crawlers", "tasks"})
#: Operations without an object in the path, and the parameters that name one.
_NAMED_BY = {"list_events": {"stream": "streams", "crawler": "crawlers", "task": "tasks"}}


async def require(key: Key, request: Request, db: Database) -> None:
    """Raise unless a request is within the reach of its key.

    Raises:
        NotAllowed: it is not.
    """
    if key.reach is None:
        return
    route: Any = request.scope["route"]
    called = operation_id(route)
    if called in LISTS | ABOUT_NOTHING | NAMED_LATER:
        return
    kind, fid = object_of(route.path, request.path_params)
    if called in _NAMED_BY:
        named = [(kind, request.query_params.get(name)) for name, kind in _NAMED_BY[called].items()]
        kind, fid = next(((kind, fid) for kind, fid in named if fid), (None, None))
        if fid is None:
            raise NotAllowed(f"{_who(key)}; name one of them by {', '.join(_NAMED_BY[called])}")
    is_open = kind in REACHED or called in ON_EXTERNALS or called in _NAMED_BY
    if not is_open or kind is None or fid is None:
        raise NotAllowed(f"{_who(key)}, and this concerns others as well")
    await require_object(key, kind, fid, db)


async def require_object(key: Key, kind: str, fid: str, db: Database) -> None:
    """Raise if an object exists and is out of reach of a key.

    Raises:
        NotAllowed: it is.
    """
    if key.reach is not None and await db.read(reaches.allows, key.reach, kind, fid) is False:
        raise NotAllowed(f"{_who(key)}; {kind.removesuffix('s')} {fid} is none of them")


def within(key: Key, kind: ObjectType[Any]) -> ColumnElement[bool] | None:
    """Return the condition by which a list shows only what a key reaches; None for all."""
    return None if key.reach is None else reaches.within(kind, key.reach)


def _who(key: Key) -> str:
    return f"key {key.name!r} is limited to some streams and crawlers"
