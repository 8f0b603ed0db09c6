"""A server process: serves the application on a socket until it is stopped."""

import asyncio
import faulthandler
import gc
import signal
import socket
from dataclasses import replace
from types import FrameType
from typing import Any, cast

import pyarrow as pa
import structlog
import uvicorn
from fastapi import FastAPI

from headwater import descriptors, handoff, telemetry
from headwater.api.dependencies import Services
from headwater.app import ALONE, Role, create_app
from headwater.http_connection import ConnectionLimits, HttpConnection, make_room
from headwater.settings import Settings
from headwater.tls import Certificate

log = structlog.get_logger(__name__)

#: Seconds that uploads and exports in progress get when the server is stopped.
PATIENCE = 30
#: Connections that the kernel queues until they are accepted.
BACKLOG = 2048
#: Connections accepted per iteration of the event loop.
ACCEPT_AT_ONCE = 16
#: Seconds to wait after an accept that failed for lack of descriptors or memory.
ACCEPT_PAUSE = 0.1
#: The server ticks ten times a second; connection timeouts are checked once a second, and the certificate every ten.
TICKS_PER_CHECK = 10
TICKS_PER_REFRESH = 100


def serve(
    settings: Settings,
    listening: socket.socket | None = None,
    *,
    queue: socket.socket | None = None,
    role: Role = ALONE,
) -> int:
    """Serve a socket until stopped by a signal; return 1 if the server could not start, else 0.

    With a ``queue`` instead of a listening socket, serve the connections that a supervisor passes on.
    """
    descriptors.raise_limit()
    # On a crash in native code, dump all threads' stacks to standard error.
    faulthandler.enable()
    # Arrow's own allocator needs 50 MB more for the same uploads, and zeroes each page first.
    pa.set_memory_pool(pa.system_memory_pool())
    app = create_app(settings, role=role, tracer=telemetry.tracer_for(settings.otlp_endpoint))
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_config=None,
        server_header=False,
        forwarded_allow_ips=settings.trusted_proxies,
        timeout_graceful_shutdown=PATIENCE,
        timeout_keep_alive=cast("int", settings.keep_alive_timeout),  # it is only passed to call_later
    )
    limits = ConnectionLimits(
        header=settings.max_header,
        header_timeout=settings.header_timeout,
        keep_alive=settings.keep_alive_timeout,
        response_stall=settings.response_stall,
        connections=settings.max_connections,
    )
    certificate = None
    if settings.tls_cert is not None and settings.tls_key is not None:
        certificate = Certificate(settings.tls_cert, settings.tls_key)
    server = _Server(config, app, limits=limits, listening=listening, queue=queue, certificate=certificate)
    server.run(sockets=[])
    return 0 if server.started else 1


class _Server(uvicorn.Server):
    """A server that enforces connection limits, and releases long polls and event streams when stopped."""

    def __init__(
        self,
        config: uvicorn.Config,
        app: FastAPI,
        *,
        limits: ConnectionLimits,
        listening: socket.socket | None,
        queue: socket.socket | None,
        certificate: Certificate | None,
    ) -> None:
        super().__init__(config)
        self._certificate = certificate
        self._app = app
        self._limits = limits
        self._listening = listening
        self._queue = queue
        self._arriving: set[asyncio.Task[Any]] = set()
        self._is_interrupted = False
        self._logged = -handoff.LOG_EVERY

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        # Present objects stay. Collecting them later would pause everything for 50 ms, amid the first uploads.
        gc.collect()
        gc.freeze()
        gc.enable()
        if not self.started:
            return
        self._limits = replace(self._limits, connections=descriptors.connections(self._limits.connections))
        if self._queue is not None:
            self._queue.setblocking(False)
        if self._listening is not None:
            self._listening.setblocking(False)
            self._listening.listen(BACKLOG)
        self._resume()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._pause()
        if self._listening is not None:
            self._listening.close()
        await super().shutdown(sockets)

    async def on_tick(self, counter: int) -> bool:
        if counter % TICKS_PER_CHECK == 0:
            now = asyncio.get_running_loop().time()
            for connection in cast("list[HttpConnection]", list(self.server_state.connections)):
                connection.check(now)
        if self._certificate is not None and counter % TICKS_PER_REFRESH == 0:
            self._certificate.refresh()
        return await super().on_tick(counter)

    def _resume(self) -> None:
        if self.should_exit:
            return
        loop = asyncio.get_running_loop()
        if self._queue is not None:
            loop.add_reader(self._queue, self._take, self._queue)
        if self._listening is not None:
            loop.add_reader(self._listening, self._accept, self._listening)

    def _pause(self) -> None:
        loop = asyncio.get_running_loop()
        for source in (self._queue, self._listening):
            if source is not None and source.fileno() >= 0:
                loop.remove_reader(source)

    def _accept(self, listening: socket.socket) -> None:
        """Accept waiting connections, a few at a time: idle ones are closed between iterations of the event loop."""
        for _ in range(ACCEPT_AT_ONCE):
            try:
                connection, _ = listening.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in handoff.OUT_OF:
                    self._handle_shortage(error.strerror)
                    self._pause()
                    asyncio.get_running_loop().call_later(ACCEPT_PAUSE, self._resume)
                    return
                continue  # that client has disconnected
            self._connect(connection)

    def _take(self, queue: socket.socket) -> None:
        """Serve a connection that the supervisor has accepted."""
        try:
            connections = handoff.take(queue)
        except (BlockingIOError, InterruptedError):
            return
        if connections is None:  # the supervisor has ended
            asyncio.get_running_loop().remove_reader(queue)
            return
        if not connections:
            self._handle_shortage("a connection was lost because this process has no file descriptor left")
        for connection in connections:
            self._connect(connection)

    def _handle_shortage(self, reason: str | None) -> None:
        """Close idle connections when descriptors run out, and log that now and then."""
        closed = make_room(cast("set[HttpConnection]", self.server_state.connections))
        now = asyncio.get_running_loop().time()
        if now - self._logged >= handoff.LOG_EVERY:
            self._logged = now
            log.warning("connections.accept_failed", reason=reason, closed=closed)

    def _connect(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:  # the client has already disconnected
            connection.close()
            return
        tls: dict[str, Any] = {}
        if self._certificate is not None:
            tls = {"ssl": self._certificate.context, "ssl_handshake_timeout": self._limits.header_timeout}
        arriving = loop.create_task(loop.connect_accepted_socket(self._protocol, connection, **tls))
        self._arriving.add(arriving)

        def arrived(task: asyncio.Task[Any]) -> None:
            self._arriving.discard(task)
            if task.cancelled() or task.exception() is not None:
                connection.close()

        arriving.add_done_callback(arrived)

    def _protocol(self) -> asyncio.Protocol:
        return HttpConnection(
            limits=self._limits,
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # One Ctrl-C reaches a worker twice, from the terminal and from its supervisor, in either order. Only a second
        # Ctrl-C means that requests in progress are not waited for.
        if self._queue is not None and sig == signal.SIGINT and not self._is_interrupted:
            self._is_interrupted = True
            sig = signal.SIGTERM
        super().handle_exit(sig, frame)
        services: Services | None = getattr(self._app.state, "services", None)
        if services is not None:
            services.release_waiters()
