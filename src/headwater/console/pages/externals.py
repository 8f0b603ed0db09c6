"""Externals: the crawlers' definitions, their versions, and their schema, checked against what is stored."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

import msgspec
from starlette.responses import Response

from headwater.catalog import crawlers, externals, object_lists, objects, runs
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.externals import Version
from headwater.catalog.object_lists import ObjectOrder
from headwater.catalog.objects import CRAWLERS, EXTERNALS
from headwater.console import json_markup
from headwater.console.confirmation import Confirmation, asked
from headwater.console.json_markup import Difference
from headwater.console.listing import ROWS, Choice, place_of, position_of, query_of, rows_of, sorting_of
from headwater.console.rendering import render
from headwater.console.routing import Pages
from headwater.console.visits import Visit
from headwater.domain.crawler import Crawler
from headwater.domain.errors import RequestInvalid, SchemaInvalid
from headwater.domain.external import Definition, External, check_definition
from headwater.domain.ids import new_fid
from headwater.domain.redaction import REDACTED, without_password
from headwater.domain.scope import Scope
from headwater.ingest.bounded_validator import BoundedValidator
from headwater.ingest.schema_check import Recheck
from headwater.ingest.validation import Checker
from headwater.streams.full_scan import Scan, scan_all

pages = Pages()

#: Versions and crawlers that a page shows.
VERSIONS = 30
MOST_CRAWLERS = 30
#: How the list is sorted, newest first by default.
ORDERS = {
    "": Choice(order=ObjectOrder.CREATED, is_descending=True, words="newest first"),
    "oldest": Choice(order=ObjectOrder.CREATED, is_descending=False, words="oldest first"),
    "name": Choice(order=ObjectOrder.NAME, is_descending=False, words="by name, A to Z"),
    "name-back": Choice(order=ObjectOrder.NAME, is_descending=True, words="by name, Z to A"),
    "most": Choice(order=ObjectOrder.CRAWLERS, is_descending=True, words="most crawlers"),
    "fewest": Choice(order=ObjectOrder.CRAWLERS, is_descending=False, words="fewest crawlers"),
    "changed": Choice(order=ObjectOrder.CHANGED, is_descending=True, words="last changed first"),
    "unchanged": Choice(order=ObjectOrder.CHANGED, is_descending=False, words="last changed longest ago"),
}


@dataclass(frozen=True, kw_only=True)
class ExternalRow:
    """An External in the list."""

    external: External
    name: str
    crawlers: int


@dataclass(frozen=True, kw_only=True)
class VersionRow:
    """A version of an External, with what it changed."""

    version: Version
    is_in_use: bool
    differences: Sequence[Difference]


@dataclass(frozen=True, kw_only=True)
class ExternalPage:
    """An External with its versions and crawlers."""

    external: External
    name: str
    versions: Sequence[VersionRow]
    crawlers: Sequence[tuple[Crawler, str]]
    #: Whether there are more than these.
    has_more_crawlers: bool
    endpoint: str | None
    schema_text: str


@pages.get("/externals")
async def list_externals(visit: Visit) -> Response:
    """Show the Externals, newest first unless they are sorted."""
    sorting = sorting_of(visit, ORDERS)
    query = query_of(visit, sorting.choice)

    def read(tx: Transaction) -> tuple[list[ExternalRow], list[str]]:
        found = object_lists.page(tx, EXTERNALS, query, after=place_of(visit, EXTERNALS, query), limit=ROWS + 1)
        counts = object_lists.crawlers_of(tx, [each.value.fid for each in found])
        rows = [
            ExternalRow(
                external=each.value,
                name=runs.name_of(each.value.fid, each.value.meta),
                crawlers=counts.get(each.value.fid, 0),
            )
            for each in found
        ]
        return rows, [position_of(each.place) for each in found]

    found, positions = await visit.services.db.read(read)
    page = rows_of(visit, found, last=positions[ROWS - 1] if len(found) > ROWS else None)
    return render(visit, "externals.html", page=page, sorting=sorting, query=query, wrong=None, given=None)


@pages.post("/externals", action="create_external", about="externals")
async def create_external(visit: Visit) -> Response:
    """Register an External by its definition's most important parts."""
    definition = Definition(
        endpoint=visit.form.get("endpoint").strip() or None,
        schema=_schema_of(visit.form.get("schema")),
        doc_id_field=visit.form.get("doc_id_field").strip() or None,
        headers={},
        parameters=(),
    )
    if definition.endpoint is not None and not definition.endpoint.startswith(("http://", "https://")):
        raise RequestInvalid("an endpoint is an absolute URL, http://… or https://…; without one, a script uploads")
    await _require_compilable(visit, definition)
    name = visit.form.get("name").strip()[:200]

    def create(tx: Transaction, at: datetime) -> External:
        common: dict[str, Any] = {"fid": new_fid(at), "created_at": at, "updated_at": at, "version": 1}
        return externals.add_named(tx, External(**common, definition=definition, meta={"name": name} if name else {}))

    made = await visit.services.db.write(create, visit.services.clock())
    return visit.go(f"/console/externals/{made.fid}")


@pages.get("/externals/{fid}")
async def show_external(visit: Visit) -> Response:
    """Show an External."""
    page = await visit.services.db.read(_page, visit.fid, visit.allows(Scope.WRITE))
    return render(visit, "external.html", page=page, url=visit.services.public_url, redacted=REDACTED)


def _page(tx: Transaction, fid: str, may_write: bool) -> ExternalPage:
    external = objects.get(tx, EXTERNALS, fid)
    versions = externals.versions(tx, fid, before=None, limit=VERSIONS + 1)
    definitions = [_described(externals.definition_at(tx, fid, each.version)) for each in versions]
    rows = [
        VersionRow(
            version=each,
            is_in_use=each.version == external.in_use,
            differences=json_markup.differences(definitions[place + 1], definitions[place])
            if place + 1 < len(versions)
            else (),
        )
        for place, each in enumerate(versions[:VERSIONS])
    ]
    used = objects.page(tx, CRAWLERS, where={"external": fid}, after=None, limit=MOST_CRAWLERS + 1)
    endpoint = external.definition.endpoint
    return ExternalPage(
        external=external,
        name=runs.name_of(fid, external.meta),
        versions=rows,
        crawlers=[(crawler, runs.name_of(crawler.fid, crawler.meta)) for crawler in used[:MOST_CRAWLERS]],
        has_more_crawlers=len(used) > MOST_CRAWLERS,
        endpoint=endpoint if may_write else without_password(endpoint),
        schema_text="" if external.definition.schema is None else json_markup.pretty(external.definition.schema),
    )


def _described(definition: Definition) -> dict[str, Any]:
    """Return a definition for comparison: without the values of headers."""
    described: dict[str, Any] = msgspec.to_builtins(definition)
    names: dict[str, Any] = described.pop("headers")
    endpoint = described.pop("endpoint")
    return {**described, "endpoint": without_password(endpoint), "headers": sorted(names)}


@pages.post("/externals/{fid}/check", action="check_external", about="externals", needs=Scope.READ)
async def check(visit: Visit) -> Response:
    """Say which stored documents a schema would refuse; nothing is stored."""
    try:
        scans = await _check(visit, _schema_of(visit.form.get("schema")))
    except (SchemaInvalid, RequestInvalid) as error:
        return render(visit, _checked_template(visit), scans=(), wrong=error, fid=visit.fid)
    return render(visit, _checked_template(visit), scans=scans, wrong=None, fid=visit.fid)


def _checked_template(visit: Visit) -> str:
    return "parts/schema_checked.html" if visit.is_partial else "schema_checked.html"


async def _check(visit: Visit, schema: dict[str, Any] | bool | None) -> list[Scan[Recheck]]:
    services = visit.services

    def read(tx: Transaction) -> tuple[External, list[str]]:
        return objects.get(tx, EXTERNALS, visit.fid), crawlers.fed_by(tx, visit.fid)

    external, streams = await services.db.read(read)
    definition = replace(external.definition, schema=schema)
    checker = await services.sandbox.run(partial(Checker, definition, external=external.name, sandbox=services.sandbox))
    found: list[Scan[Recheck]] = []
    async with services.checks:
        for stream in streams:
            seen = await scan_all(services.reader, services.engine, stream, lambda: Recheck(checker))
            if seen is not None:
                found.append(seen)
    return found


@pages.post("/externals/{fid}/schema", action="patch_external", about="externals")
async def change_schema(visit: Visit) -> Response:
    """Store another schema, as a new version of the External."""
    schema = _schema_of(visit.form.get("schema"))
    version = visit.form.whole("version")

    def present(tx: Transaction) -> External:
        return objects.get(tx, EXTERNALS, visit.fid)

    external = await visit.services.db.read(present)
    await _require_compilable(visit, replace(external.definition, schema=schema))

    def change(tx: Transaction, at: datetime) -> External:
        old = objects.get(tx, EXTERNALS, visit.fid, lock=True)
        objects.require_version(old, None if version is None else frozenset({version}))
        definition = replace(old.definition, schema=schema)
        return objects.save(tx, EXTERNALS, old, replace(old, definition=definition, **objects.edited(at, old.version)))

    made = await visit.services.db.write(change, visit.services.clock())
    return visit.go(f"/console/externals/{visit.fid}", notice=f"Stored as version {made.version}.")


@pages.get("/externals/{fid}/publish")
async def ask_publish(visit: Visit) -> Response:
    """Say what publishing a version does."""
    version = visit.query.whole("version")
    page = f"/console/externals/{visit.fid}"
    what = "the newest version, always" if version is None else f"version {version}"
    ask = Confirmation(
        title=f"Let crawlers run with {what}?",
        action=f"{page}/publish",
        button="Publish",
        back=page,
        lines=["Runs that begin from now on use it. Those under way keep the version that they began with."],
        fields=[("version", "" if version is None else str(version))],
        way_back="Publishing another version changes it back.",
    )
    return asked(visit, ask)


@pages.post("/externals/{fid}/publish", action="publish_external", about="externals")
async def publish(visit: Visit) -> Response:
    """Let crawlers run with a version."""
    version = visit.form.whole("version")

    def change(tx: Transaction, at: datetime) -> External:
        return externals.publish(tx, objects.get(tx, EXTERNALS, visit.fid, lock=True), version, at=at)

    made = await visit.services.db.write(change, visit.services.clock())
    return visit.go(f"/console/externals/{visit.fid}", notice=f"Crawlers run with version {made.in_use} now.")


def _schema_of(text: str) -> dict[str, Any] | bool | None:
    if not text.strip():
        return None
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RequestInvalid(f"the schema is not JSON: {error}") from None
    if not isinstance(schema, dict | bool):
        raise RequestInvalid("a schema is an object, or true or false; leave it empty to take any object")
    return schema  # pyright: ignore[reportUnknownVariableType] - any JSON


async def _require_compilable(visit: Visit, definition: Definition) -> None:
    """Raise unless a definition is valid; a costly schema is compiled in the sandbox.

    Raises:
        SchemaInvalid: it is not.
    """
    check_definition(definition)
    if definition.schema is not None:
        sandbox = visit.services.sandbox
        await sandbox.run(partial(BoundedValidator, definition.schema, sandbox=sandbox))
