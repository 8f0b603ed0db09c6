"""Formats and query parameters of exports."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

#: Formats by file extension; without an extension it is NDJSON.
FORMATS = {
    "": "ndjson",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".jsonlines": "ndjson",
    ".csv": "csv",
    ".parquet": "parquet",
    ".xlsx": "xlsx",
}


def export_params(
    *,
    q: str | None = None,
    where: str | Sequence[str] | None = None,
    fields: Sequence[str] | None = None,
    document: bool = True,
    defuse: bool = False,
    bom: bool = False,
) -> dict[str, Any]:
    """Return the query parameters of an export; field names are sent as a line of CSV."""
    from headwater_client.requests import given  # noqa: PLC0415 - the command line's help need not wait for httpx

    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(fields or ())
    return given(
        q=q,
        where=[where] if isinstance(where, str) else where,
        fields=line.getvalue() or None,
        document=None if document else "false",
        defuse="true" if defuse else None,
        bom="true" if bom else None,
    )
