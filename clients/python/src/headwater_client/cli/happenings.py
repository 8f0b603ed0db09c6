"""Events, a line each."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import typer

from headwater_client.cli.endings import harmless
from headwater_client.cli.output import is_for_people, many

if TYPE_CHECKING:
    from headwater_client.answers import Event


def answer(told: Iterable[Event], *, as_json: bool) -> None:
    """Write each event as it comes: for people, or as JSON."""
    people = is_for_people(as_json=as_json)
    for event in told:
        typer.echo(line(event) if people else json.dumps(event.raw, ensure_ascii=False))


def line(event: Event) -> str:
    """Return an event for people: when, what, about what, and what is worth knowing."""
    kind = event.type.partition(".")[0]
    about = event.task or getattr(event, kind, None) or ""
    return harmless(
        "  ".join([f"{event.at.astimezone():%H:%M:%S}", f"{event.type:<18}", about, *_told(event)]).rstrip()
    )


def _told(event: Event) -> Iterator[str]:
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
