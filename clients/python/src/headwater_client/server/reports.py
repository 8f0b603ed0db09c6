"""Reports statuses of runs that have no writer (yet, or any more)."""

from __future__ import annotations

import asyncio
import logging
import threading
from http import HTTPStatus
from typing import Any

import httpx

from headwater_client.errors import Problem, TaskGone
from headwater_client.models.objects import Task
from headwater_client.retry import RetryPolicy
from headwater_client.server.start_request import StartRequest
from headwater_client.tasks import reporting
from headwater_client.threads import in_thread
from headwater_client.transport import USER_AGENT, SyncTransport

log = logging.getLogger("headwater_client.server")

#: Timeout of a report in seconds, with its retries: it is a heartbeat, or the server is shutting down.
SHORT = 4.0

_GONE = {HTTPStatus.UNAUTHORIZED, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT}


class Reporter:
    """Reports statuses of any number of tasks over one connection pool."""

    def __init__(self, transport: httpx.BaseTransport | None = None) -> None:
        """Send through ``transport``, by default over the network."""
        self._transport = transport
        self._client: httpx.Client | None = None
        self._lock = threading.Lock()

    async def report(self, order: StartRequest[Any], code: int, message: str) -> Task | None:
        """Report a status, and return the task; on failure, log it and return None.

        Raises:
            TaskGone: the task was deleted, stopped or retried.
        """
        try:
            return await asyncio.wait_for(
                in_thread(lambda: self._ask(order, code, message), name=f"task-{order.fid}-status"), SHORT
            )
        except TaskGone:
            raise
        except Exception as error:  # noqa: BLE001 - a run continues without its report
            log.warning("task %s: status %d cannot be reported: %r", order.fid, code, error)
            return None

    def close(self) -> None:
        """Close the connections; a later report opens new ones."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _ask(self, order: StartRequest[Any], code: int, message: str) -> Task:
        transport = SyncTransport(self._opened(), RetryPolicy(seconds=SHORT / 2))
        headers = {} if order.token is None else {"Authorization": f"Bearer {order.token}"}
        try:
            return transport.send(reporting(order.endpoint, code, message, None, **headers))
        except Problem as problem:
            if problem.status in _GONE:
                raise TaskGone(f"Headwater wants nothing more for this task: {problem.detail}") from problem
            raise

    def _opened(self) -> httpx.Client:
        with self._lock:
            if self._client is None:
                # Created lazily, since that is slow.
                self._client = httpx.Client(
                    headers={"User-Agent": USER_AGENT}, timeout=SHORT / 2, transport=self._transport
                )
            return self._client
