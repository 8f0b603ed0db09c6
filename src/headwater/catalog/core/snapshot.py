"""A consistent copy of the catalog while it is in use: of SQLite a file, of PostgreSQL a dump."""

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import URL, NullPool, create_engine, make_url, text

from headwater.catalog.core.transaction import Transaction

#: The name of the copy, by the kind of database.
SQLITE_FILE = "catalog.sqlite"
POSTGRES_FILE = "catalog.pgdump"


class SnapshotFailed(Exception):
    """The catalog cannot be copied or put back."""


@contextmanager
def taken(url: str, folder: Path) -> Generator[tuple[Path, Transaction]]:
    """Copy the catalog into a folder; yield the copy, and a transaction that sees what is in it.

    Raises:
        SnapshotFailed: it cannot be copied.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        target = folder / SQLITE_FILE
        _copy_sqlite(Path(parsed.database or ""), target)
        engine = create_engine(f"sqlite:///{target}", poolclass=NullPool)
        with closing(engine.connect()) as connection:
            yield target, Transaction(connection)
        engine.dispose()
        return
    target = folder / POSTGRES_FILE
    engine = create_engine(parsed, poolclass=NullPool, isolation_level="REPEATABLE READ")
    with closing(engine.connect()) as connection:
        name = connection.execute(text("SELECT pg_export_snapshot()")).scalar_one()
        _run("pg_dump", parsed, "--format=custom", "--no-owner", f"--snapshot={name}", f"--file={target}")
        yield target, Transaction(connection)
    engine.dispose()


def put_back(copy: Path, url: str, *, name: str) -> None:
    """Make a copy the catalog of a server that does not run; ``name`` is the one that it was made under.

    Raises:
        SnapshotFailed: it cannot be put back, or is of another kind of database.
    """
    parsed = make_url(url)
    is_sqlite = parsed.get_backend_name() == "sqlite"
    if is_sqlite is not (name == SQLITE_FILE):
        raise SnapshotFailed(f"{name} is not of the database {parsed.get_backend_name()}; see database_url")
    if is_sqlite:
        shutil.copyfile(copy, parsed.database or "")
        os.chmod(parsed.database or "", 0o600)  # noqa: PTH101 - it is a string
    else:
        options = ("--no-owner", "--exit-on-error", "--single-transaction", f"--dbname={_plain(parsed)}")
        _run("pg_restore", parsed, *options, copy)


def _copy_sqlite(source: Path, target: Path) -> None:
    try:
        with closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True, timeout=60)) as connection:
            # A reader in WAL mode sees one state of the database, and holds up no writer.
            connection.execute("VACUUM INTO ?", (str(target),))
    except sqlite3.Error as error:
        raise SnapshotFailed(f"the catalog {source} cannot be copied: {error}") from error


def _plain(url: URL) -> str:
    """Return a URL as PostgreSQL's programs take it, without the password, which goes through the environment."""
    return url.set(drivername="postgresql", password=None).render_as_string()


def _run(program: str, url: URL, *arguments: str | Path) -> None:
    found = shutil.which(program)
    if found is None:
        raise SnapshotFailed(f"{program} is not on the PATH; install the client programs of PostgreSQL")
    command = [found, *map(str, arguments)]
    if program == "pg_dump":
        command.append(_plain(url))
    environment = os.environ | ({"PGPASSWORD": url.password} if url.password else {})
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - no shell
    if ran.returncode:
        raise SnapshotFailed(f"{program} failed: {ran.stderr.strip() or ran.returncode}")
