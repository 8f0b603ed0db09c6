"""The documents of a stream, on a terminal and elsewhere."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import typer

from headwater_client.answers import Document
from headwater_client.cli import lists, names, output
from headwater_client.cli.output import Column

if TYPE_CHECKING:
    from headwater_client.headwater import Headwater
    from headwater_client.objects import Stream

#: Characters of a document: more than a line of any terminal.
SHOWN = 400


def view(headwater: Headwater, as_of: int | None, without: Sequence[str] | None) -> dict[str, Any]:
    """Return the parameters of a view of a stream."""
    tasks = ",".join(names.task(headwater, ref).fid for ref in without or ())
    return {"as_of": as_of, "without": tasks or None}


def answer(headwater: Headwater, stream: Stream, limit: int, filters: Mapping[str, Any], *, as_json: bool) -> None:
    """Answer documents: a table, or a line of JSON each, as they come."""
    found = lists.first(headwater, f"/streams/{stream.fid}/docs", Document, limit, **filters)
    if not output.is_for_people(as_json=as_json):
        for each in islice(found, limit if limit > 0 else None):
            typer.echo(json.dumps(each.raw, ensure_ascii=False))
        return
    columns: list[Column[Document]] = [
        Column("id", lambda document: document.id),
        Column("document", lambda document: json.dumps(document.doc, ensure_ascii=False)[:SHOWN]),
    ]
    output.answer_list(output.first(found, limit), columns, "documents", as_json=False)
