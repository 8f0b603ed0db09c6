"""Other engines read exactly what an export holds: ``make test-engines``."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from bench.served import serving
from builders import SECRET, World
from docs_page import Page
from engines.readers import ENGINES, digest
from headwater.api import iceberg_access
from headwater.catalog import lake_place
from headwater.lake.object_store import connected
from headwater.streams.iceberg import IcebergTables
from iceberg_history import exported, play
from object_stores import READ_ROLE

PYTHON = os.environ.get("TEST_ENGINES")
READERS = Path(__file__).with_name("readers.py")

pytestmark = pytest.mark.skipif(PYTHON is None, reason="make test-engines installs the engines")


@pytest.fixture
def url(sqlite_url):
    """One engine of the catalog is enough: the files do not depend on it."""
    return sqlite_url


def asked(engine: str, **question) -> list[tuple[int, str]]:
    """What an engine reads of each version: how many rows, and their digest."""
    # Without credentials but for those that it is given.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    told = subprocess.run(
        [PYTHON, READERS],
        input=json.dumps(question | {"engines": [engine]}),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=environment | {"DAFT_ANALYTICS_ENABLED": "0", "DO_NOT_TRACK": "1", "NO_PROXY": "127.0.0.1"},
    )
    assert told.returncode == 0, told.stderr
    answers = [json.loads(line) for line in told.stdout.splitlines() if line.startswith("{")]
    return [(answer["rows"], answer["digest"]) for answer in answers]


@pytest.mark.parametrize("seed", range(100, 104))
async def test_engines_read_every_version_of_any_history_as_it_is_exported(world, seed):
    stream = await play(world, seed=seed)
    present = (await world.stream(stream)).stream_version
    tables, local = (
        IcebergTables(world.db, world.engine, world.store),
        iceberg_access.warehouse("local", world.store, None),
    )
    versions = sorted({1, present // 3 or 1, present // 2 or 1, present})
    for version in versions:
        table = await tables.table(stream, version, local)
    expected = [digest(await exported(world, stream, version)) for version in versions]
    found = {engine: asked(engine, metadata=table.metadata_location, versions=versions) for engine in ENGINES}
    assert found == dict.fromkeys(ENGINES, expected)


@pytest.fixture
def store(request):
    """An object store, by its name."""
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize(("store", "seed"), [("seaweedfs", 100), ("seaweedfs", 103), ("moto", 105)], indirect=["store"])
async def test_engines_read_every_version_of_any_history_from_an_object_store(
    store, seed, db, sqlite_url, tmp_path, monkeypatch
):
    lake = store.url()
    for name, value in store.environment.items():
        monkeypatch.setenv(name, value)
    world = World(db, tmp_path / "world", client=connected(lake))
    try:
        stream = await play(world, seed=seed)
        present = (await world.stream(stream)).stream_version
        versions = sorted({1, present // 3 or 1, present // 2 or 1, present})
        expected = [digest(await exported(world, stream, version)) for version in versions]
        await db.write(lake_place.move, lake)
    finally:
        world.close()
    db.close()
    data = tmp_path / "data"
    data.mkdir()
    shutil.copyfile(sqlite_url.removeprefix("sqlite:///"), data / "catalog.sqlite")
    settings = {
        "HEADWATER_LAKE_URL": lake,
        "HEADWATER_LAKE_READ_ROLE": READ_ROLE,
        "HEADWATER_SECRET_KEY": SECRET,
        "HEADWATER_RETENTION_DAYS": "10000",  # the history is of another time
    }
    with serving(data, log=tmp_path / "log", settings=settings) as headwater:
        question = {
            "url": str(headwater.client.base_url).rstrip("/"),
            "key": (data / "admin.key").read_text().strip(),
            "table": stream,
            "versions": versions,
        }
        for warehouse in (iceberg_access.SERVED, iceberg_access.STORE):
            found = {engine: asked(engine, warehouse=warehouse, **question) for engine in ENGINES}
            assert found == dict.fromkeys(ENGINES, expected), warehouse


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A Headwater with a stream of several runs, named ``books``."""
    folder = tmp_path_factory.mktemp("served")
    with serving(folder / "data", log=folder / "log") as headwater:
        external = headwater.call("POST", "/externals", expect=201, json={"docIdField": "id"})
        stream = headwater.call("POST", "/streams", expect=201, json={"meta": {"name": "books"}})
        links = [{"from": {"type": "streams", "fid": stream["fid"]}}]
        crawler = headwater.call(
            "POST", f"/actions/externals/{external['fid']}/crawler", expect=201, json={"meta": {"links": links}}
        )
        for run in range(4):
            task = headwater.call("POST", f"/actions/crawlers/{crawler['fid']}/task", expect=201, json={})
            count = 3000 if run % 2 else 300
            lines = [json.dumps({"id": f"book-{n}", "run": run, "text": "x" * 40}) for n in range(run * 100, count)]
            headwater.call("POST", f"/actions/tasks/{task['fid']}/upload", content="\n".join(lines).encode())
            headwater.call("POST", f"/actions/tasks/{task['fid']}/status", json={"code": 200})
        yield headwater, stream["fid"]


def _export(headwater, stream: str, version: int) -> list[tuple[str, str, str]]:
    docs, cursor = [], None
    while True:
        answer = headwater.client.get(
            f"/streams/{stream}/docs", params={"as_of": version, "limit": 1000} | ({"cursor": cursor} if cursor else {})
        ).json()
        docs += answer["payload"]
        cursor = answer["next_cursor"]
        if cursor is None:
            break
    texts = headwater.client.get(f"/streams/{stream}/export", params={"as_of": version}).text.splitlines(keepends=True)
    return [(doc["id"], doc["task"], text) for doc, text in zip(docs, texts, strict=True)]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("warehouse", [iceberg_access.SERVED, iceberg_access.LOCAL])
def test_engines_read_a_table_of_the_catalog(served, engine, warehouse):
    if (engine, warehouse) == ("chdb", iceberg_access.LOCAL):
        pytest.skip("ClickHouse reads the tables of a catalog from an object store alone")
    headwater, stream = served
    present = headwater.call("GET", f"/streams/{stream}")["stream_version"]
    expected = [digest(_export(headwater, stream, version)) for version in (2, present)]
    url = str(headwater.client.base_url).rstrip("/")
    key = (headwater.data / "admin.key").read_text().strip()
    for table in (stream, "books"):
        found = asked(engine, url=url, key=key, warehouse=warehouse, table=table, versions=[2, None])
        assert found == expected


PAGE = Page.of("docs/how-to/engines.md")
PROGRAMS = [block for block in PAGE.blocks if block.language == "python"]


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A home in which DuckDB finds its extensions, as after INSTALL."""
    folder = tmp_path_factory.mktemp("home")
    for file in Path(PYTHON).parent.parent.glob("lib/python*/site-packages/duckdb_extension_*/extensions/*/*"):
        target = folder / f".duckdb/extensions/{file.parent.name}/linux_amd64"
        target.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target / file.name)
    return folder


@pytest.mark.parametrize("place", range(len(PROGRAMS)))
def test_the_programs_of_the_how_to_page_count_the_documents(served, home, place):
    headwater, stream = served
    docs = headwater.wait_until_counted(stream)
    told = subprocess.run(
        [PYTHON, "-c", PROGRAMS[place].text],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=os.environ
        | {
            "HEADWATER_URL": str(headwater.client.base_url).rstrip("/"),
            "HEADWATER_KEY": (headwater.data / "admin.key").read_text().strip(),
            "HOME": str(home),
        },
    )
    assert told.returncode == 0, told.stderr
    assert told.stdout.split()[-1] == str(docs)
