"""What a server stands on, made at its first start: a migrated catalog, the secret key, the first API key."""

import asyncio
import contextlib
import os
from datetime import datetime
from pathlib import Path

from headwater.catalog import keys, migrate
from headwater.catalog.audit import Doer, done_by
from headwater.catalog.database import Database
from headwater.catalog.keys import Scope
from headwater.catalog.migrate import DatabaseAway
from headwater.catalog.vault import new_secret
from headwater.domain.task import Origin
from headwater.settings import Settings


class NotReady(Exception):
    """Headwater cannot start as it is set up."""


def prepare(settings: Settings, *, at: datetime) -> None:
    """Make what is not there yet; any number of processes may do so at once.

    Raises:
        NotReady: the settings do not suffice, or the database is not migrated.
    """
    prepare_catalog(settings)
    secret_key(settings)
    _make_admin_key(settings, at=at)


def prepare_catalog(settings: Settings) -> None:
    """Migrate an embedded catalog; see that another one is migrated.

    Raises:
        NotReady: it is not.
    """
    present, newest = present_version(settings), migrate.newest()
    if present == newest:
        return
    if present is not None and present > newest:
        raise NotReady(f"the database is at version {present}, made by a newer Headwater; this one knows {newest}")
    if not settings.is_embedded:
        raise NotReady(f"the database is at version {present or 'none'}, not {newest}; run 'headwater migrate'")
    migrate.upgrade(settings.catalog_url)


def present_version(settings: Settings) -> str | None:
    """Return the version of the catalog's schema, None if it has none yet.

    Raises:
        NotReady: data directory or database cannot be reached.
    """
    try:
        settings.data.mkdir(parents=True, exist_ok=True)
        return migrate.present(settings.catalog_url)
    except OSError as error:
        raise NotReady(f"the data directory {settings.data} cannot be used: {error.strerror}") from error
    except DatabaseAway as error:
        raise NotReady(str(error)) from error


def secret_key(settings: Settings) -> str:
    """Return the secret key, making one at the first start of an embedded server.

    Raises:
        NotReady: there is none, and the catalog is not ours to make one for.
    """
    if settings.secret_key is not None:
        return settings.secret_key.get_secret_value()
    file = settings.data / "secret.key"
    if not file.exists():
        if not settings.is_embedded:
            raise NotReady(
                "HEADWATER_SECRET_KEY is not set; make one with "
                "python3 -c 'import secrets; print(secrets.token_urlsafe(32))' and give it to every process"
            )
        with contextlib.suppress(FileExistsError):  # another process that starts was first
            write_private(file, new_secret())
    return file.read_text().strip()


def write_private(file: Path, text: str) -> None:
    """Write a new file that only its owner can read, whole or not at all.

    Raises:
        FileExistsError: it is there already.
    """
    staged = file.with_name(f"{file.name}.{os.getpid()}")
    handle = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as opened:
        opened.write(text + "\n")
        opened.flush()
        os.fsync(handle)
    try:
        os.link(staged, file)
    finally:
        staged.unlink()


def _make_admin_key(settings: Settings, *, at: datetime) -> None:
    """Make the first key of an embedded server, and say it once."""
    if not settings.is_embedded:
        return
    db = Database(settings.catalog_url, readers=1, writers=1)
    try:
        first = asyncio.run(_first_key(db, at))
    finally:
        db.close()
    if first is None:
        return
    _, secret = first
    file = settings.data / "admin.key"
    file.unlink(missing_ok=True)
    write_private(file, secret)
    # On the terminal, not in the log: logs are kept and shipped.
    print(f"The admin key, also in {file}: {secret}", flush=True)  # noqa: T201


async def _first_key(db: Database, at: datetime) -> tuple[keys.Key, str] | None:
    if await db.read(keys.are_there):  # nearly always: no need to wait for others' writes
        return None
    with done_by(Doer(clock=lambda: at, name="first start", origin=Origin.CLI, action="create_key")):
        return await db.write(keys.add_first, name="admin", scopes=(Scope.ADMIN,), at=at)
