"""Rate limits across servers: each tells the others what it has let in, once a second."""

from collections.abc import Callable, Sequence

from headwater.api.rate_limit import Buckets
from headwater.catalog import rate_buckets
from headwater.catalog.core.database import Database
from headwater.catalog.rate_buckets import Bucket

#: Seconds between two turns: for so long, each server may let in a caller's whole allowance.
EVERY = 1.0
#: Seconds between two deletions of what nobody needs.
_FORGET_EVERY = 60.0


class SharedRates:
    """Counts the callers of this server together with those of others on the same PostgreSQL."""

    def __init__(self, db: Database, buckets: Sequence[Buckets], *, clock: Callable[[], float]) -> None:
        """Share the buckets, each of which is of another part of the memory."""
        self._db = db
        self._buckets = {each.part: each for each in buckets}
        self._clock = clock
        self._forgotten_at = clock()

    async def turn(self) -> None:
        """Tell what was let in since the last turn, and learn what all servers have; ask nothing if it was nothing."""
        taken = [
            Bucket(part=part, mark=mark, seconds=seconds)
            for part, buckets in self._buckets.items()
            for mark, seconds in buckets.unsent().items()
        ]
        if taken:
            # Alone: uploads would wait for rows that other servers hold.
            for found in await self._db.write_alone(rate_buckets.take, taken):
                self._buckets[found.part].learn(found.mark, found.seconds)
        if self._clock() - self._forgotten_at > _FORGET_EVERY:
            self._forgotten_at = self._clock()
            await self._db.write_alone(rate_buckets.forget_full)
