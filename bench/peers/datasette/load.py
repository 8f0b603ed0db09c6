"""Upsert documents with Datasette's JSON API, into a SQLite file with a write-ahead log."""

import contextlib
import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.peers.loading import Loaded
from bench.peers.posting import Posting, posted, talking
from bench.peers.reviews import WARM_UP
from bench.peers.turn import Turn
from examples.packages_crawler.processes import free_ports, running

#: One request is read while the one before is written.
_CONNECTIONS = 2
#: Bytes that a request may have: enough for as many rows as are asked for.
_MAX_BODY = 64 << 20
_TABLE = """
    CREATE TABLE reviews (
        id TEXT PRIMARY KEY, product TEXT, author TEXT, rating INTEGER, title TEXT, text TEXT,
        language TEXT, verified INTEGER, written_at TEXT
    )
"""


def load(turn: Turn, *, rows: int) -> Loaded:
    """Post so many rows a request, the most that the server is set to take."""
    warm_up, bodies = turn.reviews.bodies(rows, _body)
    database, secret, port = turn.folder / "bench.db", secrets.token_hex(), free_ports()[0]
    with _opened(database) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(_TABLE)
    token = turn.environment.run("datasette", "create-token", "crawler", "--secret", secret).strip()
    command = [turn.environment.program("datasette"), "serve", database, "--port", str(port), "--secret", secret]
    with (
        running("Datasette", [*command, *_settings(rows)], log=turn.log) as child,
        talking(port, child, headers={"Authorization": f"Bearer {token}"}) as client,
    ):
        posting = Posting(path="/bench/reviews/-/upsert", connections=_CONNECTIONS)
        posted(client, posting, warm_up)
        seconds = posted(client, posting, bodies)
    with _opened(database) as connection:
        held = connection.execute("SELECT count(*) FROM reviews").fetchone()[0]
    return Loaded(seconds=seconds, held=held - WARM_UP)


def _body(lines: Sequence[bytes]) -> bytes:
    return b'{"rows":[%b]}' % b",".join(lines)


def _settings(rows: int) -> list[str]:
    permissions = "databases.bench.tables.reviews.permissions"
    settings = {
        "settings.max_insert_rows": str(rows),
        "settings.max_post_body_bytes": str(_MAX_BODY),
        f"{permissions}.insert-row.id": "crawler",
        f"{permissions}.update-row.id": "crawler",
    }
    return [word for name, value in settings.items() for word in ("--setting", name, value)]


@contextlib.contextmanager
def _opened(database: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        yield connection
