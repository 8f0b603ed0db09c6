"""Lines on their way: one buffer fills, the next is packed, and the one before is sent."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from headwater_client.errors import WriterClosed

#: Seconds after which somebody who waits looks again; on some platforms a wait without end cannot be interrupted.
GLANCE = 1.0


@dataclass(frozen=True)
class Parcel:
    """Lines, packed as they are sent."""

    body: bytes
    #: How many lines.
    count: int


class Outbox:
    """Takes lines, and has them sent when they are many, or old, or when it is flushed.

    One thread packs and one sends, so that neither the program nor the server waits for the packing; one parcel is
    under way at a time, in order. Once anything has failed, the failure is raised by every call.
    """

    def __init__(
        self,
        pack: Callable[[bytearray], bytes],
        send: Callable[[Parcel], None],
        *,
        max_bytes: int,
        max_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin with nothing.

        Args:
            pack: makes the body of lines.
            send: returns when they are at their goal, or raises.
            max_bytes: of a buffer; a line that is longer is sent alone.
            max_seconds: after which a line does not wait for others.
            clock: seconds.
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
        self._packed: Parcel | None = None
        self._is_sending = False
        self._is_ended = False
        self._failure: BaseException | None = None

    def offer(self, line: bytes) -> bool:
        """Take a line if there is room for it, and tell whether there was.

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
        """Wait until the filling buffer was handed over.

        Raises:
            HeadwaterError: an upload failed, or it was ended meanwhile.
        """
        with self._turn:
            self._wait(lambda: not self._is_full)

    def flush(self, seconds: float | None = None) -> None:
        """Wait until all that was taken is sent, for so many seconds at most.

        Raises:
            HeadwaterError: an upload failed.
            TimeoutError: it is not sent.
        """
        with self._turn:
            self._is_flushing = True
            self._turn.notify_all()
            try:
                self._wait(self._is_empty, seconds)
            finally:
                self._is_flushing = False

    def fail(self, failure: BaseException) -> None:
        """Let every call raise ``failure``, and send nothing more."""
        with self._turn:
            self._failure = self._failure or failure
            self._turn.notify_all()

    @property
    def failure(self) -> BaseException | None:
        """What went wrong."""
        return self._failure

    def end(self) -> None:
        """Let the threads end; what is not sent is dropped."""
        with self._turn:
            self._is_ended = True
            self._turn.notify_all()

    def pause(self, seconds: float) -> None:
        """Wait between two tries; not longer than until nothing is wanted any more."""
        with self._turn:
            self._turn.wait_for(self._is_over, seconds)
            if self._failure is not None:
                raise self._failure

    def _wait(self, condition: Callable[[], bool], seconds: float | None = None) -> None:
        until = None if seconds is None else self._clock() + seconds
        while not self._is_over() and not condition():
            if until is not None and self._clock() >= until:
                raise TimeoutError("it is not sent yet")
            self._turn.wait(GLANCE)
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
            # Daemons, so that a program which forgets to close its writer can end.
            threading.Thread(target=self._until_over, args=(work,), name="headwater-uploads", daemon=True).start()

    def _until_over(self, work: Callable[[], None]) -> None:
        try:
            while not self._is_over():
                work()
        except BaseException as error:  # noqa: BLE001 - whatever it is, who writes shall learn of it
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
        parcel = Parcel(self._pack(lines), count)
        with self._turn:
            self._turn.wait_for(lambda: self._packed is None or self._is_over())
            self._packed, self._is_packing = parcel, False
            self._turn.notify_all()

    def _sender(self) -> None:
        with self._turn:
            if self._packed is None:
                self._turn.wait()
                return
            parcel, self._packed = self._packed, None
            self._is_sending = True
            self._turn.notify_all()
        self._send(parcel)
        with self._turn:
            self._is_sending = False
            self._turn.notify_all()
