"""What tasks did, and what actions on them would do, document by document."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, cast

import jsonpatch
import msgspec
from fastapi import Depends, Query, Request, Response
from pydantic import BaseModel, Field

from headwater.api.documents import listing_of, raw
from headwater.api.envelope import EXAMPLE_FID, Cursor, Limit, cursor_for, position_of
from headwater.api.parts import Parts
from headwater.domain.errors import Flaw, RequestInvalid
from headwater.lake.difference import Difference, Moves, Operation, Side
from headwater.streams.effects import Question


class SideOut(BaseModel):
    """A document as it shows before or after."""

    task: str = Field(description="The task that wrote this version of it.", examples=[EXAMPLE_FID])
    doc: dict[str, Any] = Field(examples=[{"sku": "sku-1", "price": 12.5}])


class DifferenceOut(BaseModel):
    """A document before and after."""

    id: str = Field(examples=["sku-1"])
    before: SideOut | None = Field(description="Null where it does not show before.")
    after: SideOut | None = Field(description="Null where it does not show after.")
    patch: list[dict[str, Any]] | None = Field(
        default=None,
        description="For `changed`: what leads from before to after, as a JSON Patch (RFC 6902).",
        examples=[[{"op": "replace", "path": "/price", "value": 9}]],
    )


async def difference_page(
    request: Request, backend: Parts, question: Question, operation: Operation, *, limit: int, cursor: str | None
) -> Response:
    """Return a page of the documents with which something happens, in id order."""
    after = _behind(cursor)
    # One more than asked for tells whether there is a next page.
    found = await backend.effects.page(question, operation, after=after, limit=limit + 1)
    following = cursor_for([found[limit - 1].id]) if len(found) > limit else None
    return listing_of(request, _page(found[:limit], patched=operation is Operation.CHANGED), following)


@dataclass(frozen=True, kw_only=True)
class Foresight:
    """What a caller wants to know of something before it is done."""

    dry_run: bool
    limit: int
    cursor: str | None


async def _foresight(
    dry_run: Annotated[bool, Query(description="Change nothing, and tell what would happen.")] = False,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Foresight:
    return Foresight(dry_run=dry_run, limit=limit, cursor=cursor)


AskedForesight = Annotated[Foresight, Depends(_foresight)]


async def foreseen(
    request: Request, backend: Parts, question: Question, asked: Foresight, *, op: Operation | None
) -> Moves | Response | None:
    """Return what would happen, or a page of the documents with which; None if it is not only asked about.

    Raises:
        RequestInvalid: documents are asked for of what is to be done.
    """
    if op is None:
        return await backend.effects.moves(question) if asked.dry_run else None
    if not asked.dry_run:
        detail = "op lists the documents of a dry run; send dry_run=true with it"
        raise RequestInvalid(f"?op: {detail}", flaws=[Flaw(pointer="?op", detail=detail)])
    return await difference_page(request, backend, question, op, limit=asked.limit, cursor=asked.cursor)


def _behind(cursor: str | None) -> str | None:
    match cast("list[Any] | None", position_of(cursor, list)):
        case None:
            return None
        case [str() as doc_id]:
            return doc_id
        case _:
            raise RequestInvalid("the cursor is none that this list gave out; begin with the first page")


def _page(found: Sequence[Difference], *, patched: bool) -> list[dict[str, object]]:
    page: list[dict[str, object]] = []
    for one in found:
        shown: dict[str, object] = {"id": one.id, "before": _side(one.before), "after": _side(one.after)}
        page.append(shown | {"patch": _patch(one)} if patched else shown)
    return page


def _side(side: Side | None) -> dict[str, object] | None:
    return None if side is None else {"task": side.task, "doc": raw(side.text)}


def _patch(one: Difference) -> list[dict[str, Any]]:
    before, after = (msgspec.json.decode(side.text) if side is not None else None for side in (one.before, one.after))
    return cast("Any", jsonpatch).make_patch(before, after).patch
