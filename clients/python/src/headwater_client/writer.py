"""Writer of a task's documents: uploads in batches, with retries, each document exactly once."""

from __future__ import annotations

import contextlib
import logging
import threading
import uuid
import zlib
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

import httpx

from headwater_client.batcher import Batch, Batcher
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
from headwater_client.failures import document_at, message_of, traceback_of
from headwater_client.leftovers import forget, remember, warn_left_open
from headwater_client.log_sender import LogSender, TaskLogHandler
from headwater_client.models.objects import Task
from headwater_client.models.results import Receipt
from headwater_client.requests import Call, reading
from headwater_client.retry import RetryPolicy
from headwater_client.tasks import reporting
from headwater_client.transport import TIMEOUT, USER_AGENT, SyncTransport

# Four times as fast, with the same result, where it is installed: the extra 'fast'.
_deflate: Any = zlib
with contextlib.suppress(ImportError):
    from isal import isal_zlib as _deflate

if TYPE_CHECKING:
    from typing import Self

#: Size of a batch in bytes: some thousand documents, so that the cost of an upload is spread.
MAX_BYTES = 4 << 20
#: Maximum seconds for which a document is buffered.
MAX_SECONDS = 5.0
#: Seconds for which a failed upload is retried, long enough for a server restart.
RETRY_FOR = 600.0
#: Seconds for the last upload and report when the program is interrupted.
INTERRUPT_TIMEOUT = 5.0
#: Maximum time of uploads at the exit of a program that has not closed its task, s: somebody may wait for the exit.
EXIT_TIMEOUT = 2.0

#: Maximum number of errors of rejected documents kept.
REJECTIONS = 100

_GONE = (NotAuthenticated, NotFound, TaskClosed, TaskRemoved, TaskPurged, MovedMeanwhile)
_REJECTED = (DocumentInvalid, UploadBroken)
#: zlib's ``wbits`` for the gzip format.
_GZIP = zlib.MAX_WBITS | 16
#: Statuses with which the server rejects a report.
_REPORT_REJECTED = {400, 413, 422}
_CONTINUES = 102
#: The only member of a line that deletes the document of its value.
DELETE = "$delete"
_OK = 200
_FAILED = 500


class TaskWriter:
    """Uploads the documents of a task.

    ::

        with TaskWriter(endpoint) as writer:
            for page in pages():
                writer.write(page)

    Leaving the block closes the task: with 200, or with 500 and the traceback if the block raises. Documents are
    compressed and uploaded by background threads; ``write`` blocks when it is several batches ahead (backpressure). An
    upload error is raised by the next call. Thread-safe.
    """

    def __init__(
        self,
        endpoint: str,
        token: str | None = None,
        *,
        max_bytes: int = MAX_BYTES,
        max_seconds: float = MAX_SECONDS,
        retry_for: float = RETRY_FOR,
        compress: bool = True,
        upload_key: Callable[[int], str] | None = None,
        lenient: bool = False,
        on_rejected: Callable[[Mapping[str, Any]], object] | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Write to the task at ``endpoint``.

        Args:
            endpoint: the task's endpoint, with or without the token.
            token: the task's token, or an API key with the scope ``write``, if the endpoint has none.
            max_bytes: maximum uncompressed size of an upload; memory use is about three times as much.
            max_seconds: maximum time for which a document is buffered.
            retry_for: seconds for which a failed upload is retried, counted from the first attempt.
            compress: whether uploads are compressed; not worthwhile if the network is faster than a CPU core.
            upload_key: returns the ``Idempotency-Key`` of the upload that starts with the document of that number, from
                0; for a program that restarts with the same documents. By default each upload has a random key.
            lenient: whether documents that do not match the schema are set aside (``rejected``) instead of raising
                ``DocumentRejected``.
            on_rejected: called with each error (``line`` of the upload, ``doc_id``, ``pointer``, ``detail``) by the
                uploading thread; at most a hundred times per upload.
            transport: the httpx transport, if not the network.

        Raises:
            ValueError: the endpoint is invalid.
        """
        address = Endpoint.of(endpoint, token)
        self._path = address.path
        #: The task's fid.
        self.fid = address.fid
        headers = {"User-Agent": USER_AGENT}
        if address.token is not None:
            headers["Authorization"] = f"Bearer {address.token}"
        self._client = httpx.Client(base_url=address.base, headers=headers, timeout=TIMEOUT, transport=transport)
        pack = _gzipped if compress else bytes
        self._batcher = Batcher(pack, self._upload, max_bytes=max_bytes, max_seconds=max_seconds)
        self._uploads = SyncTransport(self._client, RetryPolicy(seconds=retry_for), sleep=self._batcher.pause)
        self._reports = SyncTransport(self._client, RetryPolicy(seconds=retry_for), sleep=self._pause_report)
        self._log = LogSender(self._client, self._path)
        self._is_abandoned = threading.Event()
        self._compress = compress
        self._upload_key = upload_key or _random_key
        self._is_closed = False
        #: Number of documents accepted by ``write``.
        self.written = 0
        #: Number of documents that the server has written to disk.
        self.taken = 0
        self._lenient = lenient
        self._on_rejected = on_rejected
        #: Number of documents that the server has rejected (lenient uploads).
        self.rejected = 0
        #: Errors of about the first hundred rejected documents.
        self.rejections: list[Mapping[str, Any]] = []

    def write(self, document: object) -> None:
        """Write a document: a mapping, dataclass, pydantic model or attrs class.

        Raises:
            NotJson: it cannot be written as JSON and was not sent; the writer stays usable.
            TaskGone: the task was deleted, stopped or retried.
            DocumentRejected: an earlier document does not match the schema.
            Unavailable: Headwater was unreachable for ``retry_for`` seconds.
            WriterClosed: the task is closed.
        """
        self.write_line(line_of(document))

    def write_all(self, documents: Iterable[object]) -> None:
        """Write documents one after the other; raises as ``write``."""
        for document in documents:
            self.write(document)

    def delete(self, doc_id: str | int) -> None:
        """Delete a document of the stream by its id, at this place in the order; undone with the task.

        Raises as ``write``.
        """
        self.write({DELETE: doc_id})

    def write_line(self, line: bytes) -> None:
        """Write a document that is already a line of JSON, including the newline; raises as ``write``."""
        while not self.offer_line(line):
            self.wait_for_room()

    def offer_line(self, line: bytes) -> bool:
        """Write a line if there is room, and return whether there was; raises as ``write_line``."""
        self._require_open()
        if not self.written:
            remember(self)
        is_taken = self._batcher.offer(line)
        self.written += is_taken
        return is_taken

    def wait_for_room(self) -> None:
        """Wait until a line can be offered again; raises as ``write_line``."""
        self._batcher.wait_for_room()

    def flush(self) -> None:
        """Wait until every written document is on the server's disk; raises as ``write``."""
        self._require_open()
        self._batcher.flush()

    def log(self, text: str, level: str = "info", **fields: Any) -> None:
        """Write a line to the task's log; it is sent in the background, and never raises.

        Args:
            text: human-readable.
            level: ``debug``, ``info``, ``warning``, ``error`` or ``critical``.
            fields: further fields of the line, any JSON.
        """
        self._log.send(text, level, **fields)

    def log_handler(self, level: int | str = logging.INFO) -> logging.Handler:
        """Return a handler of ``logging`` that sends records to the task's log, until the task is closed.

        ::

            logging.getLogger().addHandler(writer.log_handler())
        """
        return TaskLogHandler(self._log, level)

    def status(self, code: int, message: str | None = None, detail: Any = None) -> Task:
        """Report the task's status, and return the task.

        Args:
            code: 102 running, which is also a heartbeat; 2xx done; 4xx and 5xx failed. A final status first uploads
                the buffered documents, and closes the writer.
            message: human-readable.
            detail: any JSON.

        Raises:
            HeadwaterError: as ``write``.
        """
        self._require_open()
        if code != _CONTINUES:
            self._batcher.flush()
            self._log.flush()
        elif self._batcher.failure is not None:
            raise self._batcher.failure
        task = self._report(code, message, detail)
        if code != _CONTINUES:
            self._end()
        return task

    def close(self) -> None:
        """Close the task with 200, unless it is already closed; raises as ``write``."""
        if not self._is_closed:
            self.status(_OK)

    def fail(self, error: BaseException) -> None:
        """Upload the buffered documents, and close the task with 500, with the error's message and traceback.

        If Headwater is unreachable or rejects the report, the task stays open, and a log message says how to close it.
        """
        if self._is_closed:
            return
        # On KeyboardInterrupt or SystemExit, do not wait for an unreachable server; nor after retries have failed.
        is_urgent = not isinstance(error, Exception)
        try:
            # Errors here are ignored: the original error is reported.
            with contextlib.suppress(Exception):
                self._batcher.flush(INTERRUPT_TIMEOUT if is_urgent else None)
            if is_urgent or isinstance(error, Unavailable):
                self._reports.retry_for = RetryPolicy(seconds=INTERRUPT_TIMEOUT)
            if not isinstance(self._batcher.failure, TaskGone):
                self._log.flush(INTERRUPT_TIMEOUT)
                self._report_failure(error)
        except BaseException as failure:
            # Logged, not raised: the original error is raised by the caller.
            if not isinstance(failure, TaskGone):
                warn_left_open(self.fid, failure)
            if not isinstance(failure, Exception):
                raise
        finally:
            self._end()

    def abandon(self, error: HeadwaterError | None = None) -> None:
        """Discard documents not yet uploaded, and leave the task open; calls raise ``error`` from now on."""
        self._batcher.fail(error or WriterClosed(f"the writer of task {self.fid} was abandoned"))
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
            raise self._batcher.failure or WriterClosed(f"task {self.fid} was closed by this writer")

    def _pause_report(self, seconds: float) -> None:
        # The end of the task is reported even after an upload error.
        if self._is_abandoned.wait(seconds):
            raise self._batcher.failure or WriterClosed(f"the writer of task {self.fid} was abandoned")

    def _end(self) -> None:
        self._is_closed = True
        forget(self)
        self._batcher.end()
        self._log.end()
        self._client.close()

    def _report_failure(self, error: BaseException) -> None:
        try:
            self._report(_FAILED, message_of(error), {"traceback": traceback_of(error)})
        except Problem as problem:
            if problem.status not in _REPORT_REJECTED:
                raise
            # Retry with a minimal report: what matters is that the task is failed.
            self._report(_FAILED, type(error).__name__, None)

    @property
    def failure(self) -> BaseException | None:
        """The error that every call raises, if an upload failed or the task is gone."""
        return self._batcher.failure

    def leave(self) -> int:
        """Upload the remaining documents within a few seconds; return how many could not be uploaded."""
        with contextlib.suppress(Exception):
            self._batcher.flush(EXIT_TIMEOUT)
        return self.written - self.taken - self.rejected

    def _report(self, code: int, message: str | None, detail: Any) -> Task:
        try:
            return self._reports.send(reporting(self._path, code, message, detail))
        except _GONE as problem:
            gone = _gone(problem)
            self._batcher.fail(gone)
            raise gone from problem

    def _upload(self, batch: Batch) -> None:
        headers = {
            "Content-Type": "application/x-ndjson",
            "Idempotency-Key": self._upload_key(self.taken + self.rejected),
        }
        if self._compress:
            headers["Content-Encoding"] = "gzip"
        if self._lenient:
            headers["Prefer"] = "handling=lenient"
        call = Call(
            "POST",
            f"{self._path}/upload",
            reading(Receipt.read),
            headers=headers,
            content=lambda: batch.body,
            is_harmless=True,  # by its Idempotency-Key
        )
        try:
            receipt = self._uploads.send(call)
        except _REJECTED as problem:
            lines = zlib.decompress(batch.body, _GZIP) if self._compress else batch.body
            raise DocumentRejected(problem, document_at(problem, lines)) from problem
        except _GONE as problem:
            raise _gone(problem) from problem
        self.rejected += receipt.rejected or 0
        self.taken += batch.count - (receipt.rejected or 0)
        for error in receipt.errors or ():
            if len(self.rejections) < REJECTIONS:
                self.rejections.append(error)
            if self._on_rejected is not None:
                self._on_rejected(error)


def _random_key(_first: int) -> str:
    return uuid.uuid4().hex


def _gzipped(lines: bytearray) -> bytes:
    packer = _deflate.compressobj(level=1, wbits=_GZIP)
    # In one call: between two, the thread would wait for the GIL.
    return packer.compress(lines) + packer.flush()


def _gone(problem: Problem) -> TaskGone:
    return TaskGone(f"Headwater wants nothing more for this task: {problem.detail}")
