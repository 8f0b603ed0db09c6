"""The documents that each peer is given: the same ones, made once."""

import gzip
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import documents
from bench.peers.environment import FOLDER

#: Documents that each peer takes before it is timed.
WARM_UP = 200
#: Where the numbers of those begin, beyond all others.
_WARM_UP_BEGINS = 1 << 40
#: Documents of a compressed file, as many as Headwater has in an upload.
UPLOAD = 10_000
#: Of gzip, as its command has it.
_LEVEL = 6
#: Documents that are made at once.
_BLOCK = 50_000


@dataclass(frozen=True, kw_only=True)
class Reviews:
    """Documents in a file, one a line, and others to warm up with."""

    docs: int
    file: Path
    warm_up: Path

    def bodies(self, size: int, body: Callable[[Sequence[bytes]], bytes]) -> tuple[list[bytes], list[bytes]]:
        """Return bodies to warm up with, and those to be timed, each of so many lines without their ends."""
        both = (file.read_bytes().splitlines() for file in (self.warm_up, self.file))
        warm_up, timed = ([body(lines[at : at + size]) for at in range(0, len(lines), size)] for lines in both)
        return warm_up, timed

    def gzipped(self) -> Path:
        """Return a folder with the same documents in gzipped files: what Headwater is sent, upload by upload."""
        folder = self.file.with_suffix(".gzipped")
        if not folder.exists():
            new = self.file.with_suffix(".gzipping")
            new.mkdir(exist_ok=True)
            for number, body in enumerate(self.bodies(UPLOAD, compressed)[1]):
                (new / f"{number:04}.ndjson.gz").write_bytes(body)
            new.rename(folder)
        return folder


def compressed(lines: Sequence[bytes]) -> bytes:
    """Return lines as the body of a gzipped upload."""
    return gzip.compress(b"\n".join(lines), _LEVEL)


def reviews(docs: int) -> Reviews:
    """Return so many documents, the first of all that there are."""
    warm_up = range(_WARM_UP_BEGINS, _WARM_UP_BEGINS + WARM_UP)
    return Reviews(docs=docs, file=_kept(f"{docs}", range(docs)), warm_up=_kept(f"{WARM_UP}-to-warm-up", warm_up))


def _kept(name: str, numbers: range) -> Path:
    file = FOLDER / f"reviews-{name}-edition-{documents.EDITION}.ndjson"
    if not file.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        new = file.with_suffix(".new")
        with new.open("wb") as lines:
            lines.writelines(_blocks(numbers))
        # Renamed last: half a file is none.
        new.rename(file)
    return file


def _blocks(numbers: range) -> Iterable[bytes]:
    for start in range(0, len(numbers), _BLOCK):
        yield documents.ndjson(numbers[start : start + _BLOCK], seed=f"peers {start}")
