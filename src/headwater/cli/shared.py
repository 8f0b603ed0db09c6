"""What the server's commands share: settings, errors, the catalog, and the actor for the audit."""

# ruff: noqa: PLC0415 - commands import what they need, so that help need not wait for it

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer

if TYPE_CHECKING:
    from headwater.catalog.audit import Actor
    from headwater.catalog.core.transaction import Transaction
    from headwater.settings import Settings

T = TypeVar("T")

Data = Annotated[Path | None, typer.Option(help="Data directory.", show_default="./headwater-data")]


def many(number: int, thing: str) -> str:
    """Return a number and a noun, pluralized."""
    return f"{number} {thing if number == 1 else thing + 's'}"


def now() -> datetime:
    """Return the current time."""
    return datetime.now(UTC)


def acting_here(action: str, **detail: Any) -> "Actor":
    """Return the audit actor of a command."""
    from headwater.catalog.audit import Actor
    from headwater.domain.task import Origin

    return Actor(clock=now, name="cli", origin=Origin.CLI, action=action, detail=detail)


def on_catalog(data: Path | None, action: "Callable[[Transaction, datetime], T]", *, named: str | None = None) -> T:
    """Run an action on the catalog; ``named`` is its name in the audit, None if it changes nothing."""
    import asyncio

    from headwater import bootstrap
    from headwater.catalog.audit import acting_as
    from headwater.catalog.core.database import Database
    from headwater.domain.errors import HeadwaterError

    settings = read_settings(data=data)
    try:
        bootstrap.prepare_catalog(settings)
        make_room = bootstrap.disk_of(settings).release_ballast
        db = Database(settings.catalog_url, readers=1, writers=1, make_room=make_room)
        try:
            with acting_as(None if named is None else acting_here(named)):
                return asyncio.run(db.write(action, now()))
        finally:
            db.close()
    except (bootstrap.NotReady, HeadwaterError) as error:
        fail(str(error))


def read_settings(**given: Any) -> "Settings":
    """Read the settings, of which the command line gives some; print what is wrong with them, and exit."""
    from headwater import log_config
    from headwater.settings import Settings, SettingsWrong

    # A command prints its results; only warnings and errors are logged. A server logs more.
    log_config.set_up(form="auto", level="warning")
    # Files that libraries create from here on are private to the owner.
    os.umask(0o077)
    try:
        return Settings.read(**{name: value for name, value in given.items() if value is not None})
    except SettingsWrong as error:
        fail(str(error))


def fail(why: str) -> NoReturn:
    """Print why a command failed, and exit."""
    typer.echo(f"headwater: {why}", err=True)
    raise typer.Exit(1)
