"""What streams, externals, crawlers and tasks have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from headwater_client.objects import Object
from headwater_client.questions import Pages, Question, Ref, fid_of, given, reading

R = TypeVar("R", bound=Object)

#: Objects of a page, where lists are walked to their end: as many as the server gives.
PAGE = 1000
#: Change nothing, and tell what would happen.
DRY = {"dry_run": "true"}


def meta_of(name: str | None, meta: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return an object's ``meta``, the name in it."""
    return {**(meta or {}), **given(name=name)}


def getting(kind: type[R], path: str, ref: Ref, params: Mapping[str, Any] | None = None) -> Question[R]:
    """Ask for one object."""
    return Question("GET", f"/{path}/{fid_of(ref)}", reading(kind.read), params=params or {}, is_harmless=True)


def listing(kind: type[R], path: str, filters: Mapping[str, Any]) -> Pages[R]:
    """Ask for a list of objects, newest first."""
    return Pages(f"/{path}", kind.read, {**filters, "limit": PAGE})


def if_match(version: int | None) -> dict[str, str]:
    """Return the headers that demand a version of an object; None demands none."""
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
) -> Question[R]:
    """Ask for a change of an object: ``PATCH`` merges, ``PUT`` overwrites."""
    return Question(
        method,
        f"/{path}/{fid_of(ref)}",
        reading(kind.read),
        params=params or {},
        json=fields,
        headers=if_match(if_version),
        is_harmless=if_version is None,
    )


def deleting(path: str, ref: Ref, *, cascade: bool) -> Question[None]:
    """Ask for an object to be deleted."""
    params = {"cascade": "true"} if cascade else {}
    return Question("DELETE", f"/{path}/{fid_of(ref)}", lambda _: None, params=params)
