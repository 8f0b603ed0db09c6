"""Diff responses: what tasks did, and dry runs of actions on tasks, document by document."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, cast

import jsonpatch
import msgspec
from fastapi import Depends, Query, Request, Response
from pydantic import BaseModel, Field

from headwater.api.dependencies import Services
from headwater.api.query_params import AskedSkipped
from headwater.api.responses import EXAMPLE_FID, Cursor, Limit, cursor_for, listing_of, position_of, raw
from headwater.domain.errors import Flaw, RequestInvalid
from headwater.lake.diff import DiffRow, Moves, Operation, Side, text_of
from headwater.lake.integrity import Skipped
from headwater.lake.page_size import page_of
from headwater.streams.diffs import Question


class SideOut(BaseModel):
    """A document before or after the change."""

    task: str = Field(description="The task that wrote this version of it.", examples=[EXAMPLE_FID])
    doc: dict[str, Any] = Field(examples=[{"sku": "sku-1", "price": 12.5}])


class DiffOut(BaseModel):
    """A document before and after the change."""

    id: str = Field(examples=["sku-1"])
    before: SideOut | None = Field(description="Null where it does not show before.")
    after: SideOut | None = Field(description="Null where it does not show after.")
    patch: list[dict[str, Any]] | None = Field(
        default=None,
        description="For `changed`: what leads from before to after, as a JSON Patch (RFC 6902).",
        examples=[[{"op": "replace", "path": "/price", "value": 9}]],
    )


async def diff_page(
    request: Request,
    services: Services,
    question: Question,
    operation: Operation,
    *,
    limit: int,
    cursor: str | None,
    skipped: Skipped | None,
) -> Response:
    """Return a page of the affected documents, in id order."""
    after = _behind(cursor)
    # One more than requested, to detect whether there is a next page.
    found = await services.task_diffs.page(question, operation, after=after, limit=limit + 1, skipped=skipped)
    found, more = page_of(found, limit, text_of)
    following = cursor_for([found[-1].id]) if more else None
    return listing_of(request, _page(found, patched=operation is Operation.CHANGED), following, skipped=skipped)


@dataclass(frozen=True, kw_only=True)
class DryRun:
    """The dry-run parameters of a request."""

    dry_run: bool
    limit: int
    cursor: str | None
    #: Collects damaged segments that are skipped; None if they are errors.
    skipped: Skipped | None


async def _dry_run(
    skipped: AskedSkipped,
    dry_run: Annotated[bool, Query(description="Change nothing, and tell what would happen.")] = False,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> DryRun:
    return DryRun(dry_run=dry_run, limit=limit, cursor=cursor, skipped=skipped)


AskedDryRun = Annotated[DryRun, Depends(_dry_run)]


async def preview(
    request: Request, services: Services, question: Question, asked: DryRun, *, op: Operation | None
) -> Moves | Response | None:
    """Return the effect of an action, or a page of the affected documents; None if it is not a dry run.

    Raises:
        RequestInvalid: documents are requested without a dry run.
    """
    if op is None:
        return await services.task_diffs.counts_of_moves(question, skipped=asked.skipped) if asked.dry_run else None
    if not asked.dry_run:
        detail = "op lists the documents of a dry run; send dry_run=true with it"
        raise RequestInvalid(f"?op: {detail}", flaws=[Flaw(pointer="?op", detail=detail)])
    return await diff_page(
        request, services, question, op, limit=asked.limit, cursor=asked.cursor, skipped=asked.skipped
    )


def _behind(cursor: str | None) -> str | None:
    match cast("list[Any] | None", position_of(cursor, list)):
        case None:
            return None
        case [str() as doc_id]:
            return doc_id
        case _:
            raise RequestInvalid("the cursor is not valid for this list; start with the first page")


def _page(found: Sequence[DiffRow], *, patched: bool) -> list[dict[str, object]]:
    page: list[dict[str, object]] = []
    for one in found:
        shown: dict[str, object] = {"id": one.id, "before": _side(one.before), "after": _side(one.after)}
        page.append(shown | {"patch": _patch(one)} if patched else shown)
    return page


def _side(side: Side | None) -> dict[str, object] | None:
    return None if side is None else {"task": side.task, "doc": raw(side.text)}


def _patch(one: DiffRow) -> list[dict[str, Any]]:
    before, after = (msgspec.json.decode(side.text) if side is not None else None for side in (one.before, one.after))
    return cast("Any", jsonpatch).make_patch(before, after).patch
