"""docs/reference/reading.md against what can be called, and what it answers."""

import re

import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from docs_page import Page
from headwater.api.auth import ADMINISTERS, READS, WRITES
from headwater.api.routers import bisect, changes, documents, export, plan, rejects, revert, task_deletion, tasks
from headwater.api.routers.documents import LogOut, VersionOut
from headwater.api.routers.rejects import RejectOut, ReplayOut
from headwater.api.routers.revert import RestoreBody
from headwater.catalog.keys import Scope
from headwater.domain.download_name import LONGEST
from headwater.domain.filter import LONGEST_PART, MOST_PARTS, Operator
from headwater.domain.reject import LONGEST_TEXT, MOST_OF_LINE, MOST_REJECTS
from headwater.domain.stream import Change
from headwater.lake.shapes import DEEPEST, MOST_FIELDS
from headwater.lake.tabular import LONGEST_NAMES, MOST_COLUMNS
from headwater.settings import Settings
from headwater.streams.export import ExportFormat
from headwater.streams.history import Standing
from headwater.streams.spreadsheet import LONGEST_CELL, MOST_ROWS

PAGE = Page.of("docs/reference/reading.md").text
CALL = re.compile(r"^\| \[`(\w+) ([^`]+)`\]\(#([\w-]+)\) \| [^|]+ \| `(\w+)` \|$", re.MULTILINE)
#: By method and path as the page writes them: ``(heading's anchor, scope)``.
CALLS = {(method, path): (anchor, scope) for method, path, anchor, scope in CALL.findall(PAGE)}
#: By method and path as the page writes them.
ROUTES = {
    (method, route.path.replace("{doc_id:any}", "{id}")): route
    for part in (revert, export, bisect, plan, changes, documents, rejects, tasks, task_deletion)
    for route in part.router.routes
    if isinstance(route, APIRoute)
    for method in route.methods
}
#: What many calls have in common stands at the top.
SHARED = PAGE.partition("\n## Documents\n")[0]
SCOPES = [(READS, Scope.READ), (WRITES, Scope.WRITE), (ADMINISTERS, Scope.ADMIN)]


def _section(heading: str) -> str:
    return Page.of("docs/reference/reading.md", section=heading).text


def _first_column(table: str) -> list[str]:
    """The names in the rows of the table that begins so."""
    rows = PAGE.partition(f"\n| {table} |")[2].partition("\n\n")[0].splitlines()[2:]
    return [name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])]


def test_every_call_is_there_and_needs_the_scope_that_the_table_says():
    needed = {
        call: next((scope for guard, scope in SCOPES if guard in ROUTES[call].dependencies), None) for call in CALLS
    }
    assert needed == {call: scope for call, (_, scope) in CALLS.items()}


@pytest.mark.parametrize("call", CALLS, ids=" ".join)
def test_every_parameter_of_a_call_is_told_of(call):
    anchor, _ = CALLS[call]
    (heading,) = [name for name in re.findall(r"^## (.+)$", PAGE, re.MULTILINE) if _anchor(name) == anchor]
    told = SHARED + _section(heading) + _section("Delete and restore")
    assert {name for name in _parameters(ROUTES[call].dependant) if not re.search(rf"\b{name}\b", told)} == set()


def _parameters(dependant: Dependant) -> set[str]:
    own = {field.alias for field in dependant.query_params}
    return own.union(*(_parameters(inner) for inner in dependant.dependencies))


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize(
    ("table", "names"),
    [
        ("standing", [*Standing]),
        ("change", [*Change]),
        ("`format`", [*ExportFormat]),
        ("field | means tasks", [*RestoreBody.model_fields]),
        ("answered", ["replayed", "covered", "rejected"]),
        ("count, and `op`", ["added", "changed", "unchanged", "removed"]),
    ],
)
def test_a_table_has_a_row_for_each(table, names):
    assert sorted(_first_column(table)) == sorted(names)


@pytest.mark.parametrize(
    ("heading", "model"),
    [("History", VersionOut), ("Log", LogOut), ("Rejected lines", RejectOut), ("Rejected lines", ReplayOut)],
)
def test_every_field_of_an_item_is_told_of(heading, model):
    assert [name for name in model.model_fields if f"`{name}`" not in _section(heading)] == []


def test_every_operator_is_named():
    (row,) = re.findall(r"^\| operator \|(.+)\|$", PAGE, re.MULTILINE)
    assert sorted(re.findall(r"`([^`]+)`", row)) == sorted(Operator)


@pytest.mark.parametrize(
    "sentence",
    [
        f"At most {MOST_PARTS} words and {MOST_PARTS} comparisons are taken, each up to {LONGEST_PART} characters",
        f"More than {MOST_COLUMNS:,} top-level fields, or names of more than {LONGEST_NAMES:,} characters",
        f"{changes.WAIT} seconds unless a header `Prefer: wait=N` says otherwise, {changes.LONGEST_WAIT} at most",
        f"Nothing for {changes.KEEP_ALIVE:g} seconds brings a comment",
        f"objects of more than {MOST_FIELDS} members, and what lies deeper than {DEEPEST} levels",
        f"A text of more than {LONGEST_CELL:,} characters",
        f"After {MOST_ROWS:,} rows a further sheet begins",
        f"is cut there after {LONGEST} bytes",
        f"{MOST_REJECTS:,} lines of a task are kept",
        f"is wrong, as in [errors](errors.md), as of the upload or the last replay; at most {MOST_OF_LINE}",
        f"its first {LONGEST_TEXT >> 10} KiB",
        f"[`HEADWATER_RETENTION_DAYS`](settings.md), {Settings().retention_days:g} unless set",
    ],
)
def test_numbers_are_those_of_the_code(sentence):
    assert sentence in " ".join(PAGE.split())
