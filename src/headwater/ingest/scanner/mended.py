"""The lines of a piece of a body, normalized."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, kw_only=True)
class Mended:
    """The non-blank lines of a piece of a body, each ended by one LF."""

    data: bytes
    #: Where each line begins in ``data``, and where the last one ends.
    offsets: npt.NDArray[np.int32]
    #: The line number of each within the piece, from 0.
    numbers: npt.NDArray[np.int32]
    #: Where each begins in the piece.
    starts: npt.NDArray[np.int32]
    #: The number of lines of the piece, blank ones included.
    lines: int
