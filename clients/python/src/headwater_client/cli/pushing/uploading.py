"""Uploading a file's documents to its task, and what becomes of the task when that fails."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from headwater_client.cli.access import Access
from headwater_client.cli.endings import Code, Refusal, code_of, lines_of, unreachable
from headwater_client.cli.output import many
from headwater_client.cli.pushing.beginning import Beginning
from headwater_client.cli.pushing.course import Course
from headwater_client.cli.pushing.display import Display
from headwater_client.cli.pushing.files import File
from headwater_client.cli.pushing.places import Places
from headwater_client.errors import DocumentRejected, HeadwaterError, Problem, TaskGone, Unavailable
from headwater_client.writer import PATIENCE, TaskWriter

if TYPE_CHECKING:
    from headwater_client.headwater import Headwater
    from headwater_client.objects import Task

#: Seconds that no upload waits for more of a file.
DAY = 86400.0
#: Documents between two looks at the clock.
STRIDE = 64
#: Flaws that are told, and characters of a document that a message quotes.
FLAWS = 10
QUOTED = 200
_OK = 200
_FAILED = 500


class Upload:
    """The upload of a file to a task."""

    def __init__(
        self,
        headwater: Headwater,
        settled: Access,
        file: File,
        beginning: Beginning,
        *,
        lenient: bool = False,
        patience: float = PATIENCE,
    ) -> None:
        """Upload to the task with which it begins; try for ``patience`` seconds."""
        task = beginning.task
        self._headwater = headwater
        self._file = file
        self._task = task
        # At the URL that we were told: the server's own name for itself may not be known here.
        endpoint = f"{settled.url}/actions/tasks/{task.fid}"
        self._writer = TaskWriter(
            endpoint, beginning.token or settled.key, lenient=lenient, patience=patience, **self._certain()
        )
        #: How far it has come.
        self.course = Course(file, self._writer, before=task.docs + task.rejected)
        self._places = Places()
        #: Not the same where all is sent again although it has arrived.
        self._round = ""

    def _certain(self) -> dict[str, Any]:
        """Return what makes uploads the same in each run, so that one that arrives late is not stored twice.

        An upload ends by its size alone, and is called by the file and by the document that it begins with.
        """
        identity = self._file.identity()
        if identity is None:
            return {}

        def upload_key(first: int) -> str:
            return f"push-{identity['digest']}-{self._round}-{self.course.before + first}"

        return {"max_seconds": DAY, "upload_key": upload_key}

    def run(self) -> Task:
        """Upload all documents that the task does not have yet, close it, and return it.

        Raises:
            Refusal: it could not be done; it says how the task stands.
        """
        try:
            with Display(self.course) as display:
                self._send(self._left(display), display)
                task = self._writer.status(_OK)
            self.course.ended = time.monotonic()
        except KeyboardInterrupt as error:
            raise self._left_open("interrupted", Code.INTERRUPTED) from error
        except Unavailable as error:
            raise self._left_open(unreachable(error), Code.UNREACHABLE) from error
        except TaskGone as error:
            raise Refusal(f"{error}; it holds {self._held()}", code=Code.GONE) from error
        except DocumentRejected as error:
            raise self._failed(self._flaws(error.problem, error.document), Code.REJECTED) from error
        except Problem as error:
            raise self._failed(self._flaws(error, None), code_of(error)) from error
        except Refusal as error:
            raise self._failed(error.lines, error.code) from error
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
        # Of those that were rejected only the number is known.
        if course.documents != course.before or (size != task.bytes and not task.rejected):
            # Something else was uploaded to the task, too. Documents that come twice only replace themselves.
            course.documents = course.before = 0
            self._round = uuid.uuid4().hex
            documents = self._file.documents()
        course.began, course.read_before = time.monotonic(), self._file.read_so_far
        self._places = Places(course.before)
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
        """Return what is wrong with documents, each with its place in the file."""
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
        return lines

    def _failed(self, lines: Sequence[str], code: Code) -> Refusal:
        """Close the task as failed, and return what to say."""
        self._writer.abandon()
        fid = self._task.fid
        try:
            self._headwater.tasks.status(fid, _FAILED, lines[0][:1000], {"errors": list(lines)})
        except HeadwaterError:
            return Refusal(*lines, f"task {fid} could not be closed; it holds {self._held()}", code=code)
        more = f", which 'headwater tasks delete {fid}' takes out of the stream" if self.course.arrived else ""
        return Refusal(*lines, f"task {fid} is closed as failed; it holds {self._held()}{more}", code=code)

    def _left_open(self, why: str, code: Code) -> Refusal:
        """Return what to say of a task that can be gone on with; if the file cannot be read again, it is closed."""
        if self._file.size is None:
            return self._failed([why], code)
        fid = self._task.fid
        return Refusal(
            why,
            f"task {fid} is open and holds {self._held()}: the same command goes on from there, "
            f"'headwater tasks stop {fid}' ends it",
            code=code,
        )

    def _held(self) -> str:
        return f"{many(self.course.arrived, 'document')} of {self._file.name}"
