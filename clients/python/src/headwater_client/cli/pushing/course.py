"""How far pushing has come."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from headwater_client.cli.pushing.files import File

if TYPE_CHECKING:
    from headwater_client.writer import TaskWriter


@dataclass
class Course:
    """How far a file has come on its way."""

    file: File
    writer: TaskWriter
    #: Documents that the task held before, which are passed over.
    before: int = 0
    #: Documents that were taken from the file, those before included, and their bytes as lines.
    documents: int = 0
    bytes: int = 0
    began: float = field(default_factory=time.monotonic)
    #: Bytes of the file that were read when the first document of this run was taken.
    read_before: int = 0

    @property
    def arrived(self) -> int:
        """Documents that the server has, those that it left aside included."""
        return self.before + self.writer.taken + self.writer.rejected

    #: When the last document had arrived.
    ended: float | None = None

    @property
    def seconds(self) -> float:
        """For how long this run has pushed."""
        return (self.ended or time.monotonic()) - self.began

    @property
    def rate(self) -> float:
        """Documents of this run that arrive in a second."""
        return self.writer.taken / max(self.seconds, 0.001)

    @property
    def seconds_left(self) -> float | None:
        """For how long it will still push, by the bytes of the file; None while that cannot be told."""
        size = self.file.size
        read = self.file.read_so_far - self.read_before
        if size is None or read <= 0 or self.seconds < 1:
            return None
        return max(size - self.file.read_so_far, 0) * self.seconds / read
