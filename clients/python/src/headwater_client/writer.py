"""Uploading a task's documents: in batches, tried again, never twice."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import threading
import traceback
import uuid
import zlib
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

import httpx

from headwater_client.answers import Receipt
from headwater_client.asking import TIMEOUT, USER_AGENT, Blocking
from headwater_client.encoding import line_of
from headwater_client.endpoint import Endpoint
from headwater_client.errors import (
    DocumentInvalid,
    DocumentRejected,
    HeadwaterError,
    MovedMeanwhile,
    NotAuthenticated,
    NotFound,
    Problem,
    TaskClosed,
    TaskGone,
    TaskPurged,
    TaskRemoved,
    Unavailable,
    UploadBroken,
    WriterClosed,
)
from headwater_client.objects import Task
from headwater_client.outbox import Outbox, Parcel
from headwater_client.patience import Patience
from headwater_client.questions import Question, reading
from headwater_client.tasks import reporting

# A quarter of the time for the same result, where it is installed: pip install 'headwater-client[fast]'.
_deflate: Any = zlib
with contextlib.suppress(ImportError):
    from isal import isal_zlib as _deflate

if TYPE_CHECKING:
    from typing_extensions import Self

#: Bytes of a buffer: some thousand documents, of which an upload costs little for each.
MAX_BYTES = 4 << 20
#: Seconds that a document waits for others.
MAX_SECONDS = 5.0
#: Seconds since the first try of an upload after which there is no other: a server is restarted sooner.
PATIENCE = 600.0
#: Seconds for which somebody who interrupts the program waits for the last words.
SHORT_PATIENCE = 5.0
#: Characters of a traceback, from its end, that are reported.
TRACEBACK = 16_000

#: What was wrong with rejected documents is kept so often.
REJECTIONS = 100

_GONE = (NotAuthenticated, NotFound, TaskClosed, TaskRemoved, TaskPurged, MovedMeanwhile)
_REJECTED = (DocumentInvalid, UploadBroken)
_LINE_ENDS = re.compile(rb"\r\n|\n|\r")
#: What zlib calls gzip.
_GZIP = zlib.MAX_WBITS | 16
_CONTINUES = 102
_OK = 200
_FAILED = 500


class TaskWriter:
    """Takes the documents of a task, and uploads them.

    ::

        with TaskWriter(endpoint) as writer:
            for page in pages():
                writer.write(page)

    Leaving the block closes the task: with 200, or with 500 and the traceback if the block raises. Documents are
    compressed and uploaded by a thread while the program goes on; ``write`` waits when it is some buffers ahead. What
    went wrong with an upload is raised by the next call. Several threads may write.
    """

    def __init__(
        self,
        endpoint: str,
        token: str | None = None,
        *,
        max_bytes: int = MAX_BYTES,
        max_seconds: float = MAX_SECONDS,
        patience: float = PATIENCE,
        compress: bool = True,
        upload_key: Callable[[int], str] | None = None,
        lenient: bool = False,
        on_rejected: Callable[[Mapping[str, Any]], object] | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Write to the task at ``endpoint``.

        Args:
            endpoint: what the task came with; the token may be in it.
            token: the task's token, or an API key with the scope ``write``, where the endpoint has none.
            max_bytes: of an upload, before it is compressed; memory is three times as much.
            max_seconds: for which a document waits for others.
            patience: seconds since the first try of an upload after which there is no other.
            compress: whether uploads are compressed; on a network that is faster than a core, they need not be.
            upload_key: returns the ``Idempotency-Key`` of the upload that begins with the document of that number, from
                0; for a program that begins anew with the same documents. Otherwise each upload has a key of its own.
            lenient: whether documents that do not match the schema are left aside (``rejected``) instead of raising
                ``DocumentRejected``.
            on_rejected: is called with what is wrong (``line`` of the upload, ``doc_id``, ``pointer``, ``detail``) by
                the thread that uploads; a hundred times an upload, at most.
            transport: what sends, if it is not the network.

        Raises:
            ValueError: the endpoint is none.
        """
        address = Endpoint.of(endpoint, token)
        self._path = address.path
        #: The task's.
        self.fid = address.fid
        headers = {"User-Agent": USER_AGENT}
        if address.token is not None:
            headers["Authorization"] = f"Bearer {address.token}"
        self._client = httpx.Client(base_url=address.base, headers=headers, timeout=TIMEOUT, transport=transport)
        pack = _gzipped if compress else bytes
        self._outbox = Outbox(pack, self._upload, max_bytes=max_bytes, max_seconds=max_seconds)
        self._uploads = Blocking(self._client, Patience(seconds=patience), sleep=self._outbox.pause)
        self._reports = Blocking(self._client, Patience(seconds=patience), sleep=self._pause_report)
        self._is_abandoned = threading.Event()
        self._compress = compress
        self._upload_key = upload_key or _key_of_its_own
        self._is_closed = False
        #: Documents that ``write`` has taken.
        self.written = 0
        #: Documents of them that are on the server's disk.
        self.taken = 0
        self._lenient = lenient
        self._on_rejected = on_rejected
        #: Documents of them that the server has left aside, where it is asked to be lenient, ...
        self.rejected = 0
        #: ... and what was wrong with the first hundred of them or so.
        self.rejections: list[Mapping[str, Any]] = []

    def write(self, document: object) -> None:
        """Take a document: a mapping, dataclass, pydantic model or attrs class.

        Raises:
            NotJson: it cannot be JSON; nothing was sent of it, and the writer goes on.
            TaskGone: the task was deleted, stopped or retried.
            DocumentRejected: one that was written before does not match the schema.
            Unavailable: Headwater could not be reached for too long.
            WriterClosed: the task is closed.
        """
        self.write_line(line_of(document))

    def write_all(self, documents: Iterable[object]) -> None:
        """Take documents one after the other; raises as ``write``."""
        for document in documents:
            self.write(document)

    def write_line(self, line: bytes) -> None:
        """Take a document that is a line of JSON already, its end included; raises as ``write``, without NotJson."""
        while not self.offer_line(line):
            self.wait_for_room()

    def offer_line(self, line: bytes) -> bool:
        """Take a line if there is room for it, and tell whether there was; raises as ``write_line``."""
        self._require_open()
        is_taken = self._outbox.offer(line)
        self.written += is_taken
        return is_taken

    def wait_for_room(self) -> None:
        """Wait until a line can be offered again; raises as ``write_line``."""
        self._outbox.wait_for_room()

    def flush(self) -> None:
        """Wait until every document that was taken is on the server's disk; raises as ``write``."""
        self._require_open()
        self._outbox.flush()

    def status(self, code: int, message: str | None = None, detail: Any = None) -> Task:
        """Report how the task goes, and return it.

        Args:
            code: 102 goes on, and tells that the crawler lives; 2xx is done and complete; 4xx and 5xx failed. Those
                that end the task upload what was written before, and close the writer.
            message: for people.
            detail: any JSON.

        Raises:
            HeadwaterError: as ``write``.
        """
        self._require_open()
        if code != _CONTINUES:
            self._outbox.flush()
        elif self._outbox.failure is not None:
            raise self._outbox.failure
        task = self._report(code, message, detail)
        if code != _CONTINUES:
            self._end()
        return task

    def close(self) -> None:
        """Close the task with 200, unless a status has closed it; raises as ``write``."""
        if not self._is_closed:
            self.status(_OK)

    def fail(self, error: BaseException) -> None:
        """Close the task with 500, an error as message and its traceback as detail; what was written is uploaded.

        If the task is gone, or Headwater cannot be reached, it remains as it is, and is timed out by silence.
        """
        if self._is_closed:
            return
        # Somebody at the keyboard, or who ends the program, does not wait for a server that is not there; nor does an
        # upload that has waited for it already.
        is_urgent = not isinstance(error, Exception)
        try:
            # What goes wrong here came later than the error that is told.
            with contextlib.suppress(HeadwaterError, TimeoutError):
                self._outbox.flush(SHORT_PATIENCE if is_urgent else None)
            if is_urgent or isinstance(error, Unavailable):
                self._reports.patience = Patience(seconds=SHORT_PATIENCE)
            with contextlib.suppress(HeadwaterError):
                if not isinstance(self._outbox.failure, TaskGone):
                    self._report(_FAILED, _said(error), {"traceback": _traceback(error)})
        finally:
            self._end()

    def abandon(self, error: HeadwaterError | None = None) -> None:
        """Drop what is not uploaded yet, and leave the task as it is; calls raise ``error`` from now on."""
        self._outbox.fail(error or WriterClosed(f"the writer of task {self.fid} was abandoned"))
        self._is_abandoned.set()
        self._end()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        """Close the task: with 200, or with 500 if the block raised."""
        if error is not None:
            self.fail(error)
            return
        try:
            self.close()
        except BaseException as failure:
            self.fail(failure)
            raise

    def _require_open(self) -> None:
        if self._is_closed:
            raise self._outbox.failure or WriterClosed(f"task {self.fid} was closed by this writer")

    def _pause_report(self, seconds: float) -> None:
        # Whatever went wrong with an upload, the end of the task is still to be told.
        if self._is_abandoned.wait(seconds):
            raise self._outbox.failure or WriterClosed(f"the writer of task {self.fid} was abandoned")

    def _end(self) -> None:
        self._is_closed = True
        self._outbox.end()
        self._client.close()

    def _report(self, code: int, message: str | None, detail: Any) -> Task:
        try:
            return self._reports.ask(reporting(self._path, code, message, detail))
        except _GONE as problem:
            gone = _gone(problem)
            self._outbox.fail(gone)
            raise gone from problem

    def _upload(self, parcel: Parcel) -> None:
        headers = {
            "Content-Type": "application/x-ndjson",
            "Idempotency-Key": self._upload_key(self.taken + self.rejected),
        }
        if self._compress:
            headers["Content-Encoding"] = "gzip"
        if self._lenient:
            headers["Prefer"] = "handling=lenient"
        question = Question(
            "POST",
            f"{self._path}/upload",
            reading(Receipt.read),
            headers=headers,
            content=lambda: parcel.body,
            is_harmless=True,  # the key sees to it
        )
        try:
            receipt = self._uploads.ask(question)
        except _REJECTED as problem:
            lines = zlib.decompress(parcel.body, _GZIP) if self._compress else parcel.body
            raise DocumentRejected(problem, _document_at(problem, lines)) from problem
        except _GONE as problem:
            raise _gone(problem) from problem
        for error in receipt.errors or ():
            if len(self.rejections) < REJECTIONS:
                self.rejections.append(error)
            if self._on_rejected is not None:
                self._on_rejected(error)
        self.rejected += receipt.rejected or 0
        self.taken += parcel.count - (receipt.rejected or 0)


def _key_of_its_own(_first: int) -> str:
    return uuid.uuid4().hex


def _gzipped(lines: bytearray) -> bytes:
    packer = _deflate.compressobj(level=1, wbits=_GZIP)
    # In one piece: between two, the thread would wait for its turn among those of the program.
    return packer.compress(lines) + packer.flush()


def _document_at(problem: Problem, lines: bytes) -> Any:
    number = problem.errors[0].get("line") if problem.errors else None
    if not isinstance(number, int):
        return None
    line = next(itertools.islice(_LINE_ENDS.split(lines), number - 1, None), b"")
    try:
        return json.loads(line)
    except ValueError:
        return line.decode(errors="replace")


def _gone(problem: Problem) -> TaskGone:
    return TaskGone(f"Headwater wants nothing more for this task: {problem.detail}")


def _said(error: BaseException) -> str:
    return "".join(traceback.format_exception_only(type(error), error)).strip()[:1000]


def _traceback(error: BaseException) -> str:
    return "".join(traceback.format_exception(type(error), error, error.__traceback__))[-TRACEBACK:]
