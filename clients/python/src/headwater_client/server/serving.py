"""Serves a crawler with uvicorn, and registers it once it listens."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
from collections.abc import Awaitable, Callable, Mapping
from types import FrameType
from typing import Any

import uvicorn

from headwater_client.errors import Unavailable

log = logging.getLogger("headwater_client.server")

#: Seconds between attempts to register, initially and at most.
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
#: Seconds to wait for requests in progress on shutdown; they are short.
REQUESTS = 5

_IPV6 = 6


class Server(uvicorn.Server):
    """uvicorn server that registers the crawler; a second signal ends the grace period."""

    def __init__(
        self, config: uvicorn.Config, *, hurry: Callable[[], None], register: Callable[[], Awaitable[object]] | None
    ) -> None:
        """Create the server.

        Args:
            config: uvicorn's configuration.
            hurry: ends the grace period of a shutdown.
            register: registers the crawler, or raises.
        """
        super().__init__(config)
        self._hurry = hurry
        self._register = register
        self._registering: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        #: Error of the registration.
        self.failure: BaseException | None = None

    async def startup(self, *args: Any, **options: Any) -> None:
        """Listen, then register: Headwater may call at once."""
        await super().startup(*args, **options)
        self._loop = asyncio.get_running_loop()
        if self._register is not None:
            self._registering = self._loop.create_task(self._keep_registering(self._register))

    async def shutdown(self, *args: Any, **options: Any) -> None:
        """Stop registering, and shut down."""
        if self._registering is not None:
            self._registering.cancel()
        await super().shutdown(*args, **options)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Start the shutdown; the second time, end its grace period."""
        if self.should_exit and self._loop is not None:
            self._loop.call_soon_threadsafe(self._hurry)
            return
        super().handle_exit(sig, frame)

    async def _keep_registering(self, register: Callable[[], Awaitable[object]]) -> None:
        pause = FIRST_PAUSE
        while not await self._is_settled(register):
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _is_settled(self, register: Callable[[], Awaitable[object]]) -> bool:
        try:
            await register()
        except Unavailable as error:
            log.warning("the crawler is not registered yet, since Headwater cannot be reached: %s", error)
            return False
        except Exception as error:  # noqa: BLE001 - raised by `serve`
            # Not retried: waiting would not help.
            self.failure = error
            self.should_exit = True
        return True


def serve(
    app: Callable[..., Awaitable[None]],
    options: Mapping[str, Any],
    *,
    hurry: Callable[[], None],
    register: Callable[[], Awaitable[object]] | None,
) -> None:
    """Serve an application until a signal ends it.

    Raises:
        HeadwaterError, TypeError, ValueError: it cannot be registered.
    """
    # Default logging: warnings of all libraries, and this package's info messages.
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
    ours = logging.getLogger("headwater_client")
    if ours.level == logging.NOTSET:
        ours.setLevel(logging.INFO)
    settings: dict[str, Any] = {"lifespan": "on", "timeout_graceful_shutdown": REQUESTS, **options}
    config = uvicorn.Config(app, **settings)
    server = Server(config, hurry=hurry, register=register)
    with contextlib.suppress(KeyboardInterrupt):
        server.run()
    if server.failure is not None:
        raise server.failure


def endpoint_of(host: str, port: int) -> str | None:
    """Return the URL of a server that listens on a host; None for an unspecified address such as 0.0.0.0."""
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(host)
        if address.is_unspecified:
            return None
        return f"http://[{host}]:{port}" if address.version == _IPV6 else f"http://{host}:{port}"
    return f"http://{host}:{port}" if host and port else None


def is_loopback(host: str) -> bool:
    """Return whether a host is a loopback address."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"
