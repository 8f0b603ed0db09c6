"""What is uploaded: made-up reviews as the bodies of uploads, made before anything is timed."""

import os
import zlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

from bench import documents

#: As clients compress by default.
_LEVEL = 6
_GZIP = zlib.MAX_WBITS | 16
#: Bodies of one kind, at most; who sends more sends some of them again.
_MOST_BODIES = 2_000


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Reviews of about one size."""

    #: Bytes of a document, on the average.
    size: int
    docs: int


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What the bodies of a measurement have in common."""

    corpus: Corpus
    #: Documents of an upload.
    docs: int
    gzipped: bool

    @property
    def bodies(self) -> int:
        """How many different ones there are."""
        return max(1, min(self.corpus.docs // self.docs, _MOST_BODIES))


class Body(NamedTuple):
    """The body of an upload."""

    #: As it is sent.
    content: bytes | memoryview
    #: Bytes of its documents, not compressed.
    size: int


def prepare(kinds: Iterable[Kind]) -> None:
    """Make the bodies of some kinds, and keep them for as long as the process lives."""
    for kind in kinds:
        bodies(kind)


@cache
def bodies(kind: Kind) -> list[Body]:
    """Return the bodies of a kind; no two of them have a document in common."""
    lines = _lines(kind.corpus)
    whole = [b"".join(lines[place * kind.docs : (place + 1) * kind.docs]) for place in range(kind.bodies)]
    if not kind.gzipped:
        return [Body(content=content, size=len(content)) for content in whole]
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return [
            Body(content=packed, size=len(content))
            for packed, content in zip(threads.map(_gzipped, whole), whole, strict=True)
        ]


def write(corpus: Corpus, file: Path) -> None:
    """Write all documents of a corpus to a file, as lines of JSON."""
    file.write_bytes(b"".join(_lines(corpus)))


@cache
def _lines(corpus: Corpus) -> list[bytes]:
    return documents.ndjson(range(corpus.docs), seed="ingest", size=corpus.size).splitlines(keepends=True)


def _gzipped(content: bytes) -> bytes:
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    return packer.compress(content) + packer.flush()
