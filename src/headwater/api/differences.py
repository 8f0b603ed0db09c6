"""What tasks did, and what actions on them would do, document by document."""

from collections.abc import Sequence
from typing import Any, cast

import jsonpatch
import msgspec
from fastapi import Request, Response
from pydantic import BaseModel, Field

from headwater.api.documents import listing_of, raw
from headwater.api.envelope import EXAMPLE_FID, cursor_for, position_of
from headwater.api.parts import Parts
from headwater.domain.errors import RequestInvalid
from headwater.lake.difference import Difference, Operation, Side
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
