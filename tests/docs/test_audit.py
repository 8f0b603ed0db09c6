"""docs/reference/audit.md against what the audit answers."""

import re

from fastapi.routing import APIRoute

from docs_page import Page
from headwater.api.routers import audit
from headwater.api.routers.audit import AuditOut

PAGE = Page.of("docs/reference/audit.md").text


def _rows(table: str) -> set[str]:
    """The names in the first column of the table that begins so."""
    rows = PAGE.partition(f"\n| {table} |")[2].partition("\n\n")[0].splitlines()[2:]
    return {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}


def test_every_field_of_an_entry_is_told_of():
    assert _rows("field") == set(AuditOut.model_fields)


def test_every_parameter_is_told_of():
    (route,) = [route for route in audit.router.routes if isinstance(route, APIRoute)]
    assert _rows("parameter") == {field.alias for field in route.dependant.query_params}
