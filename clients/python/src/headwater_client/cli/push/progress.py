"""Progress of a push."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from headwater_client.cli.push.files import File

if TYPE_CHECKING:
    from headwater_client.writer import TaskWriter


@dataclass
class Progress:
    """Progress of a push."""

    file: File
    writer: TaskWriter
    #: Documents that the task already had, which are skipped.
    before: int = 0
    #: Documents read from the file, including skipped ones, and their bytes as lines.
    documents: int = 0
    bytes: int = 0
    began: float = field(default_factory=time.monotonic)
    #: Bytes of the file read before the first document of this run.
    read_before: int = 0

    @property
    def arrived(self) -> int:
        """Documents that the server has, including rejected ones."""
        return self.before + self.writer.taken + self.writer.rejected

    #: When the last document was acknowledged.
    ended: float | None = None

    @property
    def seconds(self) -> float:
        """Duration of this run in seconds."""
        return (self.ended or time.monotonic()) - self.began

    @property
    def rate(self) -> float:
        """Acknowledged documents per second."""
        return self.writer.taken / max(self.seconds, 0.001)

    @property
    def seconds_left(self) -> float | None:
        """Estimated remaining seconds, by the bytes of the file; None if unknown."""
        size = self.file.size
        read = self.file.read_so_far - self.read_before
        if size is None or read <= 0 or self.seconds < 1:
            return None
        return max(size - self.file.read_so_far, 0) * self.seconds / read
