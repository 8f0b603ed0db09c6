"""The composition root: builds the services and the ASGI application."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Generator, MutableSequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from random import random
from time import monotonic

import structlog
from fastapi import FastAPI
from starlette.middleware import Middleware

from headwater.api import errors, openapi
from headwater.api.dependencies import Services
from headwater.api.key_usage import KeyUsage
from headwater.api.middleware.cors import CorsGate, CorsHeaders, CorsPolicy
from headwater.api.middleware.path_segments import Segments
from headwater.api.middleware.request_body import RequestBodyMiddleware
from headwater.api.middleware.request_context import RequestContextMiddleware
from headwater.api.middleware.security_headers import SecurityHeaders
from headwater.api.monitoring.gauges import CatalogGauges
from headwater.api.monitoring.metrics import Metrics
from headwater.api.monitoring.readiness import ReadinessCheck
from headwater.api.rate_limit import LoginLimiter, RateLimiter
from headwater.api.rate_limit import cells as rate_limit_cells
from headwater.api.routers import (
    attempts,
    audit,
    bisect,
    changes,
    crawlers,
    credentials,
    deliveries,
    documents,
    events,
    export,
    external_versions,
    externals,
    health,
    iceberg,
    keys,
    links,
    notifications,
    plan,
    rejects,
    revert,
    schema_checks,
    streams,
    task_deletion,
    task_logs,
    tasks,
    webhooks,
)
from headwater.api.routers import metrics as metrics_router
from headwater.api.routers import uploads as upload_routes
from headwater.api.shared_rates import EVERY as RATES_EVERY
from headwater.api.shared_rates import SharedRates
from headwater.backup.scheduled import LOOK_EVERY, BackupCommand, BackupSchedule
from headwater.backup.scrub import Scrub
from headwater.bootstrap import disk_of, opened_store, prepare, secret_key
from headwater.catalog import inlined_segments, stats
from headwater.catalog.core.database import Database
from headwater.catalog.core.postgres_pubsub import PostgresRelay
from headwater.catalog.core.pubsub import Relay
from headwater.catalog.vault import Vault
from headwater.console import site
from headwater.console.deferred import DeferredResults
from headwater.console.oidc import OidcProvider
from headwater.console.services import ConsoleServices, Setting
from headwater.domain.software_version import software_version
from headwater.domain.tracing import Tracer, under
from headwater.ingest.orphans import delete_orphans
from headwater.ingest.pipeline import Limits
from headwater.ingest.replay import Replays
from headwater.ingest.scanner import fitting
from headwater.ingest.task_log import TaskLogWriter
from headwater.ingest.upload import Uploads
from headwater.lake.engine import Engine
from headwater.lake.inlined import Inlined
from headwater.lake.integrity import Verifier
from headwater.lake.scratch import scratch_folder
from headwater.lake.segment import rehearse
from headwater.lake.store import Store
from headwater.lake.store_credentials import StoreReader
from headwater.lifecycle.ec.client import EcClient
from headwater.lifecycle.ec.dispatcher import Dispatcher
from headwater.lifecycle.notifications.client import NotificationClient
from headwater.lifecycle.notifications.dispatcher import NotificationDispatcher
from headwater.lifecycle.scheduler import Scheduler
from headwater.lifecycle.webhooks.client import WebhookClient
from headwater.lifecycle.webhooks.dispatcher import WebhookDispatcher
from headwater.loops import Loops, repeat
from headwater.sandbox.pool import Sandbox
from headwater.settings import Settings
from headwater.streams.believed_clock import BelievedClock
from headwater.streams.bisect import Bisection
from headwater.streams.change_feed import ChangeFeed
from headwater.streams.compaction import Compaction
from headwater.streams.counters import DocumentCounter
from headwater.streams.damage import DamageReports
from headwater.streams.diffs import TaskDiffs
from headwater.streams.documents import DocumentReader
from headwater.streams.erasure import DocumentErasure
from headwater.streams.event_feed import EventFeed
from headwater.streams.folding import Folding
from headwater.streams.history import DocumentHistory
from headwater.streams.iceberg import IcebergTables
from headwater.streams.log_shipping import EVERY as LOGS_EVERY
from headwater.streams.log_shipping import LogShipping
from headwater.streams.plan import StreamPlans
from headwater.streams.prepared_exports import PreparedExports
from headwater.streams.retention import Kept, Retention
from headwater.streams.shared_exports import SharedExports
from headwater.streams.shared_iceberg import SharedIcebergTables
from headwater.streams.shared_plan import SharedStreamPlans
from headwater.streams.task_log import TaskLogReader

log = structlog.get_logger(__name__)

#: The folder of prepared exports in the data directory.
EXPORTS = "exports"
#: Seconds between searches for orphan files.
SWEEP_EVERY = 3600.0
#: Seconds between checks of the free disk space.
DISK_EVERY = 10.0
#: Seconds between measurements of DuckDB's memory.
WATCH_EVERY = 10.0

_DESCRIPTION = """
Headwater starts external crawlers, takes their documents, and shows them as streams. Each run is a
**task**, and a task is a **change set** on its stream: delete it and its documents are gone from the
stream, whatever ran before or after; restore it and they are back.
"""


def now() -> datetime:
    """Return the current time."""
    return datetime.now(UTC)


@dataclass(frozen=True, kw_only=True)
class Role:
    """What a process of a server does besides answering requests; a single process does everything."""

    #: Whether it runs the background loops: any number may, but one is enough, and leaves the other cores to uploads.
    runs_loops: bool = True
    #: Connects it to the other processes' notifications, if there are others.
    relay: Relay | None = None
    #: The shared memory of the rate limiter, if there are other processes.
    rate_limits: MutableSequence[float] | None = None


ALONE = Role()


def create_app(
    settings: Settings, *, ec_client: EcClient | None = None, role: Role = ALONE, tracer: Tracer | None = None
) -> FastAPI:
    """Return Headwater as an ASGI application, with its background loops; ``tracer`` records spans."""
    metrics = Metrics()
    cors = CorsPolicy(origins=settings.cors_origins, public_url=settings.reached_at)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        if role.runs_loops and fitting.why_missing is not None:
            log.warning("scanner.missing", effect="uploads take longer to validate", why=fitting.why_missing)
        calls = ec_client or EcClient(is_private_allowed=settings.calls_private_crawlers)
        made = running(settings, ec_client=calls, role=role, metrics=metrics, tracer=tracer)
        async with made as services:
            app.state.services = services
            app.state.console = _console(services, settings)
            yield

    app = FastAPI(
        title="Headwater",
        description=_DESCRIPTION,
        version=software_version(),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        middleware=[
            Middleware(SecurityHeaders),
            Middleware(CorsHeaders, policy=cors),
            Middleware(RequestContextMiddleware, failed=errors.internal, metrics=metrics, tracer=tracer),
            Middleware(
                RequestBodyMiddleware, max_request=settings.max_request, request_timeout=settings.request_timeout
            ),
            Middleware(CorsGate, policy=cors),
            Middleware(Segments),
            Middleware(upload_routes.UploadFastPath),
        ],
    )
    # Longer paths first: a document's id matches anything.
    modules = (
        health,
        metrics_router,
        links,
        keys,
        streams,
        externals,
        external_versions,
        credentials,
        schema_checks,
        crawlers,
        tasks,
        attempts,
        task_deletion,
        revert,
        audit,
        webhooks,
        notifications,
        deliveries,
        upload_routes,
        task_logs,
        rejects,
        export,
        iceberg,
        changes,
        events,
        bisect,
        plan,
        documents,
    )
    routes = [route for module in modules for route in module.router.routes]
    # Not with include_router, which would build each of them again.
    app.router.routes.extend([*routes, *site.routes()])
    errors.install(app, routes=routes)
    openapi.install(app)
    return app


@contextlib.asynccontextmanager
async def running(
    settings: Settings,
    *,
    ec_client: EcClient,
    role: Role = ALONE,
    metrics: Metrics | None = None,
    tracer: Tracer | None = None,
) -> AsyncGenerator[Services]:
    """Open all services and start the background loops; close them on exit.

    Raises:
        NotReady: a required setting is missing, or the database is not migrated.
    """
    metrics = metrics or Metrics()
    await asyncio.to_thread(prepare, settings, at=now())
    await asyncio.to_thread(rehearse)
    async with contextlib.AsyncExitStack() as stack:
        if tracer is not None:
            stack.push_async_callback(asyncio.to_thread, tracer.close)
        vault = Vault(secret_key(settings))
        db = stack.enter_context(
            contextlib.closing(Database(settings.catalog_url, make_room=disk_of(settings).release_ballast))
        )
        store, verifier, engine = _lake(settings, db, reports := DamageReports(db, clock=now), stack)
        stack.push_async_callback(reports.settled)
        if role.relay is not None:
            stack.enter_context(role.relay.connected_to(db))
        disk = disk_of(settings)
        sandbox = Sandbox()
        stack.callback(sandbox.close)
        uploads = Uploads(
            db, store, limits=_limits(settings), threads=settings.upload_threads, clock=now, disk=disk, sandbox=sandbox
        )
        stack.callback(uploads.close)
        stack.push_async_callback(ec_client.close)
        dispatcher = Dispatcher(
            db,
            ec_client,
            vault=vault,
            public_url=settings.reached_at,
            clock=now,
            backoff=settings.notice_backoff,
            retry_backoff=settings.retry_backoff,
            steady=monotonic,
        )
        believed = BelievedClock(db, clock=now)
        webhook_client = WebhookClient(
            is_private_allowed=settings.webhook_private_addresses, answer_within=settings.webhook_timeout
        )
        stack.push_async_callback(webhook_client.close)
        webhook_dispatcher = WebhookDispatcher(
            db,
            webhook_client,
            vault=vault,
            clock=now,
            rng=random,
            backoff=settings.webhook_backoff,
            believed=believed.now,
        )
        change_feed, iceberg_tables = ChangeFeed(db, engine), _iceberg_tables(db, engine, store)
        stack.callback(change_feed.close)
        loops = _loops(db)
        _measure(settings, db, engine, metrics, loops)
        rate_limiter, login_limiter = _limiters(settings, role, db, loops)
        event_feed = EventFeed(db)
        stack.push_async_callback(event_feed.end)
        if role.runs_loops:
            patient = _engine(settings, db, store, verifier, spill=engine.spill, is_patient=True)
            stack.callback(patient.close)
            retention = Retention(
                db,
                store,
                keep=timedelta(days=settings.retention_days),
                kept=_kept(settings),
                clock=now,
                believed=believed.now,
            )

            sweep = partial(_sweep, db, store, settings, believed, iceberg_tables)
            watching = partial(repeat, partial(asyncio.to_thread, disk.look), every=DISK_EVERY, fault="disk.unknown")
            with under(None, tracer=tracer):
                loops.start("disk", watching)
                loops.start("dispatcher", dispatcher.run)
                loops.start("webhooks", webhook_dispatcher.run)
                loops.start("scheduler", Scheduler(db, vault=vault, clock=now, rng=random).run)
                loops.start("counters", DocumentCounter(db, patient).run)
                for merging in (Compaction, Folding):
                    loops.start(merging.__name__.lower(), merging(db, patient, store, clock=now, disk=disk).run)
                loops.start("retention", retention.run)
                _maintain(settings, db, store, loops)
                loops.start("sweep", partial(repeat, sweep, every=SWEEP_EVERY, fault="lake.sweep_failed"))
        notifier = _notifier(settings, db, vault, loops if role.runs_loops else None)
        # Pushed last, so that the loops end first: they use all of the above.
        stack.push_async_callback(loops.cancel)
        yield Services(
            db=db,
            store=store,
            engine=engine,
            uploads=uploads,
            replays=Replays(
                db, engine, store, most_inlined=settings.max_inlined, clock=now, disk=disk, sandbox=sandbox
            ),
            task_log_writer=TaskLogWriter(
                db,
                None if store.is_remote else store.root,
                most_bytes=settings.max_task_log,
                most_lines=settings.max_task_log_lines,
                idle_timeout=settings.upload_idle_timeout,
                clock=now,
                disk=disk,
            ),
            task_log_reader=TaskLogReader(db, store),
            reader=DocumentReader(db, engine),
            document_history=DocumentHistory(db, engine),
            bisection=Bisection(db, engine),
            iceberg_tables=iceberg_tables,
            stream_plans=_stream_plans(db, engine, store),
            store_reader=_store_reader(settings),
            prepared_exports=_prepared_exports(settings, db, store),
            change_feed=change_feed,
            event_feed=event_feed,
            task_diffs=TaskDiffs(db, engine),
            document_erasure=DocumentErasure(db, engine, store, clock=now),
            ec_client=ec_client,
            webhook_dispatcher=webhook_dispatcher,
            notification_client=notifier.client,
            notification_dispatcher=notifier,
            vault=vault,
            clock=now,
            public_url=settings.reached_at,
            retry_backoff=settings.retry_backoff,
            rng=random,
            rate_limiter=rate_limiter,
            login_limiter=login_limiter,
            key_usage=_key_usage(db, stack),
            metrics=metrics,
            sandbox=sandbox,
            catalog_gauges=CatalogGauges(db),
            readiness=ReadinessCheck(db, store, engine, loops=loops.failing),
            is_private_allowed=settings.webhook_private_addresses,
        )


@contextlib.contextmanager
def opened(settings: Settings) -> Generator[tuple[Database, Store, Engine]]:
    """Open catalog, store and engine; close them on exit."""
    with contextlib.ExitStack() as stack:
        db = Database(settings.catalog_url, make_room=disk_of(settings).release_ballast)
        stack.callback(db.close)
        store = stack.enter_context(opened_store(settings, db))
        spill = stack.enter_context(scratch_folder(settings.data.resolve() / "spill"))
        engine = _engine(settings, db, store, Verifier(store), spill=spill)
        stack.callback(engine.close)
        yield db, store, engine


def _lake(
    settings: Settings, db: Database, reports: DamageReports, stack: contextlib.AsyncExitStack
) -> tuple[Store, Verifier, Engine]:
    store = stack.enter_context(opened_store(settings, db))
    verifier = Verifier(
        store,
        valid_for=settings.verify_hours * 3600,
        on_damage=reports.found,
        on_repair=reports.repaired,
    )
    spill = stack.enter_context(scratch_folder(settings.data.resolve() / "spill"))
    engine = _engine(settings, db, store, verifier, spill=spill)
    stack.callback(engine.close)
    return store, verifier, engine


def _loops(db: Database) -> Loops:
    """Return the loops of a process, of which the first connects it to others on the same PostgreSQL."""
    loops = Loops()
    if not db.commits_in_order:
        loops.start("listening", PostgresRelay(db).run)
    return loops


def _notifier(settings: Settings, db: Database, vault: Vault, loops: Loops | None) -> NotificationDispatcher:
    """Return what notifies people, in the background if there are loops."""
    client = NotificationClient(is_private_allowed=settings.webhook_private_addresses)
    notifier = NotificationDispatcher(db, client, vault=vault, public_url=settings.reached_at, clock=now)
    if loops is not None:
        loops.start("notifications", notifier.run)
    return notifier


def _prepared_exports(settings: Settings, db: Database, store: Store) -> PreparedExports:
    if store.is_remote:
        return SharedExports(db, store)
    return PreparedExports(db, settings.data.resolve() / EXPORTS)


def _iceberg_tables(db: Database, engine: Engine, store: Store) -> IcebergTables:
    return SharedIcebergTables(db, engine, store, clock=now) if store.is_remote else IcebergTables(db, engine, store)


def _stream_plans(db: Database, engine: Engine, store: Store) -> StreamPlans:
    return SharedStreamPlans(db, engine, store, clock=now) if store.is_remote else StreamPlans(db, engine, store)


def _store_reader(settings: Settings) -> StoreReader | None:
    if settings.lake_url is None or settings.lake_read_role is None:
        return None
    return StoreReader(settings.lake_url, settings.lake_read_role)


def _maintain(settings: Settings, db: Database, store: Store, loops: Loops) -> None:
    """Start the loops that only some servers need."""
    # In a directory, logs are files from the beginning.
    if store.is_remote:
        shipping = LogShipping(db, store, clock=now)
        loops.start("logs", partial(repeat, shipping.turn, every=LOGS_EVERY, fault="logs.not_moved"))
    # An object store verifies its files itself, and asks money for reading them.
    elif settings.scrub_days:
        scrub = Scrub(db, store, settings.data, period=timedelta(days=settings.scrub_days), clock=now)
        loops.start("scrub", scrub.run)
    if settings.backup_to is not None:
        command = BackupCommand.of(settings)
        backups = BackupSchedule(db, command, schedule=settings.backup_schedule, clock=now)
        loops.start("backup", partial(repeat, backups.turn, every=LOOK_EVERY, fault="backup.not_scheduled"))


def _kept(settings: Settings) -> Kept:
    return Kept(
        events=timedelta(days=settings.event_days),
        receipts=timedelta(days=settings.receipt_days),
        attempts=timedelta(days=settings.attempt_days),
        audit=timedelta(days=settings.audit_days),
    )


async def _sweep(
    db: Database, store: Store, settings: Settings, believed: BelievedClock, iceberg_tables: IcebergTables
) -> None:
    await delete_orphans(db, store, at=await believed.now())
    await iceberg_tables.sweep(now())
    await _prepared_exports(settings, db, store).sweep(now())


def _measure(settings: Settings, db: Database, engine: Engine, metrics: Metrics, loops: Loops) -> None:
    """Start the loops that keep a process's metrics up to date."""

    async def held() -> None:
        metrics.holds(await engine.ask(engine.held))
        metrics.cached(engine.store.cache_counts)

    async def labels() -> None:
        metrics.label(await db.read(stats.oldest_crawlers, limit=settings.metrics_crawlers))

    loops.start("memory", partial(repeat, held, every=WATCH_EVERY, fault="lake.memory_unknown"))
    loops.start("labels", partial(repeat, labels, every=WATCH_EVERY, fault="metrics.crawlers_unknown"))


def _limiters(settings: Settings, role: Role, db: Database, loops: Loops) -> tuple[RateLimiter, LoginLimiter]:
    """Return what limits callers, which servers on one PostgreSQL count together."""
    shared = [0.0] * rate_limit_cells() if role.rate_limits is None else role.rate_limits
    limiters = (
        RateLimiter(most=settings.requests_per_minute, clock=monotonic, shared=shared),
        LoginLimiter(most=settings.failed_logins_per_minute, clock=monotonic, shared=shared),
    )
    buckets = [each.buckets for each in limiters if each.buckets is not None]
    if buckets and not db.commits_in_order:
        rates = SharedRates(db, buckets, clock=monotonic)
        loops.start("rates", partial(repeat, rates.turn, every=RATES_EVERY, fault="rates.not_shared"))
    return limiters


def _key_usage(db: Database, stack: contextlib.AsyncExitStack) -> KeyUsage:
    usage = KeyUsage(db=db)
    stack.push_async_callback(usage.settled)
    return usage


def _console(parts: Services, settings: Settings) -> ConsoleServices:
    return ConsoleServices(
        db=parts.db,
        engine=parts.engine,
        replays=parts.replays,
        reader=parts.reader,
        document_history=parts.document_history,
        bisection=parts.bisection,
        event_feed=parts.event_feed,
        deferred=DeferredResults(),
        task_log_reader=parts.task_log_reader,
        task_diffs=parts.task_diffs,
        document_erasure=parts.document_erasure,
        webhook_dispatcher=parts.webhook_dispatcher,
        notification_client=parts.notification_client,
        notification_dispatcher=parts.notification_dispatcher,
        sandbox=parts.sandbox,
        vault=parts.vault,
        clock=parts.clock,
        rng=parts.rng,
        checks=parts.checks,
        public_url=parts.public_url,
        is_private_allowed=parts.is_private_allowed,
        acquire=parts.rate_limiter.acquire,
        logins=parts.login_limiter,
        oidc=_oidc(settings),
        status_of=errors.status_of,
        failures=parts.readiness.failures,
        settings=[
            Setting(name=name, value=value, description=description, is_default=is_default)
            for name, value, description, is_default in settings.described()
        ],
        version=software_version(),
        workers=settings.workers,
        data=settings.data,
        catalog_place="SQLite" if settings.catalog_url.startswith("sqlite") else "PostgreSQL",
        lake_place="an object store" if settings.lake_url else "a folder of the data directory",
    )


def _oidc(settings: Settings) -> OidcProvider | None:
    if settings.oidc_issuer is None or settings.oidc_client_id is None:
        return None
    secret = settings.oidc_client_secret
    return OidcProvider(
        issuer=settings.oidc_issuer,
        client_id=settings.oidc_client_id,
        client_secret=None if secret is None else secret.get_secret_value(),
        claim=settings.oidc_claim,
        scopes=settings.scopes_by_claim,
        redirect_uri=f"{settings.reached_at.rstrip('/')}/console/oidc/callback",
    )


def _limits(settings: Settings) -> Limits:
    return Limits(
        upload=settings.max_upload,
        document=settings.max_document,
        inlined=settings.max_inlined,
        memory=settings.upload_memory,
        idle_timeout=settings.upload_idle_timeout,
        of_task=settings.uploads_per_task,
    )


def _engine(
    settings: Settings, db: Database, store: Store, verifier: Verifier, *, spill: Path, is_patient: bool = False
) -> Engine:
    return Engine(
        store,
        memory=settings.query_memory,
        spill=spill,
        threads=1 if is_patient else settings.query_threads,
        inlined=Inlined(partial(db.read_blocking, inlined_segments.packed)),
        verifier=verifier,
        is_patient=is_patient,
    )
