"""Where the parts are joined, and nowhere else."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, MutableSequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.metadata import version
from random import random
from time import monotonic

import structlog
from fastapi import Depends, FastAPI
from starlette.middleware import Middleware

from headwater.api import (
    attempts,
    audit,
    bulk,
    checking,
    crawlers,
    deliveries,
    ec,
    errors,
    exporting,
    externals,
    following,
    happenings,
    health,
    links,
    logins,
    metrics,
    openapi,
    reading,
    rejects,
    streams,
    tasks,
    undo,
    versions,
    webhooks,
)
from headwater.api.allowance import Allowance
from headwater.api.allowance import cells as allowance_cells
from headwater.api.doctor import Doctor
from headwater.api.meters import Meters
from headwater.api.parts import Parts
from headwater.api.queries import refuse_unknown
from headwater.api.reception import Reception
from headwater.api.survey import Surveyor
from headwater.api.tracing import Tracing
from headwater.catalog import inlined
from headwater.catalog.database import Database
from headwater.catalog.relay import Relay
from headwater.catalog.vault import Vault
from headwater.domain.spans import Tracer, under
from headwater.ingest.intake import Limits
from headwater.ingest.replay import Replays
from headwater.ingest.sweep import sweep
from headwater.ingest.upload import Uploads
from headwater.lake.engine import Engine
from headwater.lake.inlining import Inlined
from headwater.lake.segment import rehearse
from headwater.lake.store import LocalStore
from headwater.lifecycle.dispatcher import Dispatcher
from headwater.lifecycle.mailing import Mailer
from headwater.lifecycle.outbound import Outbound
from headwater.lifecycle.postman import Postman
from headwater.lifecycle.scheduler import Scheduler
from headwater.preparation import prepare, secret_key
from headwater.settings import Settings
from headwater.streams.changes import Follower
from headwater.streams.compaction import Compaction
from headwater.streams.effects import Effects
from headwater.streams.erasure import Eraser
from headwater.streams.history import Historian
from headwater.streams.reading import Reader
from headwater.streams.retention import Retention
from headwater.streams.tally import Tally
from headwater.streams.teller import Teller

log = structlog.get_logger(__name__)

#: Seconds between two looks for garbage.
SWEEP_EVERY = 3600.0
#: Seconds between two looks at the memory that DuckDB holds.
WATCH_EVERY = 10.0

_DESCRIPTION = """
Headwater starts external crawlers, takes their documents, and shows them as streams. Each run is a
**task**, and a task is a **change set** on its stream: delete it and its documents are gone from the
stream, whatever ran before or after; restore it and they are back.
"""


def now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


@dataclass(frozen=True, kw_only=True)
class Role:
    """What one of the processes of a server does beside answering; a process alone does all of it."""

    #: Whether it runs the loops: any number may, but once is enough, and leaves the cores to uploads.
    runs_loops: bool = True
    #: How it hears of what the others change, if there are others.
    relay: Relay | None = None
    #: The memory in which they count the requests of keys together, if there are others.
    allowances: MutableSequence[float] | None = None


ALONE = Role()


def create_app(
    settings: Settings, *, outbound: Outbound | None = None, role: Role = ALONE, tracer: Tracer | None = None
) -> FastAPI:
    """Return Headwater as an ASGI application, API and dispatcher in one; ``tracer`` records what it does."""
    meters = Meters()

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        made = running(settings, outbound=outbound or Outbound(), role=role, meters=meters, tracer=tracer)
        async with made as parts:
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
            Middleware(Tracing, failed=errors.internal, meters=meters, tracer=tracer),
            Middleware(Reception, max_request=settings.max_request),
            Middleware(ec.Direct),
        ],
    )
    # Longer paths first: a document's id may hold anything.
    parts = (
        health,
        metrics,
        links,
        streams,
        externals,
        versions,
        logins,
        checking,
        crawlers,
        tasks,
        attempts,
        undo,
        bulk,
        audit,
        webhooks,
        deliveries,
        ec,
        rejects,
        exporting,
        following,
        happenings,
        reading,
    )
    routers = [part.router for part in parts]
    for router in routers:
        app.include_router(router)
    errors.install(app, routes=[route for router in routers for route in router.routes])
    openapi.install(app)
    return app


@contextlib.asynccontextmanager
async def running(
    settings: Settings,
    *,
    outbound: Outbound,
    role: Role = ALONE,
    meters: Meters | None = None,
    tracer: Tracer | None = None,
) -> AsyncGenerator[Parts]:
    """Open everything, with the loops that work beside the requests; close it in the end.

    Raises:
        NotReady: the settings do not suffice, or the database is not migrated.
    """
    meters = meters or Meters()
    await asyncio.to_thread(prepare, settings, at=now())
    await asyncio.to_thread(rehearse)
    async with contextlib.AsyncExitStack() as stack:
        if tracer is not None:
            stack.push_async_callback(asyncio.to_thread, tracer.close)
        vault = Vault(secret_key(settings))
        db, store, engine = stack.enter_context(opened(settings))
        if role.relay is not None:
            stack.enter_context(role.relay.joined_by(db))
        limits = Limits(
            upload=settings.max_upload,
            document=settings.max_document,
            inlined=settings.max_inlined,
            memory=settings.upload_memory,
            stall=settings.upload_stall,
            of_task=settings.uploads_per_task,
        )
        uploads = Uploads(db, store, limits=limits, threads=settings.upload_threads, clock=now)
        stack.callback(uploads.close)
        stack.push_async_callback(outbound.close)
        dispatcher = Dispatcher(
            db,
            outbound,
            vault=vault,
            public_url=settings.reached_at,
            clock=now,
            pauses=settings.notice_pauses,
            retry_pauses=settings.retry_pauses,
        )
        mailer = Mailer(is_private_allowed=settings.webhook_private_addresses, answer_within=settings.webhook_timeout)
        stack.push_async_callback(mailer.close)
        postman = Postman(db, mailer, vault=vault, clock=now, dice=random, pauses=settings.webhook_pauses)
        follower = Follower(db, engine)
        stack.callback(follower.close)

        async def watch() -> None:
            meters.holds(await engine.ask(engine.held))

        watching = _for_ever(watch, every=WATCH_EVERY, fault="lake.memory_unknown")
        stack.push_async_callback(_cancelled, asyncio.create_task(watching))
        teller = Teller(db)
        stack.push_async_callback(teller.end)
        if role.runs_loops:
            patient = _engine(settings, db, store, is_patient=True)
            stack.callback(patient.close)
            for loop in (
                dispatcher.run(),
                postman.run(),
                Scheduler(db, vault=vault, clock=now, dice=random).run(),
                Tally(db, patient).run(),
                Compaction(db, patient, store, clock=now).run(),
                Retention(
                    db,
                    store,
                    keep=timedelta(days=settings.retention_days),
                    keep_events=timedelta(days=settings.event_days),
                    clock=now,
                ).run(),
                _for_ever(lambda: sweep(db, store, at=now()), every=SWEEP_EVERY, fault="lake.sweep_failed"),
            ):
                with under(None, tracer=tracer):
                    stack.push_async_callback(_cancelled, asyncio.create_task(loop))
        yield Parts(
            db=db,
            store=store,
            engine=engine,
            uploads=uploads,
            replays=Replays(db, engine, store, most_inlined=settings.max_inlined, clock=now),
            reader=Reader(db, engine),
            historian=Historian(db, engine),
            follower=follower,
            teller=teller,
            effects=Effects(db, engine),
            eraser=Eraser(db, engine, store, clock=now),
            outbound=outbound,
            postman=postman,
            vault=vault,
            clock=now,
            public_url=settings.reached_at,
            retry_pauses=settings.retry_pauses,
            dice=random,
            allowance=Allowance(
                most=settings.requests_per_minute,
                clock=monotonic,
                shared=[0.0] * allowance_cells() if role.allowances is None else role.allowances,
            ),
            meters=meters,
            surveyor=Surveyor(db),
            doctor=Doctor(db, store, engine),
            is_private_allowed=settings.webhook_private_addresses,
        )


@contextlib.contextmanager
def opened(settings: Settings) -> Generator[tuple[Database, LocalStore, Engine]]:
    """Open catalog, store and engine; close them in the end."""
    with contextlib.ExitStack() as stack:
        db = Database(settings.catalog_url)
        stack.callback(db.close)
        store = LocalStore(settings.data / "lake")
        engine = _engine(settings, db, store)
        stack.callback(engine.close)
        yield db, store, engine


def _engine(settings: Settings, db: Database, store: LocalStore, *, is_patient: bool = False) -> Engine:
    return Engine(
        store,
        memory=settings.query_memory,
        spill=settings.data.resolve() / "spill",
        threads=1 if is_patient else settings.query_threads,
        inlined=Inlined(partial(db.ask, inlined.packed)),
        is_patient=is_patient,
    )


async def _for_ever(work: Callable[[], Awaitable[object]], *, every: float, fault: str) -> None:
    """Work once every so many seconds, and log ``fault`` where it fails."""
    while True:
        try:
            await work()
        except Exception:
            log.exception(fault)
        await asyncio.sleep(every)


async def _cancelled(loop: asyncio.Task[None]) -> None:
    loop.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await loop
