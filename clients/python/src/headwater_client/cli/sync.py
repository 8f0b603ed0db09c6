"""``headwater sync``."""

# ruff: noqa: PLC0415 - commands import what they need, so that help need not wait for it

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headwater_client.cli import options
from headwater_client.cli.errors import CliError, ExitCode
from headwater_client.cli.options import group

if TYPE_CHECKING:
    from headwater_client.headwater import Headwater
    from headwater_client.sync_marks import Mark

app = group("Keep a table of a database equal to a stream.")

Database = Annotated[
    str,
    typer.Argument(
        metavar="DATABASE",
        envvar="HEADWATER_SYNC_URL",
        show_envvar=False,
        help="postgresql://user:password@host/name, duckdb:///file.duckdb, sqlite:///file.sqlite, snowflake://…",
    ),
]
Table = Annotated[
    str | None, typer.Option("--table", metavar="NAME", help="The table; the stream's name unless given.")
]
Dataset = Annotated[str, typer.Option("--dataset", metavar="NAME", help="The schema of the table.")]
Full = Annotated[bool, typer.Option("--full", help="Load all documents anew.")]
Every = Annotated[
    float | None,
    typer.Option("--every", metavar="SECONDS", min=1, help="Go on, and look again after so many.", show_default=False),
]
Folder = Annotated[
    Path | None,
    typer.Option("--folder", metavar="PATH", help="Where it keeps what it works on.", show_default=False),
]


@app.command()
def sync(
    stream: options.Stream,
    database: Database,
    *,
    table: Table = None,
    dataset: Dataset = "headwater",
    full: Full = False,
    every: Every = None,
    folder: Folder = None,
    url: options.Url = None,
    as_json: options.InJson = False,
) -> None:
    """Keep a table of a database equal to a stream.

    dlt loads it whole the first time, and later the changes since: documents of deleted runs are deleted there, too. If
    it is killed, run it again. Columns are _id, _task, a column for each field of the schema that has one simple type,
    and _document, all of it as JSON.

    A URL with a password is better kept in HEADWATER_SYNC_URL than in the command, which others on the machine see.
    """
    from headwater_client.cli import access, lookup

    with access.connected(url) as headwater:
        fid = lookup.stream(headwater, stream).fid
        target = _Target(stream=fid, database=database, table=table, dataset=dataset, folder=folder or _folder())
        while True:
            _once(headwater, target, full=full, as_json=as_json)
            if every is None:
                return
            full = False
            time.sleep(every)


@dataclass(frozen=True, kw_only=True)
class _Target:
    """The table to keep equal to a stream."""

    stream: str
    database: str
    table: str | None
    dataset: str
    folder: Path


def _once(headwater: "Headwater", target: _Target, *, full: bool, as_json: bool) -> None:
    from headwater_client.cli import output
    from headwater_client.sync_marks import MarkFile

    began = time.monotonic()
    file = MarkFile.of(
        target.folder, stream=target.stream, url=target.database, table=target.table, dataset=target.dataset
    )
    mark = None if full else file.read()
    if mark is not None and _is_current(headwater, target.stream, mark):
        version, name, rows = mark.version, mark.table, 0
    else:
        version, name, rows = _loaded(headwater, target, full=full)
    if as_json:
        output.answer_json({"stream": target.stream, "version": version, "table": name, "rows": rows})
    else:
        took = time.monotonic() - began
        typer.echo(f"{name} equals version {version}: {rows:,} row{'s' * (rows != 1)} in {took:.1f} s.")


def _is_current(headwater: "Headwater", stream: str, mark: "Mark") -> bool:
    """Return whether there is nothing to load; without dlt, whose import takes a second."""
    if headwater.streams.get(stream).stream_version != mark.version:
        return False
    crawler = next(headwater.crawlers.list(stream=stream), None)
    external = None if crawler is None else headwater.externals.get(crawler.external)
    return mark.external == ("" if external is None else f"{external.fid} {external.version}")


def _loaded(headwater: "Headwater", target: _Target, *, full: bool) -> tuple[int, str, int]:
    try:
        from dlt.pipeline.exceptions import PipelineStepFailed

        from headwater_client.dlt import sync as load
        from headwater_client.dlt.destinations import UnknownDestination
    except ImportError as error:
        raise CliError(f"sync needs headwater-client with its extra 'dlt' ({error})", code=ExitCode.USAGE) from error
    try:
        done = load(
            headwater,
            target.stream,
            target.database,
            folder=target.folder,
            table=target.table,
            dataset=target.dataset,
            is_full=full,
        )
    except UnknownDestination as error:
        raise CliError(str(error), code=ExitCode.USAGE) from error
    except PipelineStepFailed as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        raise CliError(f"the database was not written: {str(cause).strip() or type(cause).__name__}") from error
    return done.version, done.table, done.rows


def _folder() -> Path:
    import platformdirs

    return Path(platformdirs.user_state_path("headwater"), "sync")
