"""Calls common to all object types: read, list, change, delete."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from headwater_client.cleaning import cleaned
from headwater_client.models.objects import Object
from headwater_client.requests import Call, Pages, Ref, fid_of, given, reading

R = TypeVar("R", bound=Object)

#: Page size of lists; the server's maximum.
PAGE = 1000
#: Parameters of a dry run.
DRY = {"dry_run": "true"}


def moment(value: datetime | None) -> str | None:
    """Return a point in time as a query parameter (RFC 3339); one without a time zone is of this computer's."""
    return None if value is None else value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def meta_of(name: str | None, meta: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return an object's ``meta`` including its name, sanitized."""
    return cleaned({**(meta or {}), **given(name=name)})


def getting(kind: type[R], path: str, ref: Ref, params: Mapping[str, Any] | None = None) -> Call[R]:
    """Return the call that reads one object."""
    return Call("GET", f"/{path}/{fid_of(ref)}", reading(kind.read), params=params or {}, is_harmless=True)


def listing(kind: type[R], path: str, filters: Mapping[str, Any]) -> Pages[R]:
    """Return a list of objects, newest first."""
    return Pages(f"/{path}", kind.read, {**filters, "limit": PAGE})


def if_match(version: int | None) -> dict[str, str]:
    """Return the ``If-Match`` header for a version; no header for None."""
    return {} if version is None else {"If-Match": f'"{version}"'}


def writing(
    kind: type[R],
    method: str,
    path: str,
    ref: Ref,
    *,
    fields: Mapping[str, Any],
    if_version: int | None,
    params: Mapping[str, Any] | None = None,
) -> Call[R]:
    """Return the call that changes an object: ``PATCH`` merges, ``PUT`` overwrites."""
    fields = {name: cleaned(value) if name == "meta" else value for name, value in fields.items()}
    return Call(
        method,
        f"/{path}/{fid_of(ref)}",
        reading(kind.read),
        params=params or {},
        json=fields,
        headers=if_match(if_version),
        is_harmless=if_version is None,
    )


def deleting(path: str, ref: Ref, *, cascade: bool) -> Call[None]:
    """Return the call that deletes an object."""
    params = {"cascade": "true"} if cascade else {}
    return Call("DELETE", f"/{path}/{fid_of(ref)}", lambda _: None, params=params)
