"""Bindings of the scanner, native code that validates a block of lines with the GIL released (``scanner.c``).

Importing it raises OSError where that code is missing, or is not for this platform; see ``fitting``.
"""

import ctypes
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from headwater.ingest.scanner.mended import Mended
from headwater.ingest.scanner.plan import Plan

#: Built from ``scanner.c`` when Headwater is installed; see ``hatch_build.py``.
LIBRARY = Path(__file__).with_name("libscanner.so")

_library = ctypes.CDLL(str(LIBRARY))
_BYTES, _INTS = (np.ctypeslib.ndpointer(kind, ndim=1, flags="C_CONTIGUOUS") for kind in (np.uint8, np.int32))
_lines, _scan, _mend = _library.headwater_lines, _library.headwater_scan, _library.headwater_mend
_lines.argtypes = (ctypes.c_char_p, ctypes.c_int32, _INTS)
_scan.argtypes = (ctypes.POINTER(Plan), ctypes.c_char_p, _INTS, ctypes.c_int32, _BYTES, _INTS, _INTS)
_mend.argtypes = (ctypes.c_char_p, ctypes.c_int32, _BYTES, _INTS, _INTS, _INTS, ctypes.POINTER(ctypes.c_int32))
_lines.restype = _scan.restype = _mend.restype = ctypes.c_int32


def line_offsets(data: bytes) -> npt.NDArray[np.int32] | None:
    """Return where each line begins in ``data``, and where the last one ends.

    None if a line needs normalizing: each must end in one LF without CR, and none may begin with white space.
    """
    offsets = np.empty(len(data) // 2 + 2, np.int32)
    count = _lines(data, len(data), offsets)
    # Copied, so that the oversized buffer is freed.
    return None if count < 0 else offsets[: count + 1].copy()


def mended(data: bytes) -> Mended:
    """Return the non-blank lines of ``data``; lines end at LF, CRLF, CR, and at the end of ``data``."""
    most = len(data) // 2 + 2
    copied = np.empty(len(data) + 1, np.uint8)
    offsets, numbers, starts = (np.empty(most, np.int32) for _ in range(3))
    lines = ctypes.c_int32()
    count = _mend(data, len(data), copied, offsets, numbers, starts, ctypes.byref(lines))
    # Copied, so that the oversized buffers are freed.
    return Mended(
        data=copied[: offsets[count]].tobytes(),
        offsets=offsets[: count + 1].copy(),
        numbers=numbers[:count].copy(),
        starts=starts[:count].copy(),
        lines=lines.value,
    )


def scan(plan: Plan, data: bytes, offsets: npt.NDArray[np.int32]) -> tuple[pa.StringArray, list[int]]:
    """Return the id of each document of a block, and the indexes of those that must take the general path.

    ``offsets`` holds where each line begins in ``data``, and where the last one ends, after its LF. The ids of
    documents for the general path are empty. The others are JSON objects that match the schema and have that id.
    """
    count = len(offsets) - 1
    ids = np.empty(len(data), np.uint8)
    ends = np.empty(count + 1, np.int32)
    missed = np.empty(count, np.int32)
    found = _scan(plan, data, offsets, count, ids, ends, missed)
    buffers = pa.py_buffer(cast("Any", ends)), pa.py_buffer(ids[: ends[-1]].tobytes())
    return pa.StringArray.from_buffers(count, *buffers), missed[:found].tolist()
