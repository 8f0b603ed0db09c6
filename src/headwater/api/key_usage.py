"""Records when keys were last used: at most once a minute each, and after the response."""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from headwater.catalog import keys
from headwater.catalog.audit import acting_as
from headwater.catalog.core.database import Database
from headwater.catalog.keys import Key

#: How exact ``last_used_at`` is.
EVERY = timedelta(minutes=1)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class KeyUsage:
    """Writes the last use of keys, in the background."""

    db: Database
    _noted: dict[str, datetime] = field(default_factory=dict[str, datetime])
    _writing: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])

    def note(self, key: Key, at: datetime) -> None:
        """Record a use of a key."""
        last = max(filter(None, (key.last_used_at, self._noted.get(key.fid))), default=None)
        if last is not None and at - last < EVERY:
            return
        self._noted[key.fid] = at
        task = asyncio.get_running_loop().create_task(self._write(key.fid, at))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def settled(self) -> None:
        """Wait until all is written."""
        await asyncio.gather(*self._writing, return_exceptions=True)

    async def _write(self, fid: str, at: datetime) -> None:
        try:
            with acting_as(None):
                await self.db.write(keys.mark_used, fid, at)
        except Exception:  # a full disk must not fail requests
            log.warning("keys.use_not_recorded", key=fid, exc_info=True)
