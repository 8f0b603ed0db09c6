"""A file that is streamed while it is written."""

import io
from typing import Any


class Sink(io.RawIOBase):
    """A write-only file that buffers what has not been taken yet; not seekable."""

    def __init__(self) -> None:
        """Begin empty."""
        super().__init__()
        self._held: list[bytes] = []
        self._size = 0

    def writable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the number of bytes written."""
        return self._size

    def write(self, data: Any, /) -> int:
        """Append bytes."""
        piece = bytes(data)
        self._held.append(piece)
        self._size += len(piece)
        return len(piece)

    def take(self) -> bytes:
        """Return and remove the buffered bytes."""
        taken = b"".join(self._held)
        self._held = []
        return taken
