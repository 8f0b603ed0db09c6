"""Faults by plan for a served Headwater: a disk of a chosen size, failing writes, a wall clock that jumps."""

import mmap
import os
import struct
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).with_name("faults.c")
_CLOCK, _ROOM, _WAL_FAULTS = range(3)


def compile_library(folder: Path) -> Path:
    """Compile the library that is preloaded, and return its path."""
    library = folder / "faults.so"
    cache = str(folder / "zig")
    subprocess.run(
        [sys.executable, "-m", "ziglang", "cc", "-O1", "-fPIC", "-shared", str(SOURCE), "-o", str(library)],
        env={**os.environ, "ZIG_GLOBAL_CACHE_DIR": cache, "ZIG_LOCAL_CACHE_DIR": cache},
        check=True,
    )
    return library


class Faults:
    """The plan of faults of the processes that are started with ``environment``."""

    def __init__(self, library: Path, folder: Path, *, disk: Path) -> None:
        """Plan nothing yet; ``disk`` is the folder whose room is limited."""
        self._file = folder / "faults.plan"
        self._file.write_bytes(struct.pack("3q", 0, -1, 0))
        with self._file.open("r+b") as opened:
            self._plan = mmap.mmap(opened.fileno(), 0)
        self.environment = {
            "LD_PRELOAD": str(library),
            "FAULTS_PLAN": str(self._file),
            "FAULTS_DISK": str(disk),
        }

    def set_clock_ahead(self, seconds: int) -> None:
        """Put the wall clock of the processes ahead, or back."""
        self._set(_CLOCK, seconds)

    @property
    def budget(self) -> int:
        """Bytes that are left on the disk."""
        return struct.unpack_from("q", self._plan, 8 * _ROOM)[0]

    @budget.setter
    def budget(self, left: int) -> None:
        self._set(_ROOM, left)

    def fail_wal_writes(self, many: int) -> None:
        """Let so many of the next writes to a write-ahead log fail."""
        self._set(_WAL_FAULTS, many)

    @property
    def wal_faults_left(self) -> int:
        """How many of the failures that were planned are still to come."""
        return struct.unpack_from("q", self._plan, 8 * _WAL_FAULTS)[0]

    def _set(self, place: int, value: int) -> None:
        struct.pack_into("q", self._plan, 8 * place, value)
