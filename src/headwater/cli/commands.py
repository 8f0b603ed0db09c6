"""Server commands of the command line: serve, console, migrate, compact, purge, secret.

The command line itself belongs to the client; it loads these by the entry points in ``pyproject.toml``. Commands
import what they need when they run, so that the help of all commands is fast.
"""

# ruff: noqa: PLC0415

import contextlib
import gc
import re
import socket
import sys
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from headwater.cli import backups
from headwater.cli.shared import Data, acting_here, fail, many, now, read_settings

if TYPE_CHECKING:
    from headwater.catalog.core.database import Database
    from headwater.lake.engine import Engine
    from headwater.lake.store import Store
    from headwater.settings import Settings

T = TypeVar("T")

app = typer.Typer(
    name="headwater",
    help="The ingestion backend for external crawlers.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
secret = typer.Typer(help="The secret key, which seals what is confidential in the catalog.", no_args_is_help=True)
app.add_typer(secret, name="secret")
app.add_typer(backups.app)

TrustClock = Annotated[bool, typer.Option("--trust-clock", help="Purge though the clock seems to have jumped.")]
#: If the clock is further ahead of the last known server time, it may have jumped.
DOUBTFUL = timedelta(days=1)


@app.command()
def serve(
    data: Data = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.", show_default="8080")] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes that answer; set to the number of CPU cores.", show_default="1")
    ] = None,
    new_secret: Annotated[  # noqa: FBT002 - a flag
        bool, typer.Option("--new-secret", help="Go on without what another secret key has sealed.")
    ] = False,
) -> None:
    """Serve the API and start crawlers' tasks."""
    gc.disable()  # a fifth of the time of the imports; the server enables it again once it has started

    from headwater import lean_imports

    lean_imports.import_libraries()

    from headwater import bootstrap, data_lock, log_config, telemetry, tls

    settings = read_settings(data=data, host=host, port=port, workers=workers)
    log_config.set_up(form=settings.log_format, level=settings.log_level)
    log_config.protect_stderr()
    # The port first, so that an accidental second start changes nothing.
    with _listen(settings.host, settings.port) as listening, contextlib.ExitStack() as stack:
        try:
            stack.enter_context(data_lock.held(settings))
            bootstrap.announce(settings)
            bootstrap.prepare(settings, at=now(), is_secret_given_up=new_secret)
            telemetry.is_wanted(settings.otlp_endpoint)
            if settings.tls_cert is not None and settings.tls_key is not None:
                tls.Certificate(settings.tls_cert, settings.tls_key)
        except (data_lock.DataInUse, bootstrap.NotReady, telemetry.TelemetryMissing, tls.TlsWrong) as error:
            fail(str(error))
        sys.exit(_serve(settings, listening))


@app.command("console")
def console_command(
    data: Data = None,
    host: Annotated[
        str | None, typer.Option(help="Address that the server listens on.", show_default="127.0.0.1")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port that the server listens on.", show_default="8080")] = None,
    key: Annotated[
        str | None, typer.Option(help="Sign in with this key, by its fid.", show_default="the newest admin key")
    ] = None,
    print_only: Annotated[bool, typer.Option("--print", help="Print the link, and open no browser.")] = False,  # noqa: FBT002 - a flag
) -> None:
    """Open the console in a browser that is signed in.

    The link works once, within 15 minutes.
    """
    from headwater import bootstrap
    from headwater.catalog.audit import acting_as
    from headwater.domain.errors import HeadwaterError

    settings = read_settings(data=data, host=host, port=port)
    try:
        with acting_as(acting_here("create_sign_in_link")):
            name, link = bootstrap.make_console_link(settings, key=key, at=now())
    except (bootstrap.NotReady, HeadwaterError) as error:
        fail(str(error))
    typer.echo(f"Signs one browser in with the key {name!r}, once, within 15 minutes:", err=True)
    typer.echo(link)
    if not print_only and sys.stdout.isatty():
        typer.launch(link)


def _serve(settings: "Settings", listening: socket.socket) -> int:
    if settings.workers > 1:
        from headwater import supervisor

        gc.enable()
        return supervisor.Supervisor(settings, listening).run()
    from headwater import lean_imports

    lean_imports.import_server()

    from headwater import server

    return server.serve(settings, listening)


def _listen(host: str, port: int) -> socket.socket:
    """Bind the port first, so that a port in use is a one-line error."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        fail(f"cannot listen on {host}, port {port}: {error.strerror}; --port chooses another")
    return listening


@app.command()
def migrate(data: Data = None) -> None:
    """Bring the database to the present schema."""
    from headwater import bootstrap
    from headwater.catalog.core import migrate as migrations

    settings = read_settings(data=data)
    try:
        before = bootstrap.present_version(settings)
    except bootstrap.NotReady as error:
        fail(str(error))
    after = migrations.upgrade(settings.catalog_url)
    typer.echo(f"The database was at version {before or 'none'} and is at {after}.")


@app.command()
def compact(data: Data = None) -> None:
    """Merge the segments of tasks that have ended, and fold files.

    A server does so by itself.
    """
    from headwater.streams.compaction import Compaction
    from headwater.streams.folding import Folding
    from headwater.streams.retention import Retention

    async def work(db: "Database", store: "Store", engine: "Engine") -> str:
        compaction = Compaction(db, engine, store, clock=now, leaves_small=False)
        attempts = 0
        while done := await compaction.turn():
            attempts += done
        folding, folded = Folding(db, engine, store, clock=now), 0
        while done := await folding.turn():
            folded += done
        deleted = await Retention(db, store, keep=timedelta(0), clock=now).delete_garbage(at=now())
        merged = f"Compacted {many(attempts, 'attempt')} of tasks; folded {many(folded, 'time')}"
        return f"{merged}; deleted {many(deleted, 'file')} merged earlier."

    _on_lake(data, work)


@app.command()
def purge(
    older_than: Annotated[
        str,
        typer.Option(help="How long ago streams stopped showing it: 30d, 12h, 0.", metavar="AGE"),
    ],
    data: Data = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,  # noqa: FBT002 - a flag
    trust_clock: TrustClock = False,  # noqa: FBT002 - a flag
) -> None:
    """Delete for good what no stream has shown for a time.

    That is deleted tasks, replaced attempts, former versions of documents. The files are deleted at once, also under
    somebody who is reading a former version of a stream.
    """
    from headwater.catalog.audit import acting_as
    from headwater.catalog.believed_time import believed_time
    from headwater.streams.retention import Retention

    age = _age(older_than)
    if not yes:
        _confirm(f"Nothing brings back what no stream has shown for {older_than}. Go on?")

    async def work(db: "Database", store: "Store", _engine: "Engine") -> str:
        retention = Retention(db, store, keep=age, clock=now)
        at = now()
        if age and not trust_clock:
            _require_believable(at, await db.read(believed_time))
        with acting_as(acting_here("purge", older_than=older_than)):
            purged = await retention.purge(before=at - age, at=at, leave=timedelta(0))
        deleted = await retention.delete_garbage(at=at)
        return f"Purged {many(purged.docs, 'document version')}; deleted {many(deleted, 'file')}."

    _on_lake(data, work)


def _require_believable(at: datetime, believed: datetime | None) -> None:
    if believed is not None and at - believed > DOUBTFUL:
        fail(
            f"the clock says {at:%Y-%m-%d %H:%M} UTC, and by the last server's it should be {believed:%Y-%m-%d %H:%M}: "
            "nothing was purged. If the clock is right, the server was off for long; --trust-clock purges then"
        )


def _confirm(question: str) -> None:
    if not typer.confirm(question, err=True):
        raise typer.Exit(1)


_UNITS = {"": "seconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def _age(text: str) -> timedelta:
    found = re.fullmatch(r"(\d{1,6})([smhd]?)", text.strip())
    if found is None or (not found[2] and int(found[1])):
        fail(f"--older-than {text!r} is no age: give a number and s, m, h or d, such as 30d, or 0")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def _on_lake(data: Path | None, work: "Callable[[Database, Store, Engine], Awaitable[str]]") -> None:
    """Run work on catalog and lake, with or without a running server, and print its result."""
    import asyncio

    from headwater import app as application
    from headwater import bootstrap
    from headwater.domain.errors import HeadwaterError

    async def do() -> str:
        with application.opened(settings) as (db, store, engine):
            return await work(db, store, engine)

    settings = read_settings(data=data)
    try:
        bootstrap.prepare_catalog(settings)
        typer.echo(asyncio.run(do()))
    except (bootstrap.NotReady, HeadwaterError) as error:
        fail(str(error))


@secret.command("rotate")
def rotate_secret(
    new_key: Annotated[
        Path | None,
        typer.Option(help="File with the new key; needed if HEADWATER_SECRET_KEY is set.", show_default="made"),
    ] = None,
    data: Data = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,  # noqa: FBT002 - a flag
) -> None:
    """Seal what is confidential with a new secret key.

    Stop the server before: it would go on with the former key. The tokens of open tasks end with that: their crawlers
    are refused, and the tasks time out.
    """
    from headwater import bootstrap
    from headwater.catalog.audit import acting_as
    from headwater.catalog.vault import SHORTEST_SECRET
    from headwater.domain.errors import HeadwaterError

    settings = read_settings(data=data)
    if not yes:
        _confirm("Is the server stopped, and may the tokens of open tasks end?")
    try:
        given = None if new_key is None else new_key.read_text().strip()
        if given is not None and len(given) < SHORTEST_SECRET:
            fail(f"{new_key} holds fewer than {SHORTEST_SECRET} characters")
        with acting_as(acting_here("rotate_secret")):
            count = bootstrap.rotate_secret(settings, given)
    except OSError as error:
        fail(f"{new_key} cannot be read: {error.strerror}")
    except (bootstrap.NotReady, HeadwaterError) as error:
        fail(str(error))
    typer.echo(f"{many(count, 'value')} sealed anew.")
    if settings.secret_key is not None:
        typer.echo("Set HEADWATER_SECRET_KEY to the new key before the next start.", err=True)
