"""What a run did to the documents of its stream: counts, documents before and after, and a summary by field."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec

from headwater.console import json_markup
from headwater.console.json_markup import Difference
from headwater.domain.stream import Counts
from headwater.domain.task import Task
from headwater.lake.diff import DiffRow, Operation, text_of
from headwater.lake.page_size import page_of
from headwater.streams import diffs
from headwater.streams.diffs import Question, TaskDiffs

#: Changed documents from which the summary by field is made.
SAMPLE = 200
#: Fields of the summary, and value pairs of each.
MOST_FIELDS = 12
MOST_PAIRS = 3
#: Documents of a page, and characters of their texts after which it ends: it takes eight times as many as HTML.
DOCS = 20
MOST_TEXT = 10_000


@dataclass(frozen=True, kw_only=True)
class DocumentChange:
    """One document before and after."""

    id: str
    before: Any
    after: Any
    differences: Sequence[Difference]


@dataclass(frozen=True, kw_only=True)
class Became:
    """A pair of values that a field had before and after, and in how many documents."""

    before: Any
    after: Any
    documents: int


@dataclass(frozen=True, kw_only=True)
class FieldChange:
    """A field that changed, in how many of the documents looked at, and its commonest pairs of values."""

    field: str
    documents: int
    share: float
    pairs: Sequence[Became]


@dataclass(frozen=True, kw_only=True)
class FieldSummary:
    """Which fields changed."""

    fields: Sequence[FieldChange]
    #: The changed documents that were looked at, and whether these are all.
    looked_at: int
    is_all: bool


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What a run did."""

    counts: Counts | None
    operation: str
    documents: Sequence[DocumentChange]
    #: The id after which the next page begins; None on the last.
    next_after: str | None
    fields: FieldSummary | None


async def of_run(task_diffs: TaskDiffs, task: Task, *, operation: str, after: str | None) -> Changes:
    """Return what the current attempt of a task did; ``operation`` chooses the documents that are listed.

    Raises:
        VersionForgotten: what it did is purged.
        SegmentDamaged: a segment is damaged.
    """
    question = partial(diffs.of_task, fid=task.fid)
    counts = task.summary
    chosen = Operation(operation) if operation in OPERATIONS else _first(counts)
    if counts is not None and not getattr(counts, chosen):
        # Nothing is found faster than by looking through all that the run has brought.
        return Changes(counts=counts, operation=str(chosen), documents=[], next_after=None, fields=None)
    # The documents of the first page are the first ones of the sample.
    has_summary = after is None and chosen is Operation.CHANGED
    found = await task_diffs.page(question, chosen, after=after, limit=1 + (SAMPLE if has_summary else DOCS))
    documents, next_after = _page(found)
    fields = _summary(found) if has_summary and found else None
    return Changes(counts=counts, operation=str(chosen), documents=documents, next_after=next_after, fields=fields)


OPERATIONS = {"added", "changed", "removed", "unchanged"}


def _first(counts: Counts | None) -> Operation:
    """Return what is worth seeing first."""
    if counts is None or counts.changed:
        return Operation.CHANGED
    return Operation.ADDED if counts.added or not counts.removed else Operation.REMOVED


async def page(
    task_diffs: TaskDiffs, question: Question, operation: Operation, *, after: str | None
) -> tuple[list[DocumentChange], str | None]:
    """Return a page of documents with an operation, and the id after which the next page begins."""
    return _page(await task_diffs.page(question, operation, after=after, limit=DOCS + 1))


def _page(found: list[DiffRow]) -> tuple[list[DocumentChange], str | None]:
    shown, more = page_of(found, DOCS, text_of, most=MOST_TEXT)
    return [_change(row) for row in shown], shown[-1].id if more else None


def _summary(found: list[DiffRow]) -> FieldSummary:
    looked_at, more = page_of(found, SAMPLE, text_of)
    changes = [_change(row).differences for row in looked_at]
    return FieldSummary(fields=_by_field(changes), looked_at=len(looked_at), is_all=not more)


def _by_field(changes: Sequence[Sequence[Difference]]) -> list[FieldChange]:
    fields: Counter[str] = Counter()
    pairs: dict[str, Counter[tuple[bytes, bytes]]] = {}
    values: dict[bytes, Any] = {}
    for differences in changes:
        for one in differences:
            fields[one.path] += 1
            pair = (_key(one.before, values), _key(one.after, values))
            pairs.setdefault(one.path, Counter())[pair] += 1
    return [
        FieldChange(
            field=field,
            documents=count,
            share=count / len(changes),
            pairs=_became(pairs[field].most_common(MOST_PAIRS), values),
        )
        for field, count in fields.most_common(MOST_FIELDS)
    ]


def _became(common: Iterable[tuple[tuple[bytes, bytes], int]], values: dict[bytes, Any]) -> list[Became]:
    return [Became(before=values[old], after=values[new], documents=count) for (old, new), count in common]


def _key(value: Any, values: dict[bytes, Any]) -> bytes:
    key = msgspec.json.encode(value, order="sorted")
    values.setdefault(key, value)
    return key


def _change(row: DiffRow) -> DocumentChange:
    before = None if row.before is None else json_markup.decoded(row.before.text)
    after = None if row.after is None else json_markup.decoded(row.after.text)
    both = row.before is not None and row.after is not None
    return DocumentChange(
        id=row.id, before=before, after=after, differences=json_markup.differences(before, after) if both else ()
    )
