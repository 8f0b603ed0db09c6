"""Prints events, one per line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import typer

from headwater_client.cli.errors import harmless
from headwater_client.cli.output import is_for_people, json_text, many

if TYPE_CHECKING:
    from headwater_client.models.results import Event


def answer(events: Iterable[Event], *, as_json: bool) -> None:
    """Print each event as it arrives: human-readable, or as JSON."""
    people = is_for_people(as_json=as_json)
    for event in events:
        typer.echo(line(event) if people else json_text(event.raw))


def line(event: Event) -> str:
    """Return an event as a line: time, type, object and details."""
    kind = event.type.partition(".")[0]
    about = event.task or getattr(event, kind, None) or ""
    return harmless(
        "  ".join([f"{event.at.astimezone():%H:%M:%S}", f"{event.type:<18}", about, *_details(event)]).rstrip()
    )


def _details(event: Event) -> Iterator[str]:
    data = event.data
    if event.type == "stream.changed":
        yield f"{data.get('change')}, {many(data.get('docs') or 0, 'document')}, version {data.get('stream_version')}"
    elif event.type.startswith("task."):
        if data.get("docs"):
            yield many(data["docs"], "document")
        if data.get("message"):
            yield str(data["message"])
    elif data.get("why") or data.get("name"):
        yield str(data.get("why") or data["name"])
