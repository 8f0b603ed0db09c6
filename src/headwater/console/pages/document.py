"""A document: its value, and its history, with the run that each field is from."""

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlencode

from starlette.responses import PlainTextResponse, Response

from headwater.catalog import objects, runs
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.objects import CRAWLERS, STREAMS, TASKS
from headwater.console import json_markup
from headwater.console.confirmation import Confirmation, asked, require_typed
from headwater.console.json_markup import Difference
from headwater.console.rendering import render
from headwater.console.routing import Pages
from headwater.console.visits import Visit
from headwater.domain.errors import NotFound
from headwater.domain.scope import Scope
from headwater.domain.task import Task
from headwater.streams.history import Order, Standing, Version
from headwater.streams.views import NOW

pages = Pages()

#: Versions on a page.
VERSIONS = 50

#: The word that is typed to erase a document.
ERASE = "erase"
#: Why a version does not show, in words.
STANDINGS = {
    Standing.SHOWN: "shown",
    Standing.COVERED: "covered by a newer version",
    Standing.REMOVED: "run undone",
    Standing.REPLACED: "replaced by a later attempt",
    Standing.DROPPED: "not in a later snapshot",
    Standing.DELETED: "deletes the document",
    Standing.WAITING: "waits for its run to end well",
    Standing.UNPUBLISHED: "not published",
}


@dataclass(frozen=True, kw_only=True)
class VersionCard:
    """A version of the document."""

    version: Version
    standing: str
    is_shown: bool
    run: str
    task: Task | None
    value: Any
    #: What differs from the version before it that counts.
    differences: Sequence[Difference]
    #: Whether no older version is kept.
    is_first: bool
    #: Whether the version before it is on the next page.
    is_last_here: bool


@dataclass(frozen=True, kw_only=True)
class Blame:
    """Since when a field of the shown version has its value."""

    field: str
    value: Any
    card: VersionCard


@pages.get("/streams/{fid}/document")
async def show_document(visit: Visit) -> Response:
    """Show a document and its history."""
    doc_id = visit.query.get("id")
    stream = await visit.services.db.read(objects.get, STREAMS, visit.fid)
    before = _order(visit.query.get("before"))
    versions: list[Version] = []
    older: Order | None = None
    with contextlib.suppress(NotFound):
        page = await visit.services.document_history.page(visit.fid, doc_id, before=before, limit=VERSIONS)
        versions, older = page.versions, page.next_before

    def read(tx: Transaction) -> dict[str, tuple[Task, str]]:
        found = {fid: objects.get(tx, TASKS, fid) for fid in {version.task for version in versions}}
        names = runs.names(tx, CRAWLERS, {task.crawler for task in found.values()})
        return {fid: (task, names[task.crawler]) for fid, task in found.items()}

    cards = _cards(versions, await visit.services.db.read(read), has_older=older is not None)
    shown = next((card for card in cards if card.is_shown), None)
    return render(
        visit,
        "document.html",
        stream=stream,
        stream_name=runs.name_of(stream.fid, stream.meta),
        doc_id=doc_id,
        query=urlencode({"id": doc_id}),
        cards=cards,
        shown=shown,
        blame=[] if shown is None else _blame(cards, shown),
        pretty=json_markup.pretty,
        visible=json_markup.escaped,
        next_url=None if older is None else visit.here(before=".".join(map(str, older))),
    )


def _order(text: str) -> Order | None:
    """Return the place in a history that a page starts from; None, the newest version, for any other text."""
    layer, _, place = text.partition(".")
    fits = all(re.fullmatch(r"[0-9]{1,18}", number, re.ASCII) for number in (layer, place))
    return (int(layer), int(place)) if fits else None


def _cards(versions: Sequence[Version], ran: dict[str, tuple[Task, str]], *, has_older: bool) -> list[VersionCard]:
    values = [json_markup.decoded(version.text) for version in versions]
    cards: list[VersionCard] = []
    for place, version in enumerate(versions):
        before = next((other for other in range(place + 1, len(versions)) if _counts(versions[other])), None)
        task, name = ran[version.task]
        cards.append(
            VersionCard(
                version=version,
                standing=STANDINGS[version.standing],
                is_shown=version.standing is Standing.SHOWN,
                run=name,
                task=task,
                value=values[place],
                differences=[] if before is None else json_markup.differences(values[before], values[place]),
                is_first=before is None and not has_older,
                is_last_here=before is None and has_older,
            )
        )
    return cards


def _counts(version: Version) -> bool:
    """Whether a version is, or was until a newer one came, what the stream shows."""
    return version.standing in {Standing.SHOWN, Standing.COVERED, Standing.DROPPED} and not version.is_deletion


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _blame(cards: Sequence[VersionCard], shown: VersionCard) -> list[Blame]:
    if not _is_object(shown.value):
        return []
    line = [card for card in cards if _counts(card.version)]
    line = line[line.index(shown) :]
    members = cast("dict[str, Any]", shown.value)
    return [Blame(field=name, value=value, card=_since(line, name, value)) for name, value in members.items()]


def _since(line: Sequence[VersionCard], name: str, value: Any) -> VersionCard:
    """Return the oldest version, going back without a gap, in which a field has its value."""
    oldest = line[0]
    for card in line[1:]:
        if not _is_object(card.value) or name not in card.value:
            break
        if json_markup.differences(cast("dict[str, Any]", card.value)[name], value):
            break
        oldest = card
    return oldest


@pages.get("/streams/{fid}/document/text")
async def show_text(visit: Visit) -> Response:
    """Return the text of a document, exactly as it was uploaded."""
    found = await visit.services.reader.one(visit.fid, NOW, visit.query.get("id"))
    return PlainTextResponse(found.text, headers={"Cache-Control": "no-store"})


@pages.get("/streams/{fid}/document/erase", needs=Scope.ADMIN)
async def ask_erase(visit: Visit) -> Response:
    """Say what erasing a document does."""
    doc_id = visit.query.get("id")
    versions = (await visit.services.document_history.page(visit.fid, doc_id, before=None, limit=1)).total
    page = f"/console/streams/{visit.fid}/document"
    kept = "1 version" if versions == 1 else f"{versions:,} versions"
    return asked(
        visit,
        Confirmation(
            title="Erase this document for good?",
            action=f"{page}/erase",
            button="Erase it for good",
            back=f"{page}?{urlencode({'id': doc_id})}",
            lines=[
                (
                    f"Its {kept} and the rejected lines that may be it are deleted from every run and every former "
                    "version of the stream. Nothing brings them back. This is for the law, not for undoing: to take "
                    "back what a run did, undo the run."
                )
            ],
            fields=[("id", doc_id)],
            typed=ERASE,
        ),
    )


@pages.post("/streams/{fid}/document/erase", action="erase_doc", about="streams", needs=Scope.ADMIN)
async def erase(visit: Visit) -> Response:
    """Erase a document for good."""
    require_typed(visit, ERASE, otherwise="nothing was erased")
    erased = await visit.services.document_erasure.erase(visit.fid, visit.form.get("id"))
    gone = "1 version is" if erased.docs == 1 else f"{erased.docs:,} versions are"
    return visit.go(f"/console/streams/{visit.fid}", notice=f"The document is erased: {gone} gone for good.")
