"""Uploads a file's documents to its task, and handles failures."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from headwater_client.cli.access import Access
from headwater_client.cli.errors import CliError, ExitCode, code_of, lines_of, unreachable
from headwater_client.cli.output import many
from headwater_client.cli.push.closing import closed_as_failed, unforeseen
from headwater_client.cli.push.display import Display
from headwater_client.cli.push.files import File
from headwater_client.cli.push.positions import Positions
from headwater_client.cli.push.progress import Progress
from headwater_client.cli.push.start import PushStart
from headwater_client.errors import DocumentRejected, Problem, TaskGone, Unavailable
from headwater_client.writer import RETRY_FOR, TaskWriter

if TYPE_CHECKING:
    from headwater_client.headwater import Headwater
    from headwater_client.models.objects import Task

#: ``max_seconds`` of the writer: batches end by their size alone.
DAY = 86400.0
#: Documents between two updates of the display.
STRIDE = 64
#: Maximum number of errors printed, and of characters of a quoted document.
FLAWS = 10
QUOTED = 200
_OK = 200


class Upload:
    """The upload of a file to a task."""

    def __init__(
        self,
        headwater: Headwater,
        settled: Access,
        file: File,
        beginning: PushStart,
        *,
        lenient: bool = False,
        retry_for: float = RETRY_FOR,
    ) -> None:
        """Create the upload to a task; failed uploads are retried for ``retry_for`` seconds."""
        task = beginning.task
        self._headwater = headwater
        self._file = file
        self._task = task
        # Not the endpoint in the response: the server's own name for itself may not resolve here.
        endpoint = f"{settled.url}/actions/tasks/{task.fid}"
        self._writer = TaskWriter(
            endpoint,
            beginning.token or settled.key,
            lenient=lenient,
            retry_for=retry_for,
            **self._deterministic_options(beginning.identity),
        )
        #: Its progress.
        self.course = Progress(file, self._writer, before=task.docs + task.rejected)
        self._places = Positions()
        #: Part of the upload keys; changed when everything is sent again.
        self._round = ""

    def _deterministic_options(self, identity: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return options that make uploads identical in each run, so that one that arrives late is not stored twice.

        A batch ends by its size alone, and its Idempotency-Key consists of the file's digest and its first document.
        """
        if identity is None:
            return {}

        def upload_key(first: int) -> str:
            return f"push-{identity['digest']}-{self._round}-{self.course.before + first}"

        return {"max_seconds": DAY, "upload_key": upload_key}

    def run(self) -> Task:
        """Upload all documents that the task does not have yet, close it, and return it.

        Raises:
            CliError: it failed; includes the state of the task.
        """
        try:
            with Display(self.course) as display:
                self._send(self._left(display), display)
                task = self._writer.status(_OK)
            self.course.ended = time.monotonic()
        except KeyboardInterrupt as error:
            raise self._left_open("interrupted", ExitCode.INTERRUPTED) from error
        except Unavailable as error:
            raise self._left_open(unreachable(error), ExitCode.UNREACHABLE) from error
        except TaskGone as error:
            raise CliError(f"{error}; it holds {self._held()}", code=ExitCode.GONE) from error
        except DocumentRejected as error:
            raise self._failed(self._flaws(error.problem, error.document), ExitCode.REJECTED) from error
        except Problem as error:
            raise self._failed(self._flaws(error, None), code_of(error)) from error
        except CliError as error:
            raise self._failed(error.lines, error.code) from error
        except Exception as error:
            raise self._failed(unforeseen(error), ExitCode.FAILED, cause=error) from error
        except BaseException as error:
            self._failed(unforeseen(error), ExitCode.FAILED, cause=error)
            raise
        finally:
            self._writer.abandon()
        return task

    def _left(self, display: Display) -> Iterator[tuple[int, bytes]]:
        """Return the documents that the task does not have yet."""
        course, task = self.course, self._task
        documents = self._file.documents()
        size = 0
        while course.documents < course.before:
            found = next(documents, None)
            if found is None:
                break
            size += len(found[1])
            course.documents += 1
            display.beat()
        # Of rejected documents only the number is known, not the size.
        if course.documents != course.before or (size != task.bytes and not task.rejected):
            # Something else was uploaded to the task, too. Send everything; repeated documents replace themselves.
            course.documents = course.before = 0
            self._round = uuid.uuid4().hex
            documents = self._file.documents()
        course.began, course.read_before = time.monotonic(), self._file.read_so_far
        self._places = Positions(course.before)
        return documents

    def _send(self, documents: Iterator[tuple[int, bytes]], display: Display) -> None:
        course, places, write = self.course, self._places, self._writer.write_line
        for place, line in documents:
            places.add(place)
            write(line)
            course.documents += 1
            course.bytes += len(line)
            if not course.documents % STRIDE:
                places.forget(course.arrived)
                display.beat()

    def _flaws(self, problem: Problem, document: Any) -> list[str]:
        """Return the errors of documents as lines, each with its position in the file."""
        lines: list[str] = []
        for flaw in problem.errors[:FLAWS]:
            number = flaw.get("line")
            place = self._places.of(self.course.arrived + number - 1) if isinstance(number, int) else None
            where = f"{self._file.name}, {self._file.unit} {place}" if place is not None else self._file.name
            pointer = f"{flaw['pointer']}: " if flaw.get("pointer") else ""
            lines.append(f"{where}: {pointer}{flaw.get('detail')}")
        if not lines:
            return lines_of(problem)
        if document is not None:
            text = document if isinstance(document, str) else json.dumps(document, ensure_ascii=False)
            lines[0] += f" in {text if len(text) <= QUOTED else text[:QUOTED] + '…'}"
        if problem.truncated or len(problem.errors) > FLAWS:
            lines.append("… and more like these in the same upload")
        if self._file.hint:
            lines.append(self._file.hint)
        return lines

    def _failed(self, lines: Sequence[str], code: ExitCode, *, cause: BaseException | None = None) -> CliError:
        """Close the task as failed, and return the error to raise."""
        self._writer.abandon()
        fid = self._task.fid
        more = f", which 'headwater tasks delete {fid}' takes out of the stream" if self.course.arrived else ""
        return closed_as_failed(self._headwater, fid, lines, code, holds=self._held(), more=more, cause=cause)

    def _left_open(self, why: str, code: ExitCode) -> CliError:
        """Return the error for a task that can be resumed; if the file cannot be read again, the task is closed."""
        if self._file.size is None:
            return self._failed([why], code)
        fid = self._task.fid
        return CliError(
            why,
            f"task {fid} is open and holds {self._held()}: the same command goes on from there, "
            f"'headwater tasks stop {fid}' ends it",
            code=code,
        )

    def _held(self) -> str:
        return f"{many(self.course.arrived, 'document')} of {self._file.name}"
