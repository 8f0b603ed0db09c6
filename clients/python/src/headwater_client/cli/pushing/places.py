"""Where in a file the documents stand that are on their way."""

from __future__ import annotations

from collections import deque


class Places:
    """The line or row of each document, kept until the document has arrived.

    Most stand one behind the other, so that only where that is not so is kept.
    """

    def __init__(self, first: int = 0) -> None:
        """Begin with the document of that number, from 0."""
        self._next = first
        #: Where a run of documents without gaps begins: its first document, and that one's place.
        self._runs: deque[tuple[int, int]] = deque()

    def add(self, place: int) -> None:
        """Tell where the next document stands."""
        if not self._runs or place - self._runs[-1][1] != self._next - self._runs[-1][0]:
            self._runs.append((self._next, place))
        self._next += 1

    def forget(self, until: int) -> None:
        """Forget documents before that one, which will not be asked for."""
        while len(self._runs) > 1 and self._runs[1][0] <= until:
            self._runs.popleft()

    def of(self, document: int) -> int | None:
        """Return where a document stands; None if it is not known."""
        found = None
        for first, place in self._runs:
            if first <= document:
                found = place + document - first
        return found
