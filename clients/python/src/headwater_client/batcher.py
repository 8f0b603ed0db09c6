"""Collects lines into batches, and packs and sends them in background threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from headwater_client.errors import WriterClosed

#: Maximum seconds of a single wait, since waits without a timeout cannot be interrupted on some platforms.
MAX_WAIT = 1.0


@dataclass(frozen=True)
class Batch:
    """Lines, packed (compressed) for sending."""

    body: bytes
    #: Number of lines.
    count: int


class Batcher:
    """Sends lines in batches: when the buffer is full, when its first line is too old, or on ``flush``.

    One thread packs and another sends, so that neither the program nor the server waits for compression. Batches are
    sent one at a time, in order. After a failure, every call raises it.
    """

    def __init__(
        self,
        pack: Callable[[bytearray], bytes],
        send: Callable[[Batch], None],
        *,
        max_bytes: int,
        max_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Create an empty batcher.

        Args:
            pack: makes the request body from lines.
            send: sends a batch; returns once it is acknowledged, or raises.
            max_bytes: maximum size of a buffer; a longer line is sent alone.
            max_seconds: maximum time for which a line is buffered.
            clock: returns seconds.
        """
        self._pack = pack
        self._send = send
        self._max_bytes = max_bytes
        self._max_seconds = max_seconds
        self._clock = clock
        self._turn = threading.Condition()
        self._has_begun = False
        self._filling = bytearray()
        self._lines = 0
        self._due = 0.0
        self._is_full = False
        self._is_flushing = False
        self._is_packing = False
        self._packed: Batch | None = None
        self._is_sending = False
        self._is_ended = False
        self._failure: BaseException | None = None

    def offer(self, line: bytes) -> bool:
        """Add a line if there is room, and return whether there was.

        Raises:
            HeadwaterError: an upload failed.
        """
        with self._turn:
            if self._failure is not None:
                raise self._failure
            if self._lines and len(self._filling) + len(line) > self._max_bytes:
                self._is_full = True
                self._turn.notify_all()
                return False
            if not self._lines:
                self._due = self._clock() + self._max_seconds
                self._begin()
                self._turn.notify_all()
            self._filling += line
            self._lines += 1
            return True

    def wait_for_room(self) -> None:
        """Wait until the full buffer has been handed to the packer.

        Raises:
            HeadwaterError: an upload failed, or the batcher was ended in the meantime.
        """
        with self._turn:
            self._wait(lambda: not self._is_full)

    def flush(self, seconds: float | None = None) -> None:
        """Wait until all lines are sent, at most ``seconds``.

        Raises:
            HeadwaterError: an upload failed.
            TimeoutError: they were not sent in time.
        """
        with self._turn:
            self._is_flushing = True
            self._turn.notify_all()
            try:
                self._wait(self._is_empty, seconds)
            finally:
                self._is_flushing = False

    def fail(self, failure: BaseException) -> None:
        """Make every call raise ``failure``, and send nothing more."""
        with self._turn:
            self._failure = self._failure or failure
            self._turn.notify_all()

    @property
    def failure(self) -> BaseException | None:
        """The failure that every call raises, if any."""
        return self._failure

    def end(self) -> None:
        """Stop the threads; lines not yet sent are discarded."""
        with self._turn:
            self._is_ended = True
            self._turn.notify_all()

    def pause(self, seconds: float) -> None:
        """Sleep between two attempts; returns early when the batcher ends."""
        with self._turn:
            self._turn.wait_for(self._is_over, seconds)
            if self._failure is not None:
                raise self._failure

    def _wait(self, condition: Callable[[], bool], seconds: float | None = None) -> None:
        until = None if seconds is None else self._clock() + seconds
        while not self._is_over() and not condition():
            if until is not None and self._clock() >= until:
                raise TimeoutError("it is not sent yet")
            self._turn.wait(MAX_WAIT)
        if self._failure is not None:
            raise self._failure
        if self._is_ended and not condition():
            raise WriterClosed("the writer was closed meanwhile, and this was not sent")

    def _is_empty(self) -> bool:
        return not (self._lines or self._is_packing or self._packed or self._is_sending)

    def _is_over(self) -> bool:
        return self._is_ended or self._failure is not None

    def _is_due(self) -> bool:
        return self._lines > 0 and (self._is_full or self._is_flushing or self._clock() >= self._due)

    def _begin(self) -> None:
        if self._has_begun:
            return
        self._has_begun = True
        for work in (self._packer, self._sender):
            # Daemon threads, so that a program that forgets to close its writer can exit.
            threading.Thread(target=self._until_over, args=(work,), name="headwater-uploads", daemon=True).start()

    def _until_over(self, work: Callable[[], None]) -> None:
        try:
            while not self._is_over():
                work()
        except BaseException as error:  # noqa: BLE001 - raised by the next call
            self.fail(error)

    def _packer(self) -> None:
        with self._turn:
            if not self._is_due():
                self._turn.wait(max(self._due - self._clock(), 0.0) if self._lines else None)
                return
            lines, count = self._filling, self._lines
            self._filling, self._lines = bytearray(), 0
            self._is_packing, self._is_full = True, False
            self._turn.notify_all()
        batch = Batch(self._pack(lines), count)
        with self._turn:
            self._turn.wait_for(lambda: self._packed is None or self._is_over())
            self._packed, self._is_packing = batch, False
            self._turn.notify_all()

    def _sender(self) -> None:
        with self._turn:
            if self._packed is None:
                self._turn.wait()
                return
            batch, self._packed = self._packed, None
            self._is_sending = True
            self._turn.notify_all()
        self._send(batch)
        with self._turn:
            self._is_sending = False
            self._turn.notify_all()
