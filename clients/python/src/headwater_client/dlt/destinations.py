"""The destination of dlt for a database's URL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

import dlt

if TYPE_CHECKING:
    from dlt.common.destination import AnyDestination

#: By scheme: the destination of dlt, and how files are handed to it where that is faster than its own choice.
_BY_SCHEME: dict[str, tuple[str, Literal["csv", "parquet"] | None]] = {
    "postgresql": ("postgres", "csv"),
    "postgres": ("postgres", "csv"),
    "duckdb": ("duckdb", "parquet"),
    "sqlite": ("sqlalchemy", None),
    "mysql": ("sqlalchemy", None),
    "mssql": ("mssql", None),
    "snowflake": ("snowflake", None),
    "redshift": ("redshift", None),
    "clickhouse": ("clickhouse", None),
    "bigquery": ("bigquery", None),
    "databricks": ("databricks", None),
}

#: Destinations to which rows are sent as they are, so that compressed files would only be decompressed again.
_WITHOUT_COMPRESSION = {"postgres", "duckdb", "sqlalchemy"}


class UnknownDestination(ValueError):
    """The URL is of no database that is known."""


@dataclass(frozen=True)
class Target:
    """A database, as dlt writes it."""

    destination: AnyDestination
    #: The format of files in which it takes rows; None is what dlt prefers.
    file_format: Literal["csv", "parquet"] | None
    #: Whether it takes compressed files.
    is_compressed: bool
    #: The type of the column with whole documents: ``text`` where dlt would write JSON as a string within JSON.
    document_type: Literal["json", "text"]


def target_of(url: str) -> Target:
    """Return the target for a URL.

    ``duckdb:///shop.duckdb`` is a file; BigQuery and Databricks read their credentials from the variables of dlt.

    Raises:
        UnknownDestination: its scheme is not known.
    """
    scheme = urlsplit(url).scheme.partition("+")[0].lower()
    if scheme not in _BY_SCHEME:
        raise UnknownDestination(f"no database is known by {scheme or url}://; known are {', '.join(_BY_SCHEME)}")
    name, file_format = _BY_SCHEME[scheme]
    credentials: dict[str, Any] = {}
    if scheme == "duckdb":
        credentials = {"credentials": _file(url)}
    elif name == "postgres":
        credentials = {"credentials": _postgres(url)}
    elif urlsplit(url).netloc or scheme == "sqlite":
        credentials = {"credentials": url}
    return Target(
        destination=dlt.destinations.__dict__[name](**credentials),
        file_format=file_format,
        is_compressed=name not in _WITHOUT_COMPRESSION,
        document_type="text" if name == "sqlalchemy" else "json",
    )


def _postgres(url: str) -> str:
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    place = parts.netloc
    if parts.hostname is None and "host" in options:  # the folder of a socket
        place += quote(options.pop("host"), safe="")
    return urlunsplit(("postgresql", place, parts.path, urlencode(options), ""))


def _file(url: str) -> str:
    parts = urlsplit(url)
    return unquote(f"{parts.netloc}{parts.path}".removeprefix("/"))
