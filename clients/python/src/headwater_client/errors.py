"""The exceptions of this package.

::

    HeadwaterError
    ├── Problem                 an error response (RFC 9457): status, type, title, detail, messages, errors
    │   ├── RequestInvalid, ParametersInvalid, SchemaInvalid, UploadBroken, VersionForgotten,
    │   │   EventForgotten                                                                          400
    │   ├── NotAuthenticated                                                                            401
    │   ├── NotAllowed, OriginNotAllowed                                                                403
    │   ├── NotFound                                                                                    404
    │   ├── MethodNotAllowed                                                                            405
    │   ├── DocumentInvalid                                                                             406
    │   ├── RequestTimedOut                                                                             408
    │   ├── TaskClosed, TaskRemoved, TaskPurged, RunSettled, NothingToPublish, NoLogin,
    │   │   LoginUnfinished, LoginUnusable, StreamTaken, InUse, WebhookDisabled, MovedMeanwhile,
    │   │   UploadInFlight                                                                              409
    │   ├── VersionMismatch                                                                             412
    │   ├── UploadTooLarge, DocumentTooLarge, RequestTooLarge                                           413
    │   ├── ContentTypeUnknown, EncodingUnknown                                                         415
    │   ├── KeyReused                                                                                   422
    │   ├── HeaderTooLarge                                                                              431
    │   ├── Internal                                                                                    500
    │   ├── SegmentDamaged                                                                              503
    │   └── NoRoom                                                                                      507
    ├── Unavailable             Headwater was unreachable or overloaded, and still was after ``retry_for`` seconds
    ├── DocumentRejected        a document in an upload is not valid JSON, or does not match the schema
    ├── TaskGone                the task was deleted, stopped or retried: the crawler should stop
    ├── TaskAlreadyRunning      the crawler has an open task
    ├── WriterClosed            the writer has closed its task
    ├── NotJson                 a document cannot be written as JSON; nothing was sent
    ├── Unsendable              an id or other value cannot be sent in a request; nothing was sent
    └── PlanUnreadable          the files of a plan cannot be read, or not any more
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headwater_client.models.objects import Task


class HeadwaterError(Exception):
    """Base class of all exceptions of this package."""


class Problem(HeadwaterError):
    """An error response of Headwater; its text says what is wrong, where, and how to fix it."""

    def __init__(self, status: int, members: Mapping[str, Any], *, retry_after: float | None = None) -> None:
        """Create the error from the members of a problem (RFC 9457)."""
        #: The HTTP status.
        self.status = status
        #: A stable URI; its last segment names the class.
        self.type = str(members.get("type", "about:blank"))
        self.title = str(members.get("title", ""))
        self.detail = str(members.get("detail") or self.title or f"HTTP {status}")
        #: The individual errors, one sentence each.
        self.messages: Sequence[str] = tuple(map(str, members.get("messages") or ()))
        #: The individual errors, structured: `line`, `pointer`, `detail`, …; at most 100.
        self.errors: Sequence[Mapping[str, Any]] = tuple(members.get("errors") or ())
        #: Whether there are more errors than listed.
        self.truncated = bool(members.get("truncated", False))
        #: The request's id in the server's log.
        self.request_id: str | None = members.get("request_id")
        #: ``Retry-After`` in seconds, if the server sent it.
        self.retry_after = retry_after
        lines = [message for message in self.messages if message not in self.detail]
        if not any(self.detail in message for message in lines):
            lines.insert(0, self.detail)
        super().__init__("; ".join(lines))


class RequestInvalid(Problem):
    """A field, parameter or value is invalid."""


class ParametersInvalid(Problem):
    """Parameters do not match the External's."""


class SchemaInvalid(Problem):
    """A JSON Schema does not compile."""


class UploadBroken(Problem):
    """A line of an upload is not JSON, or the body is incomplete."""


class VersionForgotten(Problem):
    """A stream version has been purged."""


class EventForgotten(Problem):
    """Events after the given one have been purged."""


class NotAuthenticated(Problem):
    """The key or token is missing or wrong."""


class NotAllowed(Problem):
    """The key lacks the scope."""


class OriginNotAllowed(Problem):
    """Pages of this origin may not call this."""


class NotFound(Problem):
    """The object does not exist."""


class MethodNotAllowed(Problem):
    """The path does not support this method."""


class DocumentInvalid(Problem):
    """A document does not match the schema."""


class TaskClosed(Problem):
    """The task has ended."""


class TaskRemoved(Problem):
    """The task is deleted; restore it first."""


class TaskPurged(Problem):
    """The task's documents have been purged."""


class RunSettled(Problem):
    """The run is settled: its stream keeps runs undoable only for its ``undo_days``."""


class NothingToPublish(Problem):
    """No gate has held the task back, or it has no documents."""


class NoLogin(Problem):
    """The External does not use OAuth."""


class LoginUnfinished(Problem):
    """The External's server has no token for this login, or not yet."""


class LoginUnusable(Problem):
    """The External's server returned an unusable token response."""


class StreamTaken(Problem):
    """The stream already has a crawler."""


class InUse(Problem):
    """A crawler uses the object, or another External has the name."""


class WebhookDisabled(Problem):
    """The webhook is disabled; enable it first."""


class MovedMeanwhile(Problem):
    """The object was changed concurrently."""


class UploadInFlight(Problem):
    """An upload with this Idempotency-Key is still in progress."""


class VersionMismatch(Problem):
    """The object has been edited since it was read (If-Match)."""


class UploadTooLarge(Problem):
    """An upload exceeds the server's limit."""


class DocumentTooLarge(Problem):
    """A document exceeds the server's limit."""


class RequestTooLarge(Problem):
    """A request exceeds the server's limit."""


class HeaderTooLarge(Problem):
    """A request's header exceeds the server's limit."""


class RequestTimedOut(Problem):
    """A request did not arrive in time."""


class ContentTypeUnknown(Problem):
    """Unsupported content type."""


class EncodingUnknown(Problem):
    """Unsupported content encoding."""


class KeyReused(Problem):
    """The Idempotency-Key was used before with another body."""


class Internal(Problem):
    """Internal server error; see the server's log for the request id."""


class SegmentDamaged(Problem):
    """Stored documents are damaged; with ``skip_damaged=true`` the API returns the rest."""


class NoRoom(Problem):
    """The server's disk is full."""


class Unavailable(HeadwaterError):
    """Headwater was unreachable or overloaded; ``__cause__`` is the last error."""


class TaskGone(HeadwaterError):
    """The task was deleted, stopped or retried; ``__cause__`` is the server's error."""


class TaskAlreadyRunning(HeadwaterError):
    """The crawler has an open task."""

    def __init__(self, task: Task) -> None:
        """Create the error for an open task."""
        #: The open task.
        self.task = task
        super().__init__(f"the crawler has an open task, {task.fid} ({task.state}); stop it, or wait until it ends")


class WriterClosed(HeadwaterError):
    """The writer has closed its task."""


class NotJson(HeadwaterError, ValueError):
    """A document cannot be written as JSON."""

    def __init__(self, pointer: str, detail: str) -> None:
        """Create the error for the value at a JSON pointer."""
        #: JSON pointer to the value; "" is the document itself.
        self.pointer = pointer
        self.detail = detail
        super().__init__(f"{pointer}: {detail}" if pointer else detail)


class PlanUnreadable(HeadwaterError):
    """The files of a plan cannot be read, or not any more."""


class Unsendable(HeadwaterError, ValueError):
    """A value cannot be sent in a request; nothing was sent."""


class DocumentRejected(HeadwaterError):
    """An upload was rejected because of a document; none of its documents were stored."""

    def __init__(self, problem: Problem, document: Any) -> None:
        """Create the error from the response and the first rejected document."""
        #: The error response.
        self.problem = problem
        #: All errors, each with `line`, `pointer` and `detail`.
        self.errors = problem.errors
        first: Mapping[str, Any] = problem.errors[0] if problem.errors else {}
        #: The first rejected document; its text if it is not JSON, None if the response names none.
        self.document = document
        #: Its line in the upload, counted from 1.
        self.line: int | None = first.get("line")
        #: JSON pointer to the invalid part.
        self.pointer: str = first.get("pointer") or ""
        self.detail: str = first.get("detail") or problem.detail
        super().__init__(str(problem))


def _leaves(kind: type[Problem]) -> list[type[Problem]]:
    return [leaf for child in kind.__subclasses__() for leaf in [child, *_leaves(child)]]


#: Classes by the last segment of the problem type, without hyphens.
_BY_NAME = {kind.__name__.lower(): kind for kind in _leaves(Problem)}


def problem_class(type_uri: str) -> type[Problem]:
    """Return the class for a problem's ``type``: ``…/document-invalid`` is ``DocumentInvalid``."""
    return _BY_NAME.get(type_uri.rpartition("/")[2].replace("-", ""), Problem)
