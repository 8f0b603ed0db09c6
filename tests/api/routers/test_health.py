import asyncio
import re
import shutil
import sqlite3
from importlib.metadata import version
from urllib.parse import urljoin

import psycopg
import pytest
from sqlalchemy import make_url, text

from builders import World
from headwater.api.monitoring.readiness import ReadinessCheck
from headwater.catalog.core.database import Database


@pytest.fixture
def readiness(world):
    """One who loses patience soon."""
    return ReadinessCheck(world.db, world.store, world.engine, timeout=0.5, fresh=0)


async def test_health_needs_no_key(api):
    api.headers.pop("authorization")
    assert (await api.get("/healthz")).json()["payload"] == {
        "alive": True,
        "version": version("headwater"),
    }
    assert (await api.get("/readyz")).json()["payload"] == {
        "database": True,
        "store": True,
        "engine": True,
        "damaged_segments": 0,
    }
    assert (await api.get("/openapi.json")).status_code == 200
    assert (await api.get("/docs")).status_code == 200


async def test_the_reference_and_the_next_page_are_found_below_the_path_of_a_proxy(api, made):
    page = (await api.get("/docs")).text
    links = re.findall(r'(?:href|src)="([^"]*)"', page)
    assert [link for link in links if link.startswith("/")] == []
    assert '"/' not in (await api.get(next(link[1:] for link in links if link.endswith("/reference.js")))).text
    for _ in range(2):
        await made.stream()
    link = (await api.get("/streams?limit=1")).headers["link"].partition(">")[0][1:]
    found = urljoin("https://example.org/headwater/streams?limit=1", link)
    assert found.startswith("https://example.org/headwater/streams?limit=1&cursor=")


async def test_a_headwater_that_cannot_write_is_not_ready(api, assert_problem):
    shutil.rmtree(api.app.state.services.store.root)
    answer = await api.get("/readyz")
    problem = assert_problem(answer, 503, "unavailable")
    assert problem["detail"].startswith("store does not answer")
    assert answer.headers["retry-after"] == "5"
    assert (await api.get("/healthz")).status_code == 200


async def test_a_store_in_whose_place_there_is_a_file_is_silent(world, readiness):
    shutil.rmtree(world.store.root)
    world.store.root.touch()
    assert list(await readiness.failures()) == ["store"]


async def test_a_database_that_can_be_read_and_not_written_is_silent(world, readiness, url):
    is_sqlite = url.startswith("sqlite")
    plain = make_url(url).set(drivername="postgresql").render_as_string()
    other = sqlite3.connect(world.db.url.database) if is_sqlite else psycopg.connect(plain)
    if is_sqlite:
        other.execute("BEGIN IMMEDIATE")
    else:
        other.execute("LOCK alembic_version")
    found = await readiness.failures()
    assert list(found) == ["database"]
    assert "no answer within 0.5 s" in str(found["database"])
    other.rollback()
    other.close()
    assert await readiness.failures() == {}


async def test_a_database_that_takes_no_writes_is_silent(sqlite_url, tmp_path):
    db = Database(sqlite_url)
    world = World(db, tmp_path)
    await db.write(lambda tx: tx.execute(text("PRAGMA query_only = ON")))
    assert list(await ReadinessCheck(db, world.store, world.engine).failures()) == ["database"]
    world.close()
    db.close()


async def test_a_database_that_is_gone_is_silent(postgres_url, tmp_path):
    db = Database(postgres_url)
    world = World(db, tmp_path)
    name = make_url(postgres_url).database
    maintenance = make_url(postgres_url).set(drivername="postgresql", database="postgres").render_as_string()
    with psycopg.connect(maintenance, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
    assert list(await ReadinessCheck(db, world.store, world.engine).failures()) == ["database"]
    world.close()
    db.close()


async def test_those_who_ask_at_once_are_told_the_same(world):
    asked = 0

    class Counting(type(world.store)):
        def check(self):
            nonlocal asked
            asked += 1
            super().check()

    readiness = ReadinessCheck(world.db, Counting(world.store.root), world.engine)
    await asyncio.gather(*(readiness.failures() for _ in range(20)))
    await readiness.failures()
    assert asked == 1
