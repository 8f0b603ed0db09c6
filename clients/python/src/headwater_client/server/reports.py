"""Short reports of runs that have no writer yet, or none any more."""

from __future__ import annotations

import asyncio
import logging
import threading
from http import HTTPStatus
from typing import Any

import httpx

from headwater_client.asking import USER_AGENT, Blocking
from headwater_client.errors import HeadwaterError, Problem, TaskGone
from headwater_client.objects import Task
from headwater_client.patience import Patience
from headwater_client.server.orders import Order
from headwater_client.tasks import reporting
from headwater_client.threads import in_thread

log = logging.getLogger("headwater_client.server")

#: Seconds that a report may take, its tries together: it is a sign of life, or the server is about to end.
SHORT = 4.0

_GONE = {HTTPStatus.UNAUTHORIZED, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT}


class Reporter:
    """Reports statuses of any number of tasks, over the same connections."""

    def __init__(self, transport: httpx.BaseTransport | None = None) -> None:
        """Send through ``transport``, or else over the network."""
        self._transport = transport
        self._client: httpx.Client | None = None
        self._lock = threading.Lock()

    async def report(self, order: Order[Any], code: int, message: str) -> Task | None:
        """Report a status, and return the task; None, and a line in the log, if that cannot be done.

        Raises:
            TaskGone: Headwater wants nothing more for this task.
        """
        try:
            return await asyncio.wait_for(
                in_thread(lambda: self._ask(order, code, message), name=f"task-{order.fid}-status"), SHORT
            )
        except TaskGone:
            raise
        except (HeadwaterError, asyncio.TimeoutError) as error:
            log.warning("task %s: status %d cannot be reported: %r", order.fid, code, error)
            return None

    def close(self) -> None:
        """Let go of the connections; a later report makes new ones."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _ask(self, order: Order[Any], code: int, message: str) -> Task:
        asking = Blocking(self._opened(), Patience(seconds=SHORT / 2))
        headers = {} if order.token is None else {"Authorization": f"Bearer {order.token}"}
        try:
            return asking.ask(reporting(order.endpoint, code, message, None, **headers))
        except Problem as problem:
            if problem.status in _GONE:
                raise TaskGone(f"Headwater wants nothing more for this task: {problem.detail}") from problem
            raise

    def _opened(self) -> httpx.Client:
        with self._lock:
            if self._client is None:
                # Made when it is needed, for that takes some time.
                self._client = httpx.Client(
                    headers={"User-Agent": USER_AGENT}, timeout=SHORT / 2, transport=self._transport
                )
            return self._client
