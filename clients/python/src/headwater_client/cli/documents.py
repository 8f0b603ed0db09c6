"""Prints a stream's documents: a table on a terminal, NDJSON when piped."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import typer

from headwater_client.cli import lookup, output, table
from headwater_client.cli.output import Column
from headwater_client.models.results import Document

if TYPE_CHECKING:
    from headwater_client.headwater import Headwater
    from headwater_client.models.objects import Stream

#: Maximum characters of a document in the table; longer than any terminal line.
SHOWN = 400


def view(headwater: Headwater, as_of: int | None, without: Sequence[str] | None) -> dict[str, Any]:
    """Return the query parameters for a view of a stream."""
    tasks = ",".join(lookup.task(headwater, ref).fid for ref in without or ())
    return {"as_of": as_of, "without": tasks or None}


def answer(headwater: Headwater, stream: Stream, limit: int, filters: Mapping[str, Any], *, as_json: bool) -> None:
    """Print documents: a table, or NDJSON as they arrive."""
    found = table.first(headwater, f"/streams/{stream.fid}/docs", Document, limit, **filters)
    if not output.is_for_people(as_json=as_json):
        for each in islice(found, limit if limit > 0 else None):
            typer.echo(output.json_text(each.raw))
        return
    columns: list[Column[Document]] = [
        Column("id", lambda document: document.id),
        Column("document", lambda document: json.dumps(document.doc, ensure_ascii=False)[:SHOWN]),
    ]
    output.answer_list(output.first(found, limit), columns, "documents", as_json=False)
