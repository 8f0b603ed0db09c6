"""Where the parts are joined, and nowhere else."""

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, Generator
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

import structlog
from fastapi import Depends, FastAPI
from starlette.middleware import Middleware

from headwater.api import (
    bulk,
    crawlers,
    ec,
    errors,
    exporting,
    externals,
    following,
    health,
    links,
    openapi,
    reading,
    streams,
    tasks,
    undo,
)
from headwater.api.parts import Parts
from headwater.api.queries import refuse_unknown
from headwater.api.reception import Reception
from headwater.api.tracing import Tracing
from headwater.catalog import keys, migrate
from headwater.catalog.database import Database
from headwater.catalog.keys import Scope
from headwater.catalog.migrate import DatabaseAway
from headwater.catalog.vault import Vault, new_secret
from headwater.ingest.intake import Limits
from headwater.ingest.sweep import sweep
from headwater.ingest.upload import Uploads
from headwater.lake.engine import Engine
from headwater.lake.store import LocalStore
from headwater.lifecycle.dispatcher import Dispatcher
from headwater.lifecycle.outbound import Outbound
from headwater.settings import Settings
from headwater.streams.changes import Follower
from headwater.streams.compaction import Compaction
from headwater.streams.effects import Effects
from headwater.streams.erasure import Eraser
from headwater.streams.history import Historian
from headwater.streams.reading import Reader
from headwater.streams.retention import Retention
from headwater.streams.tally import Tally

log = structlog.get_logger(__name__)

#: Seconds between two looks for garbage.
SWEEP_EVERY = 3600.0

_DESCRIPTION = """
Headwater starts external crawlers, takes their documents, and shows them as streams. Each run is a
**task**, and a task is a **change set** on its stream: delete it and its documents are gone from the
stream, whatever ran before or after; restore it and they are back.
"""


class NotReady(Exception):
    """Headwater cannot start as it is set up."""


def now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


def create_app(settings: Settings, *, outbound: Outbound | None = None) -> FastAPI:
    """Return Headwater as an ASGI application, API and dispatcher in one."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        async with running(settings, outbound=outbound or Outbound()) as parts:
            app.state.parts = parts
            yield

    app = FastAPI(
        title="Headwater",
        description=_DESCRIPTION,
        version=version("headwater"),
        lifespan=lifespan,
        dependencies=[Depends(refuse_unknown)],
        responses=openapi.ANYWHERE,
        redoc_url=None,
        generate_unique_id_function=openapi.operation_id,
        redirect_slashes=False,
        middleware=[
            Middleware(Tracing, failed=errors.internal),
            Middleware(Reception, max_request=settings.max_request),
        ],
    )
    # Longer paths first: a document's id may hold anything.
    parts = (health, links, streams, externals, crawlers, tasks, undo, bulk, ec, exporting, following, reading)
    routers = [part.router for part in parts]
    for router in routers:
        app.include_router(router)
    errors.install(app, routes=[route for router in routers for route in router.routes])
    openapi.install(app)
    return app


@contextlib.asynccontextmanager
async def running(settings: Settings, *, outbound: Outbound) -> AsyncGenerator[Parts]:
    """Open everything, with the loops that work beside the requests; close it in the end.

    Raises:
        NotReady: the settings do not suffice, or the database is not migrated.
    """
    prepare_catalog(settings)
    async with contextlib.AsyncExitStack() as stack:
        vault = Vault(secret_key(settings))
        db, store, engine = stack.enter_context(opened(settings))
        await _make_admin_key(db, settings)
        limits = Limits(upload=settings.max_upload, document=settings.max_document)
        uploads = Uploads(db, store, limits=limits, threads=settings.upload_threads, clock=now)
        stack.callback(uploads.close)
        stack.push_async_callback(outbound.close)
        dispatcher = Dispatcher(
            db, outbound, vault=vault, public_url=settings.reached_at, clock=now, pauses=settings.notice_pauses
        )
        follower = Follower(db, engine)
        stack.callback(follower.close)
        loops = (
            dispatcher.run(),
            Tally(db, engine).run(),
            Compaction(db, engine, store, clock=now).run(),
            Retention(db, store, keep=timedelta(days=settings.retention_days), clock=now).run(),
            _sweep_for_ever(db, store),
        )
        for loop in loops:
            stack.push_async_callback(_cancelled, asyncio.create_task(loop))
        yield Parts(
            db=db,
            store=store,
            engine=engine,
            uploads=uploads,
            reader=Reader(db, engine),
            historian=Historian(db, engine),
            follower=follower,
            effects=Effects(db, engine),
            eraser=Eraser(db, engine, store, clock=now),
            vault=vault,
            clock=now,
            public_url=settings.reached_at,
        )


@contextlib.contextmanager
def opened(settings: Settings) -> Generator[tuple[Database, LocalStore, Engine]]:
    """Open catalog, store and engine; close them in the end."""
    with contextlib.ExitStack() as stack:
        db = Database(settings.catalog_url)
        stack.callback(db.close)
        store = LocalStore(settings.data / "lake")
        spill = settings.data.resolve() / "spill"
        engine = Engine(store, memory=settings.query_memory, spill=spill, threads=settings.query_threads)
        stack.callback(engine.close)
        yield db, store, engine


def prepare_catalog(settings: Settings) -> None:
    """Migrate an embedded catalog; see that another one is migrated.

    Raises:
        NotReady: it is not.
    """
    present, newest = present_version(settings), migrate.newest()
    if present == newest:
        return
    if present is not None and present > newest:
        raise NotReady(f"the database is at version {present}, made by a newer Headwater; this one knows {newest}")
    if not settings.is_embedded:
        raise NotReady(f"the database is at version {present or 'none'}, not {newest}; run 'headwater migrate'")
    migrate.upgrade(settings.catalog_url)


def present_version(settings: Settings) -> str | None:
    """Return the version of the catalog's schema, None if it has none yet.

    Raises:
        NotReady: data directory or database cannot be reached.
    """
    try:
        settings.data.mkdir(parents=True, exist_ok=True)
        return migrate.present(settings.catalog_url)
    except OSError as error:
        raise NotReady(f"the data directory {settings.data} cannot be used: {error.strerror}") from error
    except DatabaseAway as error:
        raise NotReady(str(error)) from error


def secret_key(settings: Settings) -> str:
    """Return the secret key, making one at the first start of an embedded server.

    Raises:
        NotReady: there is none, and the catalog is not ours to make one for.
    """
    if settings.secret_key is not None:
        return settings.secret_key.get_secret_value()
    file = settings.data / "secret.key"
    if not file.exists():
        if not settings.is_embedded:
            raise NotReady(
                "HEADWATER_SECRET_KEY is not set; make one with "
                "python3 -c 'import secrets; print(secrets.token_urlsafe(32))' and give it to every process"
            )
        with contextlib.suppress(FileExistsError):  # another process that starts was first
            write_private(file, new_secret())
    return file.read_text().strip()


def write_private(file: Path, text: str) -> None:
    """Write a new file that only its owner can read, whole or not at all.

    Raises:
        FileExistsError: it is there already.
    """
    staged = file.with_name(f"{file.name}.{os.getpid()}")
    handle = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as opened:
        opened.write(text + "\n")
        opened.flush()
        os.fsync(handle)
    try:
        os.link(staged, file)
    finally:
        staged.unlink()


async def _make_admin_key(db: Database, settings: Settings) -> None:
    """Make the first key of an embedded server, and say it once."""
    if not settings.is_embedded or await db.read(keys.are_there):
        return
    _, secret = await db.write(keys.add, name="admin", scopes=(Scope.ADMIN,), at=now())
    file = settings.data / "admin.key"
    file.unlink(missing_ok=True)
    write_private(file, secret)
    # On the terminal, not in the log: logs are kept and shipped.
    print(f"The admin key, also in {file}: {secret}", flush=True)  # noqa: T201


async def _sweep_for_ever(db: Database, store: LocalStore) -> None:
    while True:
        try:
            await sweep(db, store, at=now())
        except Exception:
            log.exception("lake.sweep_failed")
        await asyncio.sleep(SWEEP_EVERY)


async def _cancelled(loop: asyncio.Task[None]) -> None:
    loop.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await loop
