"""First start of a server: migrated catalog, secret key, first API key."""

import asyncio
import contextlib
import os
import stat
import sys
import tempfile
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog

from headwater.catalog import intended_files, keys, lake_place, sealing, sign_in_links
from headwater.catalog.audit import Actor, acting_as
from headwater.catalog.core import migrate
from headwater.catalog.core.database import Database
from headwater.catalog.core.migrate import DatabaseAway
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.vault import SHORTEST_SECRET, Vault, new_secret
from headwater.domain.scope import Scope
from headwater.domain.task import Origin
from headwater.lake.disk import Disk
from headwater.lake.scratch import scratch_folder
from headwater.lake.store import LocalStore, Store
from headwater.settings import Settings

log = structlog.get_logger(__name__)

_GROUP_MAY_READ = 0o750

SECRET_FILE = "secret.key"  # noqa: S105 - its name
#: The staged secret key of a rotation in progress.
NEXT_SECRET_FILE = "secret.key.next"  # noqa: S105 - its name
ADMIN_FILE = "admin.key"
#: How long the link of the first start is valid.
FIRST_LINK = timedelta(days=1)

_LAST_RESORT = (
    "or, if it is lost for good, start once with --new-secret, which gives up what was sealed: passwords, credentials, "
    "logins, the values of headers, the secrets of webhooks"
)


#: The lake in the data directory, and the cache of one in an object store.
LAKE = "lake"
CACHE = "cache"


class NotReady(Exception):
    """Headwater cannot start with this configuration."""


def prepare(settings: Settings, *, at: datetime, is_secret_given_up: bool = False) -> None:
    """Create what is missing; safe to run in any number of processes at once.

    Args:
        settings: the settings.
        at: now.
        is_secret_given_up: whether to accept another secret key and discard what the former one has sealed.

    Raises:
        NotReady: a required setting is missing, the database is not migrated, or the secret key does not match.
    """
    prepare_catalog(settings)
    _prepare_lake(settings)
    prepare_secret(settings, at=at, is_given_up=is_secret_given_up)
    _make_admin_key(settings, at=at)
    with contextlib.suppress(OSError):  # no space for the ballast, or the file system does not support it
        disk_of(settings).look()


def prepare_catalog(settings: Settings) -> None:
    """Migrate an embedded catalog; check that an external one is migrated.

    Raises:
        NotReady: it is not migrated.
    """
    present, newest = present_version(settings), migrate.newest()
    if present == newest:
        return
    if present is not None and present > newest:
        raise NotReady(f"the database is at version {present}, made by a newer Headwater; this one knows {newest}")
    if not settings.is_embedded:
        raise NotReady(f"the database is at version {present or 'none'}, not {newest}; run 'headwater migrate'")
    after = migrate.upgrade(settings.catalog_url)
    log.info("catalog.migrated", before=present, after=after)


def _prepare_lake(settings: Settings) -> None:
    """Settle where the lake of a new catalog is, and check that an object store can be written."""
    with opened_catalog(settings) as db:
        if db.read_blocking(lake_place.find) is None:  # skip the write lock
            asyncio.run(db.write(lake_place.settle, settings.lake_url))
        with opened_store(settings, db):
            pass


def record_lake_place(settings: Settings) -> None:
    """Record that the files of a catalog that was put back are where the settings say; it may be of an older release.

    Raises:
        DatabaseAway: the database does not answer.
    """
    if settings.lake_url is not None:
        migrate.upgrade(settings.catalog_url)
    if migrate.present(settings.catalog_url) == migrate.newest():
        with opened_catalog(settings) as db:
            asyncio.run(db.write(lake_place.move, settings.lake_url))


@contextlib.contextmanager
def opened_store(settings: Settings, db: Database | None) -> Generator[Store]:
    """Open the store of the lake's files; without a catalog ``db``, it is not asked whether this is its lake.

    Raises:
        NotReady: the catalog's files are elsewhere, or the object store cannot be used.
    """
    found = None if db is None else db.read_blocking(lake_place.find)
    if found is not None and found[0] != settings.lake_url:
        raise NotReady(
            f"the catalog's documents are in {found[0] or 'a data directory'}, and the setting lake_url names "
            f"{settings.lake_url or 'none'}: set it to where they are. To move them, back up and restore "
            "(docs/how-to/object-store.md)"
        )
    if settings.lake_url is None:
        yield LocalStore(settings.data / LAKE)
        return
    with _object_store(settings, settings.lake_url, db) as store:
        yield store


@contextlib.contextmanager
def opened_store_to_back_up(settings: Settings) -> Generator[Store]:
    """Open the store of a catalog that may not be migrated yet: it is backed up before.

    Raises:
        NotReady: the catalog's files are elsewhere, or the object store cannot be used.
        DatabaseAway: the database does not answer.
    """
    is_there = not settings.is_embedded or (settings.data / "catalog.sqlite").exists()
    if is_there and migrate.present(settings.catalog_url) == migrate.newest():
        with opened_catalog(settings) as db, opened_store(settings, db) as store:
            yield store
    else:
        with opened_store(settings, None) as store:
            yield store


@contextlib.contextmanager
def _object_store(settings: Settings, url: str, db: Database | None) -> Generator[Store]:
    from headwater.lake.object_store import ObjectStore, connected  # noqa: PLC0415 - a lake in a data directory needs none

    def intends(path: str) -> None:
        if db is not None:
            asyncio.run(db.write(intended_files.add, path, at=datetime.now(UTC)))

    folder = settings.data.resolve() / CACHE
    try:
        client = connected(url)
    except ValueError as error:
        raise NotReady(f"the setting lake_url: {error}") from error
    with scratch_folder(folder / "held") as held:
        store = ObjectStore(
            client,
            folder,
            held,
            most_cached=settings.lake_cache,
            reserve=2 * disk_of(settings).reserve,
            intends=intends,
            name=url,
        )
        with contextlib.closing(store):
            try:
                store.prepare()
            except OSError as error:
                raise NotReady(f"the lake cannot be used: {error.strerror}") from error
            yield store


def present_version(settings: Settings) -> str | None:
    """Return the version of the catalog's schema; None if it is empty.

    Raises:
        NotReady: the data directory or the database cannot be accessed.
    """
    try:
        make_private(settings.data)
        disk_of(settings).make_ready()
        if settings.is_embedded:  # SQLite gives its auxiliary files the mode of the database file
            os.close(os.open(settings.data / "catalog.sqlite", os.O_RDONLY | os.O_CREAT, 0o600))
        return migrate.present(settings.catalog_url)
    except OSError as error:
        raise NotReady(f"the data directory {settings.data} cannot be used: {error.strerror}") from error
    except DatabaseAway as error:
        raise NotReady(str(error)) from error


def prepare_secret(settings: Settings, *, at: datetime, is_given_up: bool = False) -> None:
    """Check that the secret key matches the catalog; with ``is_given_up``, discard what another key has sealed.

    Raises:
        NotReady: there is no key, or it does not match.
    """
    with opened_catalog(settings) as db:
        _finish_rotation(settings, db)
        present = _present_key(settings, is_given_up=is_given_up)
        vault = Vault(present or _new_key(settings, db, is_given_up=is_given_up))
        if db.read_blocking(sealing.check_value) == vault.check_value:
            return  # the usual case: skip the write lock
        actor = Actor(clock=lambda: at, name="cli", origin=Origin.CLI, action="give_up_secret")
        with acting_as(actor if is_given_up else None):
            asyncio.run(db.write(_check, vault, settings, at=at, is_given_up=is_given_up))


def _check(tx: Transaction, vault: Vault, settings: Settings, *, at: datetime, is_given_up: bool) -> None:
    if not sealing.is_ours(tx, vault):
        if not is_given_up:
            raise NotReady(
                f"the secret key ({_place(settings)}) is not the one that sealed what the catalog holds: put the right "
                f"one back, {_LAST_RESORT}"
            )
        sealing.give_up(tx, vault, at=at)
    elif sealing.check_value(tx) is None:  # the first start, or the first one of a version with check values
        sealing.seal_headers(tx, vault)
        sealing.keep_check_value(tx, vault)


def secret_key(settings: Settings) -> str:
    """Return the secret key; an embedded server creates it at its first start.

    Raises:
        NotReady: there is none, and the catalog is external or contains values sealed with a lost key.
    """
    present = _present_key(settings)
    if present is not None:
        return present
    if not settings.is_embedded or migrate.present(settings.catalog_url) != migrate.newest():
        return _new_key(settings, None)
    with opened_catalog(settings) as db:
        return _new_key(settings, db)


def _present_key(settings: Settings, *, is_given_up: bool = False) -> str | None:
    if settings.secret_key is not None:
        return settings.secret_key.get_secret_value()
    file = settings.data / SECRET_FILE
    try:
        found = file.read_text().strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise NotReady(f"the secret key {file} cannot be read: {error.strerror}") from error
    if len(found) < SHORTEST_SECRET:
        if is_given_up:
            file.unlink()
            return None
        raise NotReady(f"the secret key {file} is damaged: put it back from a backup, {_LAST_RESORT}")
    return found


def _new_key(settings: Settings, db: Database | None, *, is_given_up: bool = False) -> str:
    if not settings.is_embedded:
        raise NotReady(
            "HEADWATER_SECRET_KEY is not set; make one with "
            "python3 -c 'import secrets; print(secrets.token_urlsafe(32))' and give it to every process"
        )
    file = settings.data / SECRET_FILE
    if db is not None and not is_given_up and not db.read_blocking(sealing.is_ours, None):
        raise NotReady(
            f"the secret key {file} is gone, and the catalog holds what was sealed with it: put it back, {_LAST_RESORT}"
        )
    with contextlib.suppress(FileExistsError):  # another starting process was faster
        write_private(file, new_secret())
    return file.read_text().strip()


def disk_of(settings: Settings) -> Disk:
    """Return the disk of the data directory; with a ballast file if the catalog is on it."""
    return Disk(settings.data, reserve=settings.disk_reserve, ballast=settings.is_embedded)


def make_private(folder: Path) -> None:
    """Create the data directory, and remove other users' access; a mode of 0750 is kept, for a group of readers.

    Raises:
        OSError: it cannot be created.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & ~_GROUP_MAY_READ:
        _close_to_others(folder, 0o700)
    allowed = 0o640 if mode == _GROUP_MAY_READ else 0o600
    for file in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # a write-ahead log may vanish
            if file.is_file() and stat.S_IMODE(file.stat().st_mode) & ~allowed:
                _close_to_others(file, 0o600)


def _close_to_others(path: Path, mode: int) -> None:
    try:
        path.chmod(mode)
    except OSError as error:  # owned by another user
        log.warning("data.open_to_others", path=str(path), why=error.strerror)


def _place(settings: Settings) -> str:
    return "HEADWATER_SECRET_KEY" if settings.secret_key is not None else str(settings.data / SECRET_FILE)


def rotate_secret(settings: Settings, new: str | None) -> int:
    """Seal everything with a new secret key, generated unless given; return the number of sealed values.

    No server may run meanwhile: it would continue with the former key.

    Raises:
        NotReady: the present key is missing or wrong, or a new one must be given.
    """
    prepare_catalog(settings)
    staged = settings.data / NEXT_SECRET_FILE
    with opened_catalog(settings) as db:
        _finish_rotation(settings, db)
        present = _present_key(settings)
        if present is None:
            raise NotReady("there is no secret key yet, and nothing that is sealed with one")
        old = Vault(present)
        if not db.read_blocking(sealing.is_ours, old):
            raise NotReady(f"the secret key ({_place(settings)}) is not the one that sealed what the catalog holds")
        if settings.secret_key is not None and new is None:
            raise NotReady("HEADWATER_SECRET_KEY is a setting: give the new one too, --new-key FILE, and set it then")
        replacement = new or new_secret()
        if settings.secret_key is None:
            # Safe to interrupt from here on: the catalog's check value decides which of the two files is valid.
            staged.unlink(missing_ok=True)
            write_private(staged, replacement)
        count = asyncio.run(db.write(sealing.seal_anew, old, Vault(replacement)))
        _finish_rotation(settings, db)
        return count


def _finish_rotation(settings: Settings, db: Database) -> None:
    """Replace the secret key with the staged one if the catalog is already sealed with that."""
    staged = settings.data / NEXT_SECRET_FILE
    if settings.secret_key is not None or not staged.exists():
        return
    with contextlib.suppress(FileNotFoundError, ValueError):  # another process was faster, or the file is incomplete
        if Vault(staged.read_text().strip()).check_value == db.read_blocking(sealing.check_value):
            staged.replace(settings.data / SECRET_FILE)
            _flush(settings.data)


@contextlib.contextmanager
def opened_catalog(settings: Settings) -> Generator[Database]:
    """Open the catalog for a few queries and changes."""
    db = Database(settings.catalog_url, readers=1, writers=1, make_room=disk_of(settings).release_ballast)
    try:
        yield db
    finally:
        db.close()


def write_private(file: Path, text: str) -> None:
    """Write a new file that only its owner can read, atomically.

    Raises:
        FileExistsError: it exists already.
    """
    # A unique name: a killed process may have had the same pid, as is usual in containers.
    handle, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)  # readable by the owner only
    staged = Path(name)
    try:
        with os.fdopen(handle, "w") as opened:
            opened.write(text + "\n")
            opened.flush()
            os.fsync(handle)
        os.link(staged, file)
    finally:
        staged.unlink()
    _flush(file.parent)


def _flush(folder: Path) -> None:
    """Sync a directory, so that renames in it are durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_admin_key(settings: Settings, *, at: datetime) -> tuple[Path, str]:
    """Create another admin key, store it in ``admin.key``, and return both."""
    prepare_catalog(settings)
    with opened_catalog(settings) as db:
        _, secret = asyncio.run(db.write(keys.add, name="admin", scopes=(Scope.ADMIN,), at=at))
    file = settings.data / ADMIN_FILE
    file.unlink(missing_ok=True)
    write_private(file, secret)
    return file, secret


def _make_admin_key(settings: Settings, *, at: datetime) -> None:
    """Create the first key of an embedded server, and print it once."""
    if not settings.is_embedded:
        return
    with opened_catalog(settings) as db:
        first = asyncio.run(_first_key(db, at))
        if first is None:
            return
        key, secret = first
        token = asyncio.run(db.write(sign_in_links.add, key, at=at, valid_for=FIRST_LINK))
    file = settings.data / ADMIN_FILE
    file.unlink(missing_ok=True)
    write_private(file, secret)
    _print_key(settings, secret, link=console_link(settings, token))


def announce(settings: Settings) -> None:
    """Say where the server is reached, before anything else is said: on a terminal in words, elsewhere in the log."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # standard output is closed
        if sys.stdout.isatty():
            print(f"Headwater: {settings.reached_at}, data in {settings.data}", flush=True)  # noqa: T201
            return
    log.info("server.starts", url=settings.reached_at, data=str(settings.data))


def _print_key(settings: Settings, secret: str, *, link: str) -> None:
    """Print the admin key and a link to the console on a terminal, elsewhere only the key's path.

    Standard output may be a log.
    """
    file = settings.data / ADMIN_FILE
    with contextlib.suppress(OSError, ValueError, AttributeError):  # standard output is closed
        if sys.stdout.isatty():
            print(f"The admin key, also in {file}: {secret}")  # noqa: T201
            print(f"Open the console, once, within a day: {link}", flush=True)  # noqa: T201
        else:
            print(f"The admin key is in {file}; only its owner can read it", flush=True)  # noqa: T201


def console_link(settings: Settings, token: str) -> str:
    """Return the URL that signs a browser in."""
    return f"{settings.reached_at.rstrip('/')}/console/enter?link={token}"


def make_console_link(settings: Settings, *, key: str | None, at: datetime) -> tuple[str, str]:
    """Create a one-time link to the console; return the name of its key, and the link.

    Args:
        settings: the settings.
        key: the fid of the key to sign in with; None: the newest valid admin key.
        at: now.

    Raises:
        NotReady: there is no such key.
    """
    prepare_catalog(settings)
    with opened_catalog(settings) as db:
        valid = [each for each in db.read_blocking(keys.listed) if each.revoked_at is None]
        chosen = [each for each in valid if each.fid == key or (key is None and each.allows(Scope.ADMIN))]
        if not chosen:
            raise NotReady(
                "there is no valid admin key; 'headwater keys admin' makes one"
                if key is None
                else f"there is no valid key {key!r}; 'headwater keys list' shows them"
            )
        token = asyncio.run(db.write(sign_in_links.add, chosen[-1], at=at))
    return chosen[-1].name, console_link(settings, token)


async def _first_key(db: Database, at: datetime) -> tuple[keys.Key, str] | None:
    if await db.read(keys.are_there):  # the usual case: skip the write lock
        return None
    with acting_as(Actor(clock=lambda: at, name="first start", origin=Origin.CLI, action="create_key")):
        return await db.write(keys.add_first, name="admin", scopes=(Scope.ADMIN,), at=at)
