"""Pool of sandbox processes: started on demand; killed and replaced when they exceed their limits."""

import asyncio
import json
import mmap
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from threading import Condition
from typing import IO, Any, TypeVar

import msgspec

from headwater.domain.errors import Flaw, SchemaInvalid
from headwater.sandbox.messages import BOARD, MOST_LINES, PENDING, UNDECODABLE, Reply, Request, receive, send
from headwater.sandbox.slots import slot_released

#: CPU seconds for a schema, and for one document.
SECONDS = 2.0
#: Seconds of wall-clock time without progress after which a process is killed, however busy the machine is.
_STUCK = 60.0

#: Threads that wait for the sandbox on behalf of event loops.
_THREADS = 8

T = TypeVar("T")

_decode = msgspec.msgpack.Decoder(Reply).decode


class WouldBlock(RuntimeError):
    """The sandbox was called in an event loop, which must not block."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """The sandbox's verdict on a line."""

    #: The id of a valid document; None otherwise.
    doc_id: str | None = None
    #: Whether the line is not JSON.
    is_broken: bool = False
    #: Whether it exceeded the limits.
    is_too_costly: bool = False


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """What is wrong with a line, as far as the limits allowed."""

    flaws: Sequence[Flaw] = ()
    is_truncated: bool = False
    is_too_deep: bool = False
    #: The id of the document, if it has one.
    doc_id: str | None = None
    #: The byte offset of the syntax error in a line that is not JSON.
    offset: int = 0
    #: CPU seconds that were used.
    seconds: float = 0.0


class _Died(Exception):
    """The process was killed, or has exited, during a request."""

    def __init__(self, board: bytes, replies: Sequence[Reply]) -> None:
        super().__init__()
        self.board = board
        self.replies = replies


class _Idled(Exception):
    """The process exited before the request, after its idle timeout."""


class _Process:
    """One sandbox process."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with _memory() as file, theirs:
            file.truncate(BOARD)
            self._board = mmap.mmap(file.fileno(), BOARD)
            command = [sys.executable, "-P", "-m", "headwater.sandbox.process"]
            self._popen = subprocess.Popen(  # noqa: S603 - our own program
                [*command, str(theirs.fileno()), str(file.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), file.fileno()),
                start_new_session=True,
            )
        self._socket = ours
        self._socket.settimeout(_STUCK)
        self._known: set[bytes] = set()

    @property
    def is_alive(self) -> bool:
        return self._popen.poll() is None

    def ask(self, request: Request, schema: Callable[[], bytes]) -> tuple[bytes, list[Reply]]:
        """Return the verdicts and all replies.

        Raises:
            _Died: it did not finish.
            _Idled: it did not start.
        """
        request.schema = None if request.key in self._known else schema()
        replies: list[Reply] = []
        try:
            self._send(request)
            while not replies or replies[-1].has_more:
                replies.append(self._receive())
                if replies[-1].is_unknown:
                    request.schema = schema()
                    self._send(request)
                    replies.clear()
        except (OSError, EOFError):
            self.kill()
            if self._popen.returncode == 0 and not replies:
                raise _Idled from None
            raise _Died(self._board[:], replies) from None
        self._known.add(request.key)
        return self._board[:], replies

    def _send(self, request: Request) -> None:
        self._board[:] = bytes(BOARD)
        send(self._socket, request)

    def _receive(self) -> Reply:
        while True:
            before = self._board[:]
            try:
                return _decode(receive(self._socket))
            except TimeoutError:
                if self._board[:] == before:
                    raise

    def kill(self) -> None:
        with suppress(OSError):
            self._popen.kill()
        self._popen.wait()
        self._socket.close()

    def close(self) -> None:
        self.kill()
        self._board.close()


class Sandbox:
    """A pool of processes; used by any number of threads, and never by an event loop."""

    def __init__(self, *, processes: int = 2, seconds: float = SECONDS) -> None:
        """Start up to this many processes on demand; a schema and a document get ``seconds`` of CPU time each."""
        self._most = processes
        self._seconds = seconds
        self._free: list[_Process] = []
        #: Threads for callers in an event loop.
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="sandbox")
        self._count = 0
        self._is_closed = False
        self._changed = Condition()

    @property
    def seconds(self) -> float:
        """CPU seconds for a schema, and for one document."""
        return self._seconds

    def close(self) -> None:
        """Stop idle processes; busy ones stop when they are done."""
        with self._changed:
            self._is_closed = True
            free, self._free = self._free, []
            self._count -= len(free)
        for process in free:
            process.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def run(self, work: Callable[[], T]) -> "asyncio.Future[T]":
        """Run something that uses the sandbox in a thread, for an event loop."""
        return asyncio.get_running_loop().run_in_executor(self._threads, work)

    def compile(self, schema: "SchemaText") -> None:
        """Raise unless a schema compiles.

        Raises:
            SchemaInvalid: it does not compile within the limits.
        """
        try:
            _, replies = self._ask(schema, lines=[], seconds_in_all=0)
        except _Died:
            raise too_costly(self._seconds) from None
        flaws = replies[-1].flaws
        if flaws:
            raise SchemaInvalid(f"the schema does not compile: {flaws[0].message}", flaws=flaws)

    def check(
        self, schema: "SchemaText", lines: Sequence[bytes], *, field: str | None, seconds: float
    ) -> tuple[list[Judged], float]:
        """Validate lines against a schema, within this many CPU seconds in total.

        Return the verdict on each line, and the seconds used.
        """
        found: list[Judged] = []
        spent, most = 0.0, MOST_LINES
        while len(found) < len(lines) and spent < seconds:
            some = list(lines[len(found) : len(found) + most])
            most = MOST_LINES
            try:
                board, replies = self._ask(schema, lines=some, field=field, seconds_in_all=seconds - spent)
            except _Died as error:
                spent += self._seconds
                if not error.board[BOARD - 1]:
                    break  # it does not compile
                # The ids of the documents before the one that exceeded the limit are lost.
                most = error.board.find(PENDING, 0, len(some))
                if most <= 0:
                    found.append(_TOO_COSTLY)
                    most = MOST_LINES
            else:
                spent += replies[-1].seconds
                if replies[-1].flaws:
                    break
                found += map(_judged, board[: len(replies[-1].ids)], replies[-1].ids)
        found += [_TOO_COSTLY] * (len(lines) - len(found))
        return found, spent

    def explain(
        self, schema: "SchemaText", line: bytes, *, field: str | None, most: int, seconds: float
    ) -> Explanation:
        """Return what is wrong with a line, ``most`` flaws at most, within this many CPU seconds."""
        limit = min(seconds, self._seconds)
        try:
            _, replies = self._ask(schema, lines=[line], field=field, seconds_in_all=limit, seconds=limit, flaws=most)
        except _Died as error:
            flaws = [flaw for reply in error.replies[-1:] for flaw in reply.flaws]
            ids = [doc_id for reply in error.replies[-1:] for doc_id in reply.ids]
            return Explanation(flaws=flaws, is_truncated=True, doc_id=(ids or [None])[0], seconds=limit)
        last = replies[-1]
        return Explanation(
            flaws=last.flaws,
            is_truncated=last.is_truncated,
            is_too_deep=last.is_too_deep,
            doc_id=(last.ids or [None])[0],
            offset=last.offset,
            seconds=last.seconds,
        )

    def _ask(
        self,
        schema: "SchemaText",
        *,
        lines: list[bytes],
        field: str | None = None,
        seconds_in_all: float,
        seconds: float | None = None,
        flaws: int | None = None,
    ) -> tuple[bytes, list[Reply]]:
        _require_thread()
        request = Request(
            key=schema.key,
            schema=None,
            lines=lines,
            field=field,
            seconds=self._seconds if seconds is None else seconds,
            seconds_in_all=seconds_in_all,
            flaws=flaws,
        )
        while True:
            with slot_released(), self._process() as process, suppress(_Idled):
                return process.ask(request, lambda: schema.text)

    @contextmanager
    def _process(self) -> Generator[_Process]:
        with self._changed:
            self._changed.wait_for(lambda: self._free or self._count < self._most)
            process = self._free.pop() if self._free else None
            self._count += process is None
        try:
            if process is None or not process.is_alive:
                if process is not None:
                    process.close()
                process = _Process()
            yield process
        finally:
            self._give_back(process)

    def _give_back(self, process: _Process | None) -> None:
        with self._changed:
            is_kept = process is not None and process.is_alive and not self._is_closed
            if is_kept and process is not None:
                self._free.append(process)
            else:
                self._count -= 1
            self._changed.notify()
        if process is not None and not is_kept:
            process.close()


class SchemaText:
    """A schema in the form that the sandbox takes."""

    def __init__(self, schema: dict[str, Any] | bool) -> None:
        """Serialize it as JSON."""
        self.text = json.dumps(schema).encode()
        #: Identifies it.
        self.key = sha256(self.text).digest()


def too_costly(seconds: float) -> SchemaInvalid:
    """Return the error for a schema that does not compile within the limits."""
    detail = (
        f"compiling it takes more than {seconds:g} s of processor time or too much memory; "
        "make its patterns and enums shorter, or leave parts of it out"
    )
    return SchemaInvalid(f"the schema costs too much: {detail}", flaws=[Flaw(detail=detail, pointer="/schema")])


_TOO_COSTLY = Judged(is_too_costly=True)


def _judged(verdict: int, doc_id: str | None) -> Judged:
    return Judged(doc_id=doc_id, is_broken=verdict == UNDECODABLE)


def _memory() -> IO[bytes]:
    """Return a file in memory, if the system supports that: it works on a full disk."""
    if sys.platform == "linux":
        return os.fdopen(os.memfd_create("headwater-sandbox"), "wb+")
    return tempfile.TemporaryFile()


def _require_thread() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise WouldBlock
