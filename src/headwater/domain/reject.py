"""Rejected lines: lines of lenient uploads that are not valid documents of their External."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import blake2b

from headwater.domain.errors import Flaw

#: Maximum number of stored rejected lines of a task; the rest is only counted.
MOST_REJECTS = 10_000
#: Maximum number of stored bytes of a line.
LONGEST_TEXT = 64 << 10
#: Maximum number of stored errors of a line.
MOST_OF_LINE = 10
#: Maximum bytes of a truncated character at the end of a text.
_PART_OF_CHARACTER = 3


class RejectKind(StrEnum):
    """Why a line was rejected."""

    #: It is not JSON.
    BROKEN = "broken"
    #: It is not an object, or does not match the schema.
    INVALID = "invalid"


@dataclass(frozen=True, kw_only=True, slots=True)
class RejectedLine:
    """A line of an upload that is not a valid document of its External."""

    kind: RejectKind
    #: Its number in the upload, from 1.
    line: int
    #: Its offset in the upload, in bytes from 0.
    offset: int
    #: What is wrong with it.
    flaws: Sequence[Flaw]
    #: The id of its document, or if it is broken, the apparent id; None if unknown.
    doc_id: str | None
    #: Its bytes, without the newline; truncated if it is long.
    raw: bytes
    #: Its size in bytes.
    size: int
    #: Number of accepted documents of the same upload before it.
    before: int


@dataclass(frozen=True, kw_only=True)
class Reject:
    """A stored rejected line."""

    task: str
    attempt: int
    #: Its number among those of its attempt.
    seq: int
    #: The number of its upload among the accepted uploads of its attempt, from 1.
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
    #: Number of documents of the attempt that arrived before it.
    arrived: int
    #: The digest of the stored part; None for lines stored before digests existed.
    digest: str | None = None

    @property
    def is_intact(self) -> bool:
        """Whether the stored bytes are undamaged, as far as known."""
        return self.digest is None or self.digest == reject_digest(self.doc_id, self.raw, size=self.size)

    @property
    def is_whole(self) -> bool:
        """Whether the whole line is stored, so that it can be replayed."""
        return self.size == len(self.raw) and self.is_intact

    @property
    def text(self) -> str | None:
        """Its text; None if it is not UTF-8."""
        try:
            return self.raw.decode()
        except UnicodeDecodeError:
            return None


def reject_digest(doc_id: bytes | None, raw: bytes, *, size: int) -> str:
    """Return the digest of a rejected line."""
    digest = blake2b(digest_size=16)
    for part in (b"" if doc_id is None else doc_id, raw):
        digest.update(len(part).to_bytes(8))
        digest.update(part)
    digest.update(size.to_bytes(8))
    return digest.hexdigest()


def kept_of(line: bytes) -> bytes:
    """Return the part of a line to store; text is not cut within a character."""
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
    """Return the ways to write an id in a text that is, or should be, JSON."""
    written = {doc_id, json.dumps(doc_id)[1:-1], json.dumps(doc_id, ensure_ascii=False)[1:-1]}
    return sorted(text.encode(errors="surrogatepass") for text in written if text)


def mentions(raw: bytes, doc_id: str) -> bool:
    """Return whether a text contains an id as a whole word."""
    return any(re.search(rb"(?<!\w)" + re.escape(text) + rb"(?!\w)", raw) for text in spellings(doc_id))
