"""Sends lines to the log of a task, in the background; a log never fails or delays the crawl."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import deque
from datetime import UTC, datetime
from typing import Any

import httpx

from headwater_client.cleaning import cleaned
from headwater_client.errors import HeadwaterError, Unavailable
from headwater_client.requests import Call
from headwater_client.retry import RetryPolicy
from headwater_client.transport import SyncTransport

#: Bytes of a request, and of lines that wait; over it, further lines are dropped and counted.
MAX_BYTES = 256 << 10
MAX_WAITING = 4 << 20
#: Maximum seconds for which a line waits.
MAX_SECONDS = 2.0
#: Seconds for which a failed request is retried.
RETRY_FOR = 60.0
#: Seconds for the last lines when the task is closed.
CLOSE_TIMEOUT = 5.0

_LEVELS = (
    (logging.CRITICAL, "critical"),
    (logging.ERROR, "error"),
    (logging.WARNING, "warning"),
    (logging.INFO, "info"),
)


class LogSender:
    """Collects lines, and sends them by a thread that starts with the first one. Thread-safe."""

    def __init__(self, client: httpx.Client, task_path: str, *, max_seconds: float = MAX_SECONDS) -> None:
        """Send to the task at ``task_path`` through ``client``."""
        self._transport = SyncTransport(client, RetryPolicy(seconds=RETRY_FOR), sleep=self._pause)
        self._path = f"{task_path}/log"
        self._max_seconds = max_seconds
        self._turn = threading.Condition()
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._thread: threading.Thread | None = None
        self._is_sending = False
        self._is_urgent = False
        self._is_ended = False
        #: Whether the last request failed, and is about to be retried.
        self._is_failing = False
        #: Number of lines that were not sent.
        self.dropped = 0

    def send(self, text: str, level: str = "info", *, at: float | None = None, **fields: Any) -> None:
        """Send a line soon; never raises, and never waits."""
        moment = datetime.fromtimestamp(time.time() if at is None else at, UTC)
        line = {**fields, "at": moment.isoformat(), "level": level, "text": text}
        self._offer(json.dumps(cleaned(line), default=str).encode() + b"\n")

    def is_own_thread(self) -> bool:
        """Return whether the caller is the sending thread, whose own log would never end."""
        return threading.current_thread() is self._thread

    def flush(self, seconds: float = CLOSE_TIMEOUT) -> None:
        """Wait until all lines are sent, at most ``seconds``, and not while Headwater does not answer."""
        until = time.monotonic() + seconds
        with self._turn:
            self._is_urgent = True
            self._turn.notify_all()
            while (self._waiting or self._is_sending) and not self._is_idle and time.monotonic() < until:
                self._turn.wait(0.1)
            self._is_urgent = False

    @property
    def _is_idle(self) -> bool:
        return self._is_ended or self._is_failing

    def end(self) -> None:
        """Send nothing more."""
        with self._turn:
            self._is_ended = True
            self._turn.notify_all()

    def _offer(self, line: bytes) -> None:
        with self._turn:
            if self._is_ended or self._size + len(line) > MAX_WAITING:
                self.dropped += 1
                return
            self._waiting.append(line)
            self._size += len(line)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="headwater-log", daemon=True)
                self._thread.start()
            if self._size >= MAX_BYTES:
                self._turn.notify_all()

    def _run(self) -> None:
        while (body := self._next()) is not None:
            try:
                self._post(body)
            except Unavailable:
                self.dropped += body.count(b"\n")
            except Exception as error:  # noqa: BLE001 - a log never fails the crawl
                # The task is gone, or the server knows no logs: nothing more is wanted.
                self.dropped += body.count(b"\n")
                if isinstance(error, HeadwaterError):
                    self.end()
            finally:
                with self._turn:
                    self._is_sending = False
                    self._turn.notify_all()

    def _post(self, body: bytes) -> None:
        self._transport.send(Call("POST", self._path, lambda _answer: None, content=lambda: body))
        self._is_failing = False

    def _next(self) -> bytes | None:
        """Wait for the next body; None once it has ended."""
        with self._turn:
            while not self._waiting and not self._is_ended:
                self._turn.wait(1.0)
            due = time.monotonic() + self._max_seconds
            while self._size < MAX_BYTES and not self._is_urgent and not self._is_ended:
                left = due - time.monotonic()
                if left <= 0:
                    break
                self._turn.wait(min(left, 1.0))
            if self._is_ended:
                return None
            lines: list[bytes] = []
            size = 0
            while self._waiting and (not lines or size + len(self._waiting[0]) <= MAX_BYTES):
                size += len(self._waiting[0])
                lines.append(self._waiting.popleft())
            self._size -= size
            self._is_sending = True
            return b"".join(lines)

    def _pause(self, seconds: float) -> None:
        with self._turn:
            self._is_failing = True
            self._turn.notify_all()
            self._turn.wait_for(lambda: self._is_ended, seconds)
        if self._is_ended:
            raise HeadwaterError("the log has ended")


class TaskLogHandler(logging.Handler):
    """A handler of ``logging`` that sends records to the log of a task."""

    def __init__(self, sender: LogSender, level: int | str = logging.INFO) -> None:
        """Send records of ``level`` and above."""
        super().__init__(level)
        self._sender = sender

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record, with the name of its logger; tracebacks are part of the text."""
        if self._sender.is_own_thread():
            return
        try:
            level = next((name for number, name in _LEVELS if record.levelno >= number), "debug")
            self._sender.send(self.format(record), level, at=record.created, logger=record.name)
        except Exception:  # noqa: BLE001 - as handlers of the standard library do
            self.handleError(record)

    def flush(self) -> None:
        """Send what is waiting, within a few seconds; not from a flush at exit of an ended sender."""
        if not self._sender.is_own_thread():
            self._sender.flush()
