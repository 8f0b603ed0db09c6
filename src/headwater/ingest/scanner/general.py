"""What the native code of the scanner does, in NumPy, for installations without it: the same lines, and no shortcut.

Uploads have the same results and errors with it. They take longer, since each document takes the general path.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from headwater.ingest.scanner.mended import Mended
from headwater.ingest.scanner.plan import Plan

_TAB, _LF, _CR, _SPACE = b"\t\n\r "


def line_offsets(data: bytes) -> npt.NDArray[np.int32] | None:
    """Return where each line begins in ``data``, and where the last one ends; None if a line needs normalizing."""
    if not data.endswith(b"\n") or b"\r" in data:
        return None
    octets = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(octets == _LF) + 1
    offsets = np.concatenate([[0], ends]).astype(np.int32)
    if np.isin(octets[offsets[:-1]], (_LF, _SPACE, _TAB)).any():
        return None
    return offsets


def mended(data: bytes) -> Mended:
    """Return the non-blank lines of ``data``; lines end at LF, CRLF, CR, and at the end of ``data``."""
    # A last line that nothing ends is ended, and becomes one of all.
    ended = data if not data or data[-1] in b"\r\n" else data + b"\n"
    octets = np.frombuffer(ended, np.uint8).copy()
    is_carriage = octets == _CR
    # The LF of a CRLF ends no line of its own.
    is_second = np.zeros(len(octets), np.bool_)
    is_second[1:] = (octets[1:] == _LF) & is_carriage[:-1]
    ends = np.flatnonzero(((octets == _LF) | is_carriage) & ~is_second)
    # Each line reaches to the next one's begin, with what ends it.
    nexts = ends + 1
    has_second = np.append(is_second, False)[nexts]
    starts = np.concatenate([[0], nexts + has_second])[: len(ends) + 1]
    texts = np.concatenate([[0], np.cumsum((octets != _SPACE) & (octets != _TAB))])
    is_kept = texts[ends] > texts[starts[:-1]]
    octets[is_carriage] = _LF
    copied = octets[np.repeat(is_kept, np.diff(starts)) & ~is_second].tobytes()
    sizes = (ends - starts[:-1] + 1)[is_kept]
    return Mended(
        data=copied,
        offsets=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32),
        numbers=np.flatnonzero(is_kept).astype(np.int32),
        starts=starts[:-1][is_kept].astype(np.int32),
        lines=len(ends),
    )


def scan(plan: Plan, data: bytes, offsets: npt.NDArray[np.int32]) -> tuple[pa.StringArray, list[int]]:  # noqa: ARG001 - as the native one
    """Return an empty id for each document of a block, and the indexes of all of them: they take the general path."""
    count = len(offsets) - 1
    empty = pa.py_buffer(b"\0" * 4 * (count + 1)), pa.py_buffer(b"")
    return pa.StringArray.from_buffers(count, *empty), list(range(count))
