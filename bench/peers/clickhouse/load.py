"""Load documents into a MergeTree table, plain or with what comes next to Headwater's promises.

``plain`` is a table as the documentation begins with. ``checked`` says the schema in constraints, lets the newer
document of an id replace the older one when parts are merged or read with FINAL, and syncs before it answers.
"""

from pathlib import Path

from chdb.session import Session

from bench.peers.loading import Load, Loaded, answer, seconds

_COLUMNS = """
    id String, product String, author String, rating UInt8, title String, text String,
    language LowCardinality(String), verified Bool, written_at String
"""
_CONSTRAINTS = """,
    CONSTRAINT id CHECK match(id, '^[0-9a-f]{16}$'),
    CONSTRAINT product CHECK lengthUTF8(product) BETWEEN 1 AND 40,
    CONSTRAINT author CHECK lengthUTF8(author) BETWEEN 1 AND 40,
    CONSTRAINT rating CHECK rating BETWEEN 1 AND 5,
    CONSTRAINT title CHECK lengthUTF8(title) <= 200,
    CONSTRAINT language CHECK language IN ('en', 'de', 'fr', 'es'),
    CONSTRAINT written_at CHECK lengthUTF8(written_at) = 20
"""
_ENDS = {
    "plain": f"({_COLUMNS}) ENGINE = MergeTree ORDER BY id",
    "checked": (
        f"({_COLUMNS}{_CONSTRAINTS}) ENGINE = ReplacingMergeTree ORDER BY id "
        "SETTINGS fsync_after_insert = 1, fsync_part_directory = 1"
    ),
}


def load(asked: Load) -> Loaded:
    """Insert from the file, on all cores."""
    with Session(str(Path(asked.folder, "session"))) as session:
        session.query("CREATE DATABASE bench ENGINE = Atomic")
        for table in ("warm_up", "reviews"):
            session.query(f"CREATE TABLE bench.{table} {_ENDS[asked.way]}")
        session.query(_insert("warm_up", asked.warm_up))
        taken = seconds(session.query, _insert("reviews", asked.reviews))
        held = session.query("SELECT count(DISTINCT id) FROM bench.reviews", "CSV")
        return Loaded(seconds=taken, held=int(str(held)))


def _insert(table: str, file: str) -> str:
    return f"INSERT INTO bench.{table} SELECT * FROM file('{file}', JSONEachRow)"


if __name__ == "__main__":
    answer(load)
