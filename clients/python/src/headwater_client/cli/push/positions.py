"""Positions in the file of documents that are not yet acknowledged."""

from __future__ import annotations

from collections import deque


class Positions:
    """The line or row of each document, until it is acknowledged.

    Stored as runs of consecutive positions.
    """

    def __init__(self, first: int = 0) -> None:
        """Start with the document of that number, from 0."""
        self._next = first
        #: The first document of each run, and its position.
        self._runs: deque[tuple[int, int]] = deque()

    def add(self, place: int) -> None:
        """Add the position of the next document."""
        if not self._runs or place - self._runs[-1][1] != self._next - self._runs[-1][0]:
            self._runs.append((self._next, place))
        self._next += 1

    def forget(self, until: int) -> None:
        """Discard the positions of documents before ``until``."""
        while len(self._runs) > 1 and self._runs[1][0] <= until:
            self._runs.popleft()

    def of(self, document: int) -> int | None:
        """Return a document's position; None if unknown."""
        found = None
        for first, place in self._runs:
            if first <= document:
                found = place + document - first
        return found
