"""The command line: serve, migrate, keys."""

import asyncio
import socket
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from rich.console import Console
from rich.table import Column, Table

from headwater.catalog import keys as key_catalog
from headwater.catalog import migrate as migrations
from headwater.catalog.database import Database, Transaction
from headwater.catalog.keys import Scope
from headwater.domain.errors import HeadwaterError
from headwater.settings import Settings, SettingsWrong

T = TypeVar("T")

app = typer.Typer(
    name="headwater",
    help="The ingestion backend for external crawlers.",
    no_args_is_help=True,
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
) -> None:
    """Serve the API and start crawlers' tasks, in one process."""
    # Imported here: 'headwater keys list' need not wait for a web server.
    import uvicorn  # noqa: PLC0415

    from headwater import app as application  # noqa: PLC0415
    from headwater import logs  # noqa: PLC0415

    settings = _settings(data=data, host=host, port=port)
    logs.set_up(form=settings.log_format, level=settings.log_level)
    try:
        application.prepare_catalog(settings)
        application.secret_key(settings)
    except application.NotReady as error:
        _fail(str(error))
    listening = _listen(settings.host, settings.port)
    config = uvicorn.Config(
        application.create_app(settings),
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=30,
    )
    server = uvicorn.Server(config)
    server.run(sockets=[listening])
    if not server.started:
        sys.exit(1)


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
    from headwater import app as application  # noqa: PLC0415 - see serve

    settings = _settings(data=data)
    try:
        before = application.present_version(settings)
    except application.NotReady as error:
        _fail(str(error))
    after = migrations.upgrade(settings.catalog_url)
    typer.echo(f"The database was at version {before or 'none'} and is at {after}.")


@keys.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="Whose key it is, or what for.")],
    scope: Annotated[list[Scope] | None, typer.Option(help="What it may do; repeatable.", show_default="read")] = None,
    data: Data = None,
) -> None:
    """Make a key and print it; it cannot be shown again."""
    key, secret = _on_catalog(
        data, lambda tx, at: key_catalog.add(tx, name=name, scopes=tuple(scope or [Scope.READ]), at=at)
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
    _on_catalog(data, lambda tx, at: key_catalog.revoke(tx, fid, at=at))
    typer.echo(f"Key {fid} is revoked.")


def _on_catalog(data: Path | None, action: Callable[[Transaction, datetime], T]) -> T:
    from headwater import app as application  # noqa: PLC0415 - see serve

    settings = _settings(data=data)
    try:
        application.prepare_catalog(settings)
        db = Database(settings.catalog_url, readers=1, writers=1)
        try:
            return asyncio.run(db.write(action, application.now()))
        finally:
            db.close()
    except (application.NotReady, HeadwaterError) as error:
        _fail(str(error))


def _settings(**given: Any) -> Settings:
    try:
        return Settings.read(**{name: value for name, value in given.items() if value is not None})
    except SettingsWrong as error:
        _fail(str(error))


def _fail(why: str) -> NoReturn:
    typer.echo(f"headwater: {why}", err=True)
    raise typer.Exit(1)


def main() -> None:
    """Run the command line."""
    app()
