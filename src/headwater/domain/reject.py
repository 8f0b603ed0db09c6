"""Lines of lenient uploads that were kept aside, because they are no documents of their External."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from headwater.domain.errors import Flaw

#: So many lines of a task are kept aside; the rest is only counted.
MOST_REJECTS = 10_000
#: So many bytes of a line are kept.
LONGEST_TEXT = 64 << 10
#: So many faults of a line are kept.
MOST_OF_LINE = 10
#: So many bytes at the end of a text may be part of a character of which the rest was cut off.
_PART_OF_CHARACTER = 3


class RejectKind(StrEnum):
    """Why a line was kept aside."""

    #: It is not JSON.
    BROKEN = "broken"
    #: It is no object, or does not match the schema.
    INVALID = "invalid"


@dataclass(frozen=True, kw_only=True, slots=True)
class RejectedLine:
    """A line of an upload that is no document of its External."""

    kind: RejectKind
    #: Its number in the upload, from 1.
    line: int
    #: Where it begins in the upload, in bytes from 0.
    offset: int
    #: What is wrong with it.
    flaws: Sequence[Flaw]
    #: The id that its document has, or if it is broken, would seem to have; None where it cannot be told.
    doc_id: str | None
    #: Its bytes, without line end; the first of them where it is long.
    raw: bytes
    #: How many bytes it had.
    size: int
    #: Documents of the same upload that were accepted before it.
    before: int


@dataclass(frozen=True, kw_only=True)
class Reject:
    """A line that is kept aside."""

    task: str
    attempt: int
    #: Its place among those of its attempt.
    seq: int
    #: Which of the accepted uploads of its attempt it came with, from 1.
    upload: int
    at: datetime
    kind: RejectKind
    line: int
    offset: int
    flaws: list[Flaw]
    #: In UTF-8.
    doc_id: bytes | None
    raw: bytes
    size: int
    #: Documents of the attempt that had come before it.
    arrived: int

    @property
    def is_whole(self) -> bool:
        """Whether the whole line is kept, so that it can be tried again."""
        return self.size == len(self.raw)

    @property
    def text(self) -> str | None:
        """Its text; None if it is not UTF-8."""
        try:
            return self.raw.decode()
        except UnicodeDecodeError:
            return None


def kept_of(line: bytes) -> bytes:
    """Return as much of a line as is kept; where it is text, it is not cut within a character."""
    if len(line) <= LONGEST_TEXT:
        return line
    kept = line[:LONGEST_TEXT]
    try:
        kept.decode()
    except UnicodeDecodeError as error:
        if error.reason == "unexpected end of data" and len(kept) - error.start <= _PART_OF_CHARACTER:
            return kept[: error.start]
    return kept


def spellings(doc_id: str) -> list[bytes]:
    """Return how an id may stand in a text that is, or should be, JSON."""
    written = {doc_id, json.dumps(doc_id)[1:-1], json.dumps(doc_id, ensure_ascii=False)[1:-1]}
    return sorted(text.encode(errors="surrogatepass") for text in written if text)


def mentions(raw: bytes, doc_id: str) -> bool:
    """Tell whether an id stands in a text by itself, and not as part of a longer word."""
    return any(re.search(rb"(?<!\w)" + re.escape(text) + rb"(?!\w)", raw) for text in spellings(doc_id))
