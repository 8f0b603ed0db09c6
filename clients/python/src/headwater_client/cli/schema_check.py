"""Prints the result of a schema check."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from headwater_client.cli import output
from headwater_client.cli.errors import harmless

if TYPE_CHECKING:
    from headwater_client.models.objects import Check, CheckedStream


def answer(check: Check, *, as_json: bool) -> None:
    """Print a check: a summary, then each stream with affected documents; or JSON."""
    if not output.is_for_people(as_json=as_json):
        output.answer_json(check.raw)
        return
    for line in lines(check):
        typer.echo(line)


def lines(check: Check) -> Iterator[str]:
    """Yield the result of a check as lines."""
    among = f"{output.many(check.documents, 'document')} in {output.many(len(check.streams), 'stream')}"
    yield f"{check.failing:,} of {among} would be refused{_renamed(check.renamed)}."
    for each in check.streams:
        if each.failing or each.renamed:
            yield from _stream_lines(each)


def _stream_lines(stream: CheckedStream) -> Iterator[str]:
    name = harmless(stream.name or stream.stream)
    yield f"{name}: {stream.failing:,} of {stream.documents:,}{_renamed(stream.renamed)}"
    for example in stream.examples:
        where = f"{example['pointer']}: " if example["pointer"] else ""
        yield harmless(f"  {example['id']}  {where}{example['detail']}  (task {example['task']})")
    if stream.failing > len(stream.examples):
        yield f"  … and {stream.failing - len(stream.examples):,} more"


def _renamed(number: int) -> str:
    return f", {number:,} would have another id" if number else ""
