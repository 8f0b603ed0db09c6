"""The scanner: machine code that looks at a block of lines while Python's lock is free (``scanner.c``)."""

import ctypes
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from headwater.ingest.plan import Plan

#: Made from ``scanner.c`` when Headwater is installed; see ``hatch_build.py``.
LIBRARY = Path(__file__).with_name("libscanner.so")

_library = ctypes.CDLL(str(LIBRARY))
_BYTES, _INTS = (np.ctypeslib.ndpointer(kind, ndim=1, flags="C_CONTIGUOUS") for kind in (np.uint8, np.int32))
_lines, _scan = _library.headwater_lines, _library.headwater_scan
_lines.argtypes = (ctypes.c_char_p, ctypes.c_int32, _INTS)
_scan.argtypes = (ctypes.POINTER(Plan), ctypes.c_char_p, _INTS, ctypes.c_int32, _BYTES, _INTS, _INTS)
_lines.restype = _scan.restype = ctypes.c_int32


def line_offsets(data: bytes) -> npt.NDArray[np.int32] | None:
    """Return where each line begins in ``data``, and where the last one ends.

    None if a line is not good as it stands: each must end in one LF and no CR, and none may begin with white space.
    """
    offsets = np.empty(len(data) // 2 + 2, np.int32)
    count = _lines(data, len(data), offsets)
    # Copied, so that no room is held for lines of one byte.
    return None if count < 0 else offsets[: count + 1].copy()


def scan(plan: Plan, data: bytes, offsets: npt.NDArray[np.int32]) -> tuple[pa.StringArray, list[int]]:
    """Return the id of each document of a block, and the places of those that are to be looked at in the general way.

    ``offsets`` are where each line begins in ``data``, and where the last one ends, behind its LF. The ids of the
    documents to be looked at are empty. The others are JSON, objects, match the schema, and have that id.
    """
    count = len(offsets) - 1
    ids = np.empty(len(data), np.uint8)
    ends = np.empty(count + 1, np.int32)
    missed = np.empty(count, np.int32)
    found = _scan(plan, data, offsets, count, ids, ends, missed)
    buffers = pa.py_buffer(cast("Any", ends)), pa.py_buffer(ids[: ends[-1]].tobytes())
    return pa.StringArray.from_buffers(count, *buffers), missed[:found].tolist()
