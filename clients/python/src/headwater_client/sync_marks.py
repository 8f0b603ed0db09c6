"""What a sync has reached, in a file: the next one is quick if nothing has changed, and knows if one was killed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Mark:
    """What a table holds."""

    #: Version of the stream.
    version: int
    #: The External that its columns are of, with its version; empty if the stream has no crawler.
    external: str
    #: ``dataset.table``.
    table: str


@dataclass(frozen=True)
class MarkFile:
    """The file with the mark of a table; there is none while a sync runs, nor after one that was killed or failed."""

    path: Path

    @classmethod
    def of(cls, folder: Path, *, stream: str, url: str, table: str | None, dataset: str) -> MarkFile:
        """Return the file for a stream and a table of a database; its name tells nothing of a password."""
        parts = urlsplit(url)
        where = [parts.scheme, parts.hostname, parts.port, parts.path, parts.query, dataset, table]
        digest = hashlib.sha256(json.dumps(where).encode()).hexdigest()[:12]
        return cls(folder / f"headwater_{stream}_{digest}.json")

    @property
    def pipeline(self) -> str:
        """The name of the pipeline of dlt."""
        return self.path.stem

    def read(self) -> Mark | None:
        """Return the mark; None if there is none."""
        try:
            return Mark(**json.loads(self.path.read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def write(self, mark: Mark) -> None:
        """Write the mark."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(asdict(mark)))
        new.replace(self.path)

    def delete(self) -> None:
        """Delete the mark."""
        self.path.unlink(missing_ok=True)
