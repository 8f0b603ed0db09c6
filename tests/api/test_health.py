import asyncio
import shutil
import sqlite3

import psycopg
import pytest
from sqlalchemy import make_url, text

from builders import World
from headwater.api.doctor import Doctor
from headwater.catalog.database import Database


@pytest.fixture
def doctor(world):
    """One who loses patience soon."""
    return Doctor(world.db, world.store, world.engine, patience=0.5, fresh=0)


async def test_health_needs_no_key(api):
    api.headers.pop("authorization")
    assert (await api.get("/healthz")).json()["payload"] == {"alive": True}
    assert (await api.get("/readyz")).json()["payload"] == {"database": True, "store": True, "engine": True}
    assert (await api.get("/openapi.json")).status_code == 200
    assert (await api.get("/docs")).status_code == 200


async def test_a_headwater_that_cannot_write_is_not_ready(api, assert_problem):
    shutil.rmtree(api.app.state.parts.store.root)
    answer = await api.get("/readyz")
    problem = assert_problem(answer, 503, "unavailable")
    assert problem["detail"].startswith("store does not answer")
    assert answer.headers["retry-after"] == "5"
    assert (await api.get("/healthz")).status_code == 200


async def test_a_store_in_whose_place_there_is_a_file_is_silent(world, doctor):
    shutil.rmtree(world.store.root)
    world.store.root.touch()
    assert list(await doctor.silent()) == ["store"]


async def test_a_database_that_can_be_read_and_not_written_is_silent(world, doctor, url):
    is_sqlite = url.startswith("sqlite")
    plain = make_url(url).set(drivername="postgresql").render_as_string()
    other = sqlite3.connect(world.db.url.database) if is_sqlite else psycopg.connect(plain)
    if is_sqlite:
        other.execute("BEGIN IMMEDIATE")
    else:
        other.execute("LOCK alembic_version")
    found = await doctor.silent()
    assert list(found) == ["database"]
    assert "no answer within 0.5 s" in str(found["database"])
    other.rollback()
    other.close()
    assert await doctor.silent() == {}


async def test_a_database_that_takes_no_writes_is_silent(sqlite_url, tmp_path):
    db = Database(sqlite_url)
    world = World(db, tmp_path)
    await db.write(lambda tx: tx.execute(text("PRAGMA query_only = ON")))
    assert list(await Doctor(db, world.store, world.engine).silent()) == ["database"]
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
    assert list(await Doctor(db, world.store, world.engine).silent()) == ["database"]
    world.close()
    db.close()


async def test_those_who_ask_at_once_are_told_the_same(world):
    asked = 0

    class Counting(type(world.store)):
        def check(self):
            nonlocal asked
            asked += 1
            super().check()

    doctor = Doctor(world.db, Counting(world.store.root), world.engine)
    await asyncio.gather(*(doctor.silent() for _ in range(20)))
    await doctor.silent()
    assert asked == 1
