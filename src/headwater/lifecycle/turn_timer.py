"""When a loop looks again: at the next stored deadline, or when a topic is published."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime

from headwater.catalog.core.database import Database

#: Minimum seconds between two turns of a loop, unless an urgent topic is published.
REST = 1.0
#: Maximum seconds between two turns: another machine may have changed the catalog, or the clock may have jumped.
LONGEST_REST = 10.0


class TurnTimer:
    """Waits between the turns of one loop."""

    def __init__(self) -> None:
        """Wait for nothing yet; ``wake_on`` says for which topics."""
        self._urgent = asyncio.Event()
        self._changed = asyncio.Event()

    def wake_on(self, db: Database, *, urgent: tuple[str, ...] = (), changes: tuple[str, ...] = ()) -> None:
        """End waits at once on ``urgent`` topics, and no sooner than ``REST`` after a turn on ``changes``."""
        loop = asyncio.get_running_loop()
        for topics, event in ((urgent, self._urgent), (changes, self._changed)):
            for topic in topics:
                db.subscribe(topic, lambda event=event: loop.call_soon_threadsafe(event.set))

    def wake(self) -> None:
        """End the wait at once; call it in the event loop."""
        self._urgent.set()

    def begin_turn(self) -> None:
        """Forget what was published before; the turn that begins sees it."""
        self._urgent.clear()
        self._changed.clear()

    async def wait(self, next_due: Callable[[], Awaitable[datetime | None]], *, clock: Callable[[], datetime]) -> None:
        """Wait until the next turn is to begin; ``next_due`` returns when the next deadline is, None without one.

        It is asked only if nothing was published meanwhile. If it fails, the turn begins early, and fails as well.
        """
        if await _is_set_within(REST, self._urgent) or self._changed.is_set():
            return
        try:
            due = await next_due()
        except Exception:  # noqa: BLE001 - the catalog is unavailable: the next turn says so
            return
        seconds = LONGEST_REST if due is None else (due - clock()).total_seconds()
        await _is_set_within(min(max(seconds, 0.0), LONGEST_REST), self._urgent, self._changed)


async def _is_set_within(seconds: float, *events: asyncio.Event) -> bool:
    """Wait until one of the events is set; return False if none is within some seconds."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        done, _ = await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        return bool(done)
    finally:
        # Not awaited: a loop that is cancelled meanwhile must end.
        for wait in waits:
            wait.cancel()
