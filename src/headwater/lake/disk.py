"""Free disk space of the data directory: a reserve that uploads must leave, and a ballast file for a full disk.

Deleting and purging free space, but need some first: the catalog writes before it deletes. So uploads are refused
while less than the reserve is free. For the case that other programs fill the disk there is a ballast file, which
is released so that the catalog can be opened and written.
"""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import structlog

from headwater.domain.errors import NoRoom

log = structlog.get_logger(__name__)

#: Largest ballast: SQLite's write-ahead log reaches half of it before it is restarted.
MOST_BALLAST = 8 << 20
#: The reserve is at most a tenth of the disk, so that small disks can be used, too.
PART_OF_DISK = 10
#: Seconds for which a measured free space is reused.
FRESH = 0.2


class Disk:
    """The disk of a data directory; any number of processes may watch it."""

    def __init__(
        self, folder: Path, *, reserve: int, ballast: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Keep ``reserve`` bytes free; with ``ballast``, some of them as a file that can be released."""
        self._folder = folder
        self._reserve = reserve
        self._file = folder / "ballast" if ballast else None
        self._clock = clock
        self._free = 0
        self._until = float("-inf")
        self._is_low = False

    @property
    def free(self) -> int:
        """Bytes that can be written now."""
        found = os.statvfs(self._folder)
        return found.f_bavail * found.f_frsize

    @property
    def reserve(self) -> int:
        """Bytes that uploads leave free."""
        found = os.statvfs(self._folder)
        return min(self._reserve, found.f_blocks * found.f_frsize // PART_OF_DISK)

    @property
    def has_room(self) -> bool:
        """Whether more than the reserve is free."""
        now = self._clock()
        if now >= self._until:
            try:
                self._free = self.free - self.reserve
            except OSError:  # the next write reports what is wrong with the disk
                self._free = 0
            self._until = now + FRESH
        return self._free >= 0

    def require_room(self) -> None:
        """Raise unless more than the reserve is free.

        Raises:
            NoRoom: there is less.
        """
        if not self.has_room:
            raise NoRoom(
                f"less than {self.reserve} bytes are free on the server's disk (setting disk_reserve), and nothing of "
                "the upload was kept; free some, for instance by deleting tasks and 'headwater purge', and try again"
            )

    def make_ready(self) -> None:
        """Release the ballast if the catalog could not be opened otherwise."""
        with suppress(OSError):
            if self.free < self._ballast:
                self.release_ballast()

    def release_ballast(self) -> bool:
        """Delete the ballast file, so that something can be written on a full disk; return whether it existed."""
        if self._file is None:
            return False
        try:
            self._file.unlink()
        except OSError:
            return False
        log.error("disk.full", folder=str(self._folder), ballast_released=self._ballast)
        return True

    def look(self) -> None:
        """Recreate the ballast file when there is space for it again, and log when free space becomes low."""
        free, reserve = self.free, self.reserve
        if (free < reserve) is not self._is_low:
            self._is_low = free < reserve
            tell = log.error if self._is_low else log.info
            tell("disk.low" if self._is_low else "disk.has_room", free=free, reserve=reserve)
        if self._file is not None and self._ballast and free >= reserve + self._ballast:
            with suppress(FileExistsError):
                _allocate(self._file, self._ballast)

    @property
    def _ballast(self) -> int:
        return min(MOST_BALLAST, self.reserve // 2)


def _allocate(file: Path, size: int) -> None:
    """Create a file with its space allocated on the disk, or none."""
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.posix_fallocate(handle, 0, size)
    except OSError:
        file.unlink(missing_ok=True)
        raise
    finally:
        os.close(handle)
