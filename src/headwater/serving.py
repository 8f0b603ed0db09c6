"""A process that answers: the application on a socket, until it is told to stop."""

import socket
from types import FrameType

import uvicorn
from fastapi import FastAPI

from headwater.api.parts import Parts
from headwater.app import ALONE, Role, create_app
from headwater.settings import Settings

#: Seconds that uploads and exports which are under way may take when the server is told to stop.
PATIENCE = 30


def serve(settings: Settings, listening: socket.socket, *, role: Role = ALONE) -> int:
    """Answer on a socket until told to stop by a signal; return 1 if that could not be begun, else 0."""
    app = create_app(settings, role=role)
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
    server = _Server(config, app)
    server.run(sockets=[listening])
    return 0 if server.started else 1


class _Server(uvicorn.Server):
    """A server that, told to stop, lets go those who wait for changes: they would wait on."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        parts: Parts | None = getattr(self._app.state, "parts", None)
        if parts is not None:
            parts.follower.close()
