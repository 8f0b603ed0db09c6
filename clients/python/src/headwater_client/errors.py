"""What can go wrong, by name.

::

    HeadwaterError
    ├── Problem                 Headwater answered that it will not: status, type, title, detail, messages, errors
    │   ├── RequestInvalid, ParametersInvalid, SchemaInvalid, UploadBroken, VersionForgotten,
    │   │   EventForgotten                                                                          400
    │   ├── NotAuthenticated                                                                            401
    │   ├── NotAllowed                                                                                  403
    │   ├── NotFound                                                                                    404
    │   ├── MethodNotAllowed                                                                            405
    │   ├── DocumentInvalid                                                                             406
    │   ├── TaskClosed, TaskRemoved, TaskPurged, NothingToPublish, NoLogin, LoginUnfinished,
    │   │   LoginUnusable, StreamTaken, InUse, WebhookDisabled, MovedMeanwhile, UploadInFlight          409
    │   ├── VersionMismatch                                                                             412
    │   ├── UploadTooLarge, DocumentTooLarge, RequestTooLarge                                           413
    │   ├── ContentTypeUnknown, EncodingUnknown                                                         415
    │   ├── KeyReused                                                                                   422
    │   └── Internal                                                                                    500
    ├── Unavailable             it could not be reached, or asked for patience until there was none left
    ├── DocumentRejected        a document of an upload is no JSON to Headwater, or does not match the schema
    ├── TaskGone                the task was deleted, stopped or retried: the crawler should stop, too
    ├── TaskAlreadyRunning      the crawler has an open task
    ├── WriterClosed            the writer has closed its task and takes nothing more
    └── NotJson                 a document cannot be JSON; nothing was sent
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headwater_client.objects import Task


class HeadwaterError(Exception):
    """Base of all errors of this package."""


class Problem(HeadwaterError):
    """Headwater's answer was an error; the text says what, where, and how to mend it."""

    def __init__(self, status: int, members: Mapping[str, Any], *, retry_after: float | None = None) -> None:
        """Take the members of a problem (RFC 9457), as they were answered."""
        #: The HTTP status.
        self.status = status
        #: A stable URI; its last part names the class.
        self.type = str(members.get("type", "about:blank"))
        self.title = str(members.get("title", ""))
        self.detail = str(members.get("detail") or self.title or f"HTTP {status}")
        #: One sentence for each thing that is wrong.
        self.messages: Sequence[str] = tuple(map(str, members.get("messages") or ()))
        #: The same for programs: `line`, `pointer`, `detail`, …; at most 100.
        self.errors: Sequence[Mapping[str, Any]] = tuple(members.get("errors") or ())
        #: Whether there are more errors than are told.
        self.truncated = bool(members.get("truncated", False))
        #: What the server's log calls the request.
        self.request_id: str | None = members.get("request_id")
        #: Seconds after which to try again, where the server says so.
        self.retry_after = retry_after
        said = [message for message in self.messages if message not in self.detail]
        if not any(self.detail in message for message in said):
            said.insert(0, self.detail)
        super().__init__("; ".join(said))


class RequestInvalid(Problem):
    """A field, parameter or value is not what it should be."""


class ParametersInvalid(Problem):
    """Parameters do not match what the External lists."""


class SchemaInvalid(Problem):
    """A JSON Schema does not compile."""


class UploadBroken(Problem):
    """A line of an upload is not JSON, or the body broke off."""


class VersionForgotten(Problem):
    """A stream version is purged."""


class EventForgotten(Problem):
    """Events behind the last one that was heard are purged."""


class NotAuthenticated(Problem):
    """There is no key or token, or a wrong one."""


class NotAllowed(Problem):
    """The key lacks the scope."""


class NotFound(Problem):
    """There is no such object."""


class MethodNotAllowed(Problem):
    """The path does not take this method."""


class DocumentInvalid(Problem):
    """A document does not match the schema."""


class TaskClosed(Problem):
    """The task has ended."""


class TaskRemoved(Problem):
    """The task is deleted; restore it first."""


class TaskPurged(Problem):
    """The task's documents are gone for good."""


class NothingToPublish(Problem):
    """No gate had kept the task out, or it brought nothing."""


class NoLogin(Problem):
    """The External is not one at whose server people log in."""


class LoginUnfinished(Problem):
    """The External's server has no token for this login, or not yet."""


class LoginUnusable(Problem):
    """The External's server answers for a token what cannot be used."""


class StreamTaken(Problem):
    """Another crawler feeds the stream."""


class InUse(Problem):
    """A crawler uses the object."""


class WebhookDisabled(Problem):
    """Nothing is sent to the webhook, until it is enabled again."""


class MovedMeanwhile(Problem):
    """Somebody else changed the object in the same moment."""


class UploadInFlight(Problem):
    """The upload with this key is still under way."""


class VersionMismatch(Problem):
    """The object was edited since it was read."""


class UploadTooLarge(Problem):
    """An upload is over the server's limit."""


class DocumentTooLarge(Problem):
    """A document is over the server's limit."""


class RequestTooLarge(Problem):
    """A request is over the server's limit."""


class ContentTypeUnknown(Problem):
    """The server does not understand the content type."""


class EncodingUnknown(Problem):
    """The server does not understand the content encoding."""


class KeyReused(Problem):
    """An Idempotency-Key was used for another body."""


class Internal(Problem):
    """Headwater failed; its log tells more under the request id."""


class Unavailable(HeadwaterError):
    """Headwater could not be reached, or asked for patience; ``__cause__`` tells what came last."""


class TaskGone(HeadwaterError):
    """Headwater wants nothing more for this task; ``__cause__`` is its answer."""


class TaskAlreadyRunning(HeadwaterError):
    """The crawler has an open task."""

    def __init__(self, task: Task) -> None:
        """Take the task that is open."""
        #: The one that is open.
        self.task = task
        super().__init__(f"the crawler has an open task, {task.fid} ({task.state}); stop it, or wait until it ends")


class WriterClosed(HeadwaterError):
    """The task was closed by this writer."""


class NotJson(HeadwaterError, ValueError):
    """A document cannot be JSON."""

    def __init__(self, pointer: str, detail: str) -> None:
        """Say where in the document, as a JSON pointer, and what is wrong there."""
        #: Where in the document; "" is the document itself.
        self.pointer = pointer
        self.detail = detail
        super().__init__(f"{pointer}: {detail}" if pointer else detail)


class DocumentRejected(HeadwaterError):
    """Headwater refused an upload for a document in it; nothing of that upload was kept."""

    def __init__(self, problem: Problem, document: Any) -> None:
        """Take the answer, and the first document that it is about."""
        #: The whole answer.
        self.problem = problem
        #: All that is wrong, each with `line`, `pointer` and `detail`.
        self.errors = problem.errors
        first: Mapping[str, Any] = problem.errors[0] if problem.errors else {}
        #: The first document that is wrong; its text where it is no JSON, None where the answer names none.
        self.document = document
        #: Its line in the upload, from 1.
        self.line: int | None = first.get("line")
        #: Where in it, as a JSON pointer.
        self.pointer: str = first.get("pointer") or ""
        self.detail: str = first.get("detail") or problem.detail
        super().__init__(str(problem))


def _leaves(kind: type[Problem]) -> list[type[Problem]]:
    return [leaf for child in kind.__subclasses__() for leaf in [child, *_leaves(child)]]


#: The class of each problem type, by the last part of its URI without hyphens.
_BY_NAME = {kind.__name__.lower(): kind for kind in _leaves(Problem)}


def problem_class(type_uri: str) -> type[Problem]:
    """Return the class that is called like a problem's ``type``: ``…/document-invalid`` is ``DocumentInvalid``."""
    return _BY_NAME.get(type_uri.rpartition("/")[2].replace("-", ""), Problem)
