"""A process that answers: the application on a socket, until it is told to stop."""

import asyncio
import faulthandler
import gc
import socket
from types import FrameType
from typing import Any

import pyarrow as pa
import uvicorn
from fastapi import FastAPI

from headwater import telemetry
from headwater.api.parts import Parts
from headwater.app import ALONE, Role, create_app
from headwater.settings import Settings

#: Seconds that uploads and exports which are under way may take when the server is told to stop.
PATIENCE = 30


def serve(
    settings: Settings,
    listening: socket.socket | None = None,
    *,
    door: socket.socket | None = None,
    role: Role = ALONE,
) -> int:
    """Answer on a socket until told to stop by a signal; return 1 if that could not be begun, else 0.

    Or, instead of listening, answer the connections that come in, accepted, over a ``door``.
    """
    # Should a library crash, the log says what each thread was at.
    faulthandler.enable()
    # Arrow's own allocator takes 50 MB more for the same uploads, and each page of them must be zeroed first.
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
        timeout_graceful_shutdown=PATIENCE,
    )
    server = _Server(config, app, door=door)
    server.run(sockets=[] if listening is None else [listening])
    return 0 if server.started else 1


class _Server(uvicorn.Server):
    """A server that, told to stop, lets go those who wait for changes: they would wait on."""

    def __init__(self, config: uvicorn.Config, app: FastAPI, *, door: socket.socket | None) -> None:
        super().__init__(config)
        self._app = app
        self._door = door
        self._arriving: set[asyncio.Task[Any]] = set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        # What is there now stays. To look through it would stop everything for 50 ms, just when uploads begin to come.
        gc.collect()
        gc.freeze()
        if self._door is not None and self.started:
            asyncio.get_running_loop().add_reader(self._door, self._let_in, self._door)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._door is not None:
            asyncio.get_running_loop().remove_reader(self._door)
        await super().shutdown(sockets)

    def _let_in(self, door: socket.socket) -> None:
        """Answer a connection that the supervisor has accepted."""
        loop = asyncio.get_running_loop()
        _, handles, _, _ = socket.recv_fds(door, 1, 1)
        if not handles:  # there is no supervisor any more
            loop.remove_reader(door)
        for handle in handles:
            connection = socket.socket(fileno=handle)
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            arriving = loop.create_task(loop.connect_accepted_socket(self._protocol, connection))
            self._arriving.add(arriving)
            arriving.add_done_callback(self._arriving.discard)

    def _protocol(self) -> asyncio.Protocol:
        kind: Any = self.config.http_protocol_class
        return kind(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        parts: Parts | None = getattr(self._app.state, "parts", None)
        if parts is not None:
            parts.let_go()
