"""The errors of the domain.

    HeadwaterError
    ├── NotFound
    ├── Invalid
    │   ├── RequestInvalid
    │   ├── ParametersInvalid
    │   ├── SchemaInvalid
    │   ├── UploadBroken
    │   ├── VersionForgotten
    │   └── EventForgotten
    ├── DocumentInvalid
    ├── Conflict
    │   ├── TaskClosed
    │   ├── TaskRemoved
    │   ├── TaskPurged
    │   ├── RunSettled
    │   ├── NothingToPublish
    │   ├── NoLogin
    │   ├── LoginUnfinished
    │   ├── LoginUnusable
    │   ├── StreamTaken
    │   ├── InUse
    │   ├── WebhookDisabled
    │   ├── MovedMeanwhile
    │   └── UploadInFlight
    ├── VersionMismatch
    ├── TooLarge
    │   ├── UploadTooLarge
    │   ├── DocumentTooLarge
    │   ├── RequestTooLarge
    │   └── HeaderTooLarge
    ├── RequestTimedOut
    ├── NotUnderstood
    │   ├── ContentTypeUnknown
    │   └── EncodingUnknown
    ├── KeyReused
    ├── TooMany
    │   ├── TooManyRequests
    │   └── TooManyUploads
    ├── NotAuthenticated
    ├── NotAllowed
    ├── OriginNotAllowed
    ├── MethodNotAllowed
    ├── NoRoom
    ├── SegmentDamaged
    └── Unavailable

No error here knows a status code; ``api/errors.py`` has the only mapping. The first sentence of a class's
docstring is the title that callers see, and its name is the stable ``type``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

#: Maximum number of flaws that are listed; the rest is only counted.
MOST_FLAWS = 100
#: Maximum length of a flaw's text: a schema error may quote a whole document.
LONGEST_DETAIL = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class Flaw:
    """One error in what the caller sent, and its place."""

    #: What is wrong, in one sentence.
    detail: str
    #: Its place, as a JSON pointer (RFC 6901) into the body or the document.
    pointer: str | None = None
    #: The JSON Schema keyword that failed.
    keyword: str | None = None
    #: The place of that keyword, as a JSON pointer into the schema.
    schema_pointer: str | None = None
    #: The line of an upload, counted from 1.
    line: int | None = None
    #: The byte of the decompressed upload at which the error (or its document) begins, from 0.
    offset: int | None = None
    #: The id of the document, if known.
    doc_id: str | None = None

    @property
    def message(self) -> str:
        """The flaw as one line of text."""
        where = [f"line {self.line}" if self.line is not None else None, self.pointer or None]
        return ": ".join([*filter(None, where), self.detail])


class HeadwaterError(Exception):
    """Headwater cannot do what it was asked."""

    #: Seconds after which a retry makes sense; None if the request must be changed.
    retry_after: int | None = None
    #: Further members of the problem details, by name.
    members: Mapping[str, str | None] = {}

    def __init__(self, detail: str, *, flaws: Sequence[Flaw] = (), truncated: bool = False) -> None:
        super().__init__(detail)
        #: What happened, to what, and how to fix it.
        self.detail = detail
        #: The single errors, at most ``MOST_FLAWS``.
        self.flaws = tuple(flaws[:MOST_FLAWS])
        #: Whether there were more errors than are listed.
        self.truncated = truncated or len(flaws) > MOST_FLAWS

    @classmethod
    def title(cls) -> str:
        """The kind of error in words, the same for each occurrence."""
        return (cls.__doc__ or "").partition(".")[0].strip()


class NotFound(HeadwaterError):
    """There is no such object."""


class Invalid(HeadwaterError):
    """What was sent is not what it should be."""


class RequestInvalid(Invalid):
    """Request is invalid."""


class ParametersInvalid(Invalid):
    """Parameters do not fit the External."""


class SchemaInvalid(Invalid):
    """External's definition is invalid."""


class UploadBroken(Invalid):
    """Upload is not newline-delimited JSON."""


class VersionForgotten(Invalid):
    """Stream version is not kept any more."""


class EventForgotten(Invalid):
    """Events are not kept any more."""


class DocumentInvalid(HeadwaterError):
    """Document is invalid."""


class Conflict(HeadwaterError):
    """The object's state does not allow this."""


class TaskClosed(Conflict):
    """Task is closed."""


class TaskRemoved(Conflict):
    """Task is deleted."""


class TaskPurged(Conflict):
    """Task's documents are purged."""


class RunSettled(Conflict):
    """Run is settled."""


class NothingToPublish(Conflict):
    """Task has nothing to publish."""


class NoLogin(Conflict):
    """Nobody logs in at this External's crawler."""


class LoginUnfinished(Conflict):
    """Login at the crawler is not finished."""


class LoginUnusable(Conflict):
    """Crawler's OAuth service answers what cannot be used."""


class StreamTaken(Conflict):
    """Stream has a crawler already."""


class InUse(Conflict):
    """Object is in use."""


class WebhookDisabled(Conflict):
    """Webhook is disabled."""


class MovedMeanwhile(Conflict):
    """Object was changed by somebody else in the meantime."""


class UploadInFlight(Conflict):
    """An upload with this Idempotency-Key is still under way."""

    retry_after = 1


class VersionMismatch(HeadwaterError):
    """If-Match does not hold."""


class TooLarge(HeadwaterError):
    """What was sent is over a limit."""


class UploadTooLarge(TooLarge):
    """Upload is over its limit."""


class DocumentTooLarge(TooLarge):
    """Document is over its limit."""


class RequestTooLarge(TooLarge):
    """Request body is over its limit."""


class HeaderTooLarge(TooLarge):
    """Request header is over its limit."""


class RequestTimedOut(HeadwaterError):
    """Request did not arrive in time."""


class NotUnderstood(HeadwaterError):
    """Unsupported form of request body."""


class ContentTypeUnknown(NotUnderstood):
    """Content type is not supported."""


class EncodingUnknown(NotUnderstood):
    """Content encoding is not supported."""


class KeyReused(HeadwaterError):
    """Idempotency-Key was used before with another body."""


class TooMany(HeadwaterError):
    """More was asked for than is given at once."""

    def __init__(self, detail: str, *, retry_after: int = 1) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class TooManyRequests(TooMany):
    """Key makes too many requests."""


class TooManyUploads(TooMany):
    """Task has too many uploads under way."""


class NotAuthenticated(HeadwaterError):
    """Key or token is missing or wrong."""


class NotAllowed(HeadwaterError):
    """Key lacks the scope for this."""


class OriginNotAllowed(HeadwaterError):
    """Pages of this origin may not call this."""


class MethodNotAllowed(HeadwaterError):
    """Method is not allowed here."""


class NoRoom(HeadwaterError):
    """Server's disk has no room for more documents."""

    retry_after = 30


class SegmentDamaged(HeadwaterError):
    """Stored documents are damaged."""

    retry_after = 60

    def __init__(self, segment: str, task: str | None, *, path: str, fault: str) -> None:
        """Name the segment and its task; None if the segment's file holds the documents of many tasks."""
        whose = "of many tasks" if task is None else f"of task {task}"
        or_else = "" if task is None else ", or delete the task and run it again"
        super().__init__(
            f"segment {segment} {whose} is damaged: {fault}; restore {path} from a backup{or_else}; with "
            "?skip_damaged=true, reads answer the rest"
        )
        self.members = {"segment": segment, "task": task}


class Unavailable(HeadwaterError):
    """Headwater cannot do this right now."""

    def __init__(self, detail: str, *, retry_after: int = 5) -> None:
        super().__init__(detail)
        self.retry_after = retry_after
