"""``headwater sync`` into DuckDB, SQLite and PostgreSQL, against a served Headwater."""

import json
import random
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from urllib.parse import urlencode

import duckdb
import httpx
import psycopg
import pytest
from sqlalchemy import make_url

import budget
from docs_page import Page
from end_to_end.command_line import CommandLine, empty, set_up
from end_to_end.conftest import Served
from headwater_client import Headwater
from headwater_client.dlt.sync import sync

SCHEMA = {
    "properties": {
        "id": {"type": "string"},
        "price": {"type": ["number", "null"]},
        "inStock": {"type": "boolean"},
        "count": {"type": "integer"},
        "tags": {"type": "array"},
    }
}
#: What any JSON may hold, and some databases cannot.
HARD = ["\x00", "𝄞", 'quote " and , comma', "line\nbreak", "\\u0000", "\t", "", "ü" * 300, "\\N", "NULL"]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    served = Served(tmp_path_factory.mktemp("served") / "data")
    served.start()
    yield served
    served.stop()


@pytest.fixture
def cli(served, tmp_path) -> CommandLine:
    empty(served)
    return CommandLine(served, tmp_path)


@pytest.fixture
def headwater(served) -> Iterator[Headwater]:
    with Headwater(served.url, served.key()) as headwater:
        yield headwater


@pytest.fixture(params=["duckdb", "sqlite", "postgres"])
def database(request, tmp_path) -> tuple[str, Callable[[str], list[tuple]]]:
    """A database: its URL, and what answers a query."""
    if request.param == "duckdb":
        file = tmp_path / "shop.duckdb"

        def asked(query: str) -> list[tuple]:
            with duckdb.connect(str(file)) as connection:
                return connection.execute(query).fetchall()

        return f"duckdb:///{file}", asked
    if request.param == "sqlite":

        def asked(query: str) -> list[tuple]:
            # SQLAlchemy's SQLite has no schemas: each dataset is a file beside the main one.
            with closing(sqlite3.connect(tmp_path / "shop__headwater.sqlite")) as connection:
                return connection.execute(query.replace("headwater.", "")).fetchall()

        return f"sqlite:///{tmp_path}/shop.sqlite", asked
    url = make_url(request.getfixturevalue("postgres_url"))
    query = urlencode({"host": url.query["host"]}) if "host" in url.query else ""
    plain = f"postgresql://{url.username}:x@{url.host or ''}/{url.database}?{query}"

    def asked(query: str) -> list[tuple]:
        with psycopg.connect(url.set(drivername="postgresql").render_as_string()) as connection:
            return connection.execute(query).fetchall()

    return plain, asked


def _synced(cli: CommandLine, url: str, *words: str) -> dict:
    return cli.answer("sync", "Books", url, "--folder", cli.home / "sync", *words)


def _shown(headwater: Headwater, stream: str) -> dict[str, dict]:
    lines = b"".join(headwater.streams.export(stream)).decode().splitlines()
    found = [_cleaned(json.loads(line)) for line in lines]
    return {document["id"]: document for document in found}


def _cleaned(value):
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd")
    if isinstance(value, dict):
        return {_cleaned(name): _cleaned(each) for name, each in value.items()}
    return [_cleaned(each) for each in value] if isinstance(value, list) else value


def _held(asked, table: str = "headwater.books") -> dict[str, dict]:
    rows = asked(f"SELECT _id, _document FROM {table}")
    found = {doc_id: text if isinstance(text, dict) else json.loads(text) for doc_id, text in rows}
    assert len(found) == len(rows)
    return found


def _ran(headwater: Headwater, crawler: str, documents: list[dict]) -> str:
    task = headwater.tasks.create(crawler)
    body = "".join(json.dumps(document) + "\n" for document in documents)
    httpx.post(f"{task.upload.endpoint}/upload", content=body).raise_for_status()
    httpx.post(f"{task.upload.endpoint}/status", json={"code": 200}).raise_for_status()
    return task.fid


def _made_up(dice: random.Random, number: int) -> dict:
    document = {"id": f"b{number}", "price": dice.choice([None, 1, 2.5, 1e20]), "inStock": dice.random() < 0.5}
    if dice.random() < 0.7:
        document["count"] = dice.choice([0, -1, 2**62])
    if dice.random() < 0.3:
        document["tags"] = [dice.choice(HARD), {"deep": [1, None]}]
    if dice.random() < 0.3:
        document[dice.choice(["note", "no\x00te", "inStock2"])] = dice.choice(HARD)
    return document


def test_a_table_equals_the_stream_after_runs_deletes_and_restores(cli, headwater, database):
    url, asked = database
    crawler = set_up(cli, schema=SCHEMA)
    dice = random.Random(7)
    live, gone = [], []
    for step in range(budget.examples(25)):
        for _ in range(dice.randint(1, 3)):
            what = dice.random()
            if what < 0.25 and live:
                gone.append(live.pop(dice.randrange(len(live))))
                headwater.tasks.delete(gone[-1])
            elif what < 0.4 and gone:
                live.append(gone.pop(dice.randrange(len(gone))))
                headwater.tasks.restore(live[-1])
            else:
                documents = [_made_up(dice, dice.randrange(60)) for _ in range(dice.randint(0, 40))]
                live.append(_ran(headwater, crawler["fid"], list({each["id"]: each for each in documents}.values())))
        # As the command does, without a new process each time: one takes seconds to import dlt.
        synced = sync(headwater, crawler["stream"], url, folder=cli.home / "sync")
        assert synced.version == headwater.streams.get(crawler["stream"]).stream_version, step
        assert _held(asked) == _shown(headwater, crawler["stream"]), step
    assert _synced(cli, url)["rows"] == 0


def test_columns_have_the_types_of_the_schema_and_change_with_it(cli, headwater, database):
    url, asked = database
    crawler = set_up(cli, schema=SCHEMA)
    _ran(headwater, crawler["fid"], [{"id": "a", "price": 2, "inStock": True, "count": 3}, {"id": "b"}])
    _synced(cli, url)
    query = "SELECT _id, id, price, in_stock, count FROM headwater.books ORDER BY _id"
    assert asked(query) == [("a", "a", 2.0, True, 3), ("b", "b", None, None, None)]
    external = headwater.externals.list(name="Pages")
    changed = {**SCHEMA["properties"], "price": {"type": "string"}, "title": {"type": "string"}}
    headwater.externals.update(next(external), {"schema": {"properties": changed}})
    _ran(headwater, crawler["fid"], [{"id": "c", "price": "free", "title": "C", "inStock": False}])
    _synced(cli, url)
    query = "SELECT _id, price, in_stock, title FROM headwater.books ORDER BY _id"
    assert asked(query) == [("a", None, True, None), ("b", None, None, None), ("c", "free", False, "C")]
    assert _held(asked) == _shown(headwater, crawler["stream"])


def test_nothing_new_is_told_within_a_second_and_the_rest_is_incremental(cli, headwater, database):
    url, asked = database
    crawler = set_up(cli, schema=SCHEMA)
    _ran(headwater, crawler["fid"], [{"id": f"{n}"} for n in range(1000)])
    assert _synced(cli, url)["rows"] == 1000
    began = time.process_time()
    assert _synced(cli, url)["rows"] == 0
    assert time.process_time() - began < 1
    _ran(headwater, crawler["fid"], [{"id": "5", "price": 1}, {"id": "new"}])
    assert _synced(cli, url)["rows"] == 2
    shutil.rmtree(cli.home / "sync")  # what the database holds is asked of itself
    assert _synced(cli, url)["rows"] == 0
    task = _ran(headwater, crawler["fid"], [{"id": "6", "price": 1}])
    assert _synced(cli, url)["rows"] == 1
    headwater.tasks.delete(task)
    assert _synced(cli, url, "--full")["rows"] == 1001
    assert _held(asked) == _shown(headwater, crawler["stream"])


@pytest.mark.parametrize("database", ["duckdb", "postgres"], indirect=True)
def test_a_sync_that_is_killed_is_made_good_by_the_next(cli, headwater, database):
    url, asked = database
    crawler = set_up(cli, schema=SCHEMA)
    _ran(headwater, crawler["fid"], [{"id": f"{n}", "price": n / 2} for n in range(20_000)])
    dice = random.Random(3)
    began = time.monotonic()
    _synced(cli, url)
    whole = time.monotonic() - began
    killed = 0
    for number in range(5):
        task = _ran(headwater, crawler["fid"], [{"id": f"{n}", "count": number} for n in range(number, 30_000, 3)])
        if number % 2:
            headwater.tasks.delete(task)
        process = cli.begin("sync", "Books", url, "--folder", cli.home / "sync")
        time.sleep(whole * dice.uniform(0.2, 1.0))
        killed += process.poll() is None
        process.kill()
        process.communicate()
    _synced(cli, url)
    assert killed > 0
    assert _held(asked) == _shown(headwater, crawler["stream"])


@pytest.mark.parametrize("database", ["duckdb"], indirect=True)
def test_a_stream_that_cannot_tell_what_changed_is_loaded_whole(cli, headwater, database):
    url, asked = database
    crawler = set_up(cli, schema=SCHEMA)
    first = _ran(headwater, crawler["fid"], [{"id": "a"}, {"id": "b"}])
    _synced(cli, url)
    headwater.tasks.delete(first)
    _ran(headwater, crawler["fid"], [{"id": "c"}])
    headwater.streams.delete(crawler["stream"], cascade=True)
    # Another stream of that name, into the same table.
    empty(cli.served)
    crawler = set_up(cli, schema=SCHEMA)
    _ran(headwater, crawler["fid"], [{"id": "d"}])
    _synced(cli, url)
    assert list(_held(asked)) == ["d"]


def test_what_is_wrong_with_a_database_is_said_in_a_line(cli):
    set_up(cli)
    for url, code, said in (
        ("oracle://here/x", 2, "no database is known by oracle://"),
        ("postgresql://a:b@127.0.0.1:9/x", 1, "the database was not written: "),
    ):
        ran = cli("sync", "Books", url)
        assert (ran.returncode, len(ran.stderr.splitlines())) == (code, 1), ran.stderr
        assert said in ran.stderr
        assert "a:b" not in ran.stderr


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_the_statements_of_the_page_of_postgresql_work(cli, headwater, database, postgres_url):
    url, _ = database
    crawler = set_up(cli, schema=SCHEMA)
    documents = [
        {"id": "b1", "price": 24.9, "inStock": True, "maker": {"name": "Ada"}},
        {"id": "b2", "price": 6, "tags": ["blue"]},
        {"id": "b3", "price": 0.5},
    ]
    task = _ran(headwater, crawler["fid"], documents)
    _synced(cli, url)
    statements = [block.text for block in Page.of("docs/how-to/postgresql.md").blocks if block.language == "sql"]
    answers = []
    with psycopg.connect(make_url(postgres_url).set(drivername="postgresql").render_as_string()) as connection:
        for statement in statements:
            cursor = connection.execute(statement)
            answers.append(cursor.fetchall() if cursor.description else None)
    assert answers == [
        [("b3", 0.5, None, None), ("b2", 6.0, None, "blue")],
        None,
        [("b1",)],
        [(task, 3)],
        None,
    ]
    headwater.tasks.delete(task)
    _synced(cli, url)  # the index and the rights are in nobody's way
    with psycopg.connect(make_url(postgres_url).set(drivername="postgresql").render_as_string()) as connection:
        assert connection.execute("SELECT count(*) FROM headwater.books").fetchone() == (0,)
        assert connection.execute("SELECT indexname FROM pg_indexes WHERE indexname = 'books_document'").fetchone()
