"""The commands of a server: serve, migrate, compact, purge, keys.

The command line itself is the client's; it loads these by the entry points in ``pyproject.toml``.
"""

import asyncio
import re
import socket
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer
from rich.console import Console
from rich.table import Column, Table

from headwater import logs, preparation, telemetry
from headwater.catalog import keys as key_catalog
from headwater.catalog import migrate as migrations
from headwater.catalog.audit import Doer, done_by
from headwater.catalog.database import Database
from headwater.catalog.keys import Scope
from headwater.catalog.transaction import Transaction
from headwater.domain.errors import HeadwaterError
from headwater.domain.task import Origin
from headwater.settings import Settings, SettingsWrong

if TYPE_CHECKING:  # imported where they are used: 'headwater keys list' need not wait for them
    from headwater.lake.engine import Engine
    from headwater.lake.store import LocalStore

T = TypeVar("T")

app = typer.Typer(
    name="headwater",
    help="The ingestion backend for external crawlers.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
keys = typer.Typer(help="API keys: create, list, revoke.", no_args_is_help=True)
app.add_typer(keys, name="keys")

Data = Annotated[Path | None, typer.Option(help="Data directory.", show_default="./headwater-data")]


@app.command()
def serve(
    data: Data = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.", show_default="8080")] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes that answer; one a core uses all cores.", show_default="1")
    ] = None,
) -> None:
    """Serve the API and start crawlers' tasks."""
    settings = _settings(data=data, host=host, port=port, workers=workers)
    logs.set_up(form=settings.log_format, level=settings.log_level)
    # The port first, so that a second start by mistake touches nothing.
    with _listen(settings.host, settings.port) as listening:
        try:
            preparation.prepare(settings, at=_now())
            telemetry.is_wanted(settings.otlp_endpoint)
        except (preparation.NotReady, telemetry.TelemetryMissing) as error:
            _fail(str(error))
        sys.exit(_serve(settings, listening))


def _serve(settings: Settings, listening: socket.socket) -> int:
    # Imported here: 'headwater keys list' need not wait for a web server.
    if settings.workers > 1:
        from headwater import workers  # noqa: PLC0415

        return workers.Workers(settings, listening).run()
    from headwater import serving  # noqa: PLC0415

    return serving.serve(settings, listening)


def _listen(host: str, port: int) -> socket.socket:
    """Take the port before anything else is begun, so that one that is taken is told in one line."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        _fail(f"cannot listen on {host}, port {port}: {error.strerror}; --port chooses another")
    return listening


@app.command()
def migrate(data: Data = None) -> None:
    """Bring the database to the present schema."""
    settings = _settings(data=data)
    try:
        before = preparation.present_version(settings)
    except preparation.NotReady as error:
        _fail(str(error))
    after = migrations.upgrade(settings.catalog_url)
    typer.echo(f"The database was at version {before or 'none'} and is at {after}.")


@app.command()
def compact(data: Data = None) -> None:
    """Merge the segments of all tasks that have ended, now.

    A server does so by itself.
    """
    from headwater.streams.compaction import Compaction  # noqa: PLC0415 - see _serve
    from headwater.streams.retention import Retention  # noqa: PLC0415

    async def work(db: Database, store: "LocalStore", engine: "Engine") -> str:
        compaction = Compaction(db, engine, store, clock=_now)
        attempts = 0
        while done := await compaction.turn():
            attempts += done
        deleted = await Retention(db, store, keep=timedelta(0), clock=_now).delete_garbage(at=_now())
        return f"Compacted {_many(attempts, 'attempt')} of tasks; deleted {_many(deleted, 'file')} merged earlier."

    _on_lake(data, work)


@app.command()
def purge(
    older_than: Annotated[
        str,
        typer.Option(help="How long ago streams stopped showing it: 30d, 12h, 0.", metavar="AGE"),
    ],
    data: Data = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,  # noqa: FBT002 - a flag
) -> None:
    """Delete for good what no stream has shown for a time.

    That is deleted tasks, replaced attempts, former versions of documents. The files are deleted at once, also under
    somebody who is reading a former version of a stream.
    """
    from headwater.streams.retention import Retention  # noqa: PLC0415 - see _serve

    age = _age(older_than)
    if not yes:
        _confirm(f"Nothing brings back what no stream has shown for {older_than}. Go on?")

    async def work(db: Database, store: "LocalStore", _engine: "Engine") -> str:
        retention = Retention(db, store, keep=age, clock=_now)
        at = _now()
        with done_by(_here("purge", older_than=older_than)):
            purged = await retention.purge(before=at - age, at=at, leave=timedelta(0))
        deleted = await retention.delete_garbage(at=at)
        return f"Purged {_many(purged.docs, 'document version')}; deleted {_many(deleted, 'file')}."

    _on_lake(data, work)


def _confirm(question: str) -> None:
    if not typer.confirm(question, err=True):
        raise typer.Exit(1)


_UNITS = {"": "seconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def _age(text: str) -> timedelta:
    found = re.fullmatch(r"(\d{1,6})([smhd]?)", text.strip())
    if found is None or (not found[2] and int(found[1])):
        _fail(f"--older-than {text!r} is no age: give a number and s, m, h or d, such as 30d, or 0")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def _many(number: int, thing: str) -> str:
    return f"{number} {thing if number == 1 else thing + 's'}"


def _on_lake(data: Path | None, work: "Callable[[Database, LocalStore, Engine], Awaitable[str]]") -> None:
    """Do something with catalog and lake, beside a server that runs or without one, and say what it came to."""
    from headwater import app as application  # noqa: PLC0415 - see _serve

    async def do() -> str:
        with application.opened(settings) as (db, store, engine):
            return await work(db, store, engine)

    settings = _settings(data=data)
    try:
        preparation.prepare_catalog(settings)
        typer.echo(asyncio.run(do()))
    except (preparation.NotReady, HeadwaterError) as error:
        _fail(str(error))


def _now() -> datetime:
    return datetime.now(UTC)


@keys.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="Whose key it is, or what for.")],
    scope: Annotated[list[Scope] | None, typer.Option(help="What it may do; repeatable.", show_default="read")] = None,
    data: Data = None,
) -> None:
    """Make a key and print it; it cannot be shown again."""
    key, secret = _on_catalog(
        data,
        lambda tx, at: key_catalog.add(tx, name=name, scopes=tuple(scope or [Scope.READ]), at=at),
        named="create_key",
    )
    typer.echo(f"{key.fid} {key.name} ({', '.join(key.scopes)})", err=True)
    typer.echo(secret)


@keys.command("list")
def list_keys(data: Data = None) -> None:
    """List the keys, oldest first; their secrets are not stored."""
    fid = Column("fid", no_wrap=True, min_width=32)  # to be copied, so never shortened
    table = Table(fid, "name", "scopes", "created", "revoked", box=None)
    for key in _on_catalog(data, lambda tx, _at: key_catalog.listed(tx)):
        revoked = "" if key.revoked_at is None else f"{key.revoked_at:%Y-%m-%d %H:%M}"
        table.add_row(key.fid, key.name, ", ".join(key.scopes), f"{key.created_at:%Y-%m-%d %H:%M}", revoked)
    Console().print(table)


@keys.command("revoke")
def revoke_key(fid: Annotated[str, typer.Argument(help="The key's fid.")], data: Data = None) -> None:
    """End a key at once."""
    _on_catalog(data, lambda tx, at: key_catalog.revoke(tx, fid, at=at), named="revoke_key")
    typer.echo(f"Key {fid} is revoked.")


def _here(action: str, **detail: Any) -> Doer:
    """Return who does something at the keyboard of the server."""
    return Doer(clock=_now, name="cli", origin=Origin.CLI, action=action, detail=detail)


def _on_catalog(data: Path | None, action: Callable[[Transaction, datetime], T], *, named: str | None = None) -> T:
    """Do something with the catalog; ``named`` is what the audit calls it, None for what changes nothing."""
    settings = _settings(data=data)
    try:
        preparation.prepare_catalog(settings)
        db = Database(settings.catalog_url, readers=1, writers=1)
        try:
            with done_by(None if named is None else _here(named)):
                return asyncio.run(db.write(action, _now()))
        finally:
            db.close()
    except (preparation.NotReady, HeadwaterError) as error:
        _fail(str(error))


def _settings(**given: Any) -> Settings:
    # What a command says is its output; of what happens inside, only what went wrong. A server says more.
    logs.set_up(form="auto", level="warning")
    try:
        return Settings.read(**{name: value for name, value in given.items() if value is not None})
    except SettingsWrong as error:
        _fail(str(error))


def _fail(why: str) -> NoReturn:
    typer.echo(f"headwater: {why}", err=True)
    raise typer.Exit(1)
