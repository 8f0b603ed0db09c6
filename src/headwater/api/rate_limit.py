"""Rate limits: requests of an API key, and failed logins of an address, counted across all workers."""

import hashlib
import ipaddress
import math
from collections.abc import Callable, MutableSequence
from dataclasses import dataclass, field

from headwater.catalog.keys import Key
from headwater.catalog.vault import digest_of
from headwater.domain.errors import TooManyRequests

MINUTE = 60.0
#: Callers that are counted at once, of each kind; with more, those without a slot are not limited.
SLOTS = 4096
#: Numbers per slot: an identifier of the caller, when its bucket is full again, and the seconds by which requests have
#: put that off that no other server knows of.
_WIDTH = 3
#: Slots that a caller may occupy.
_PROBES = 8
#: The kinds of callers: keys, and addresses.
_KINDS = 2
#: Bits of an IPv6 address that one customer is given.
_CUSTOMER = 64
#: Keys that have authenticated lately, as far as they are remembered.
_REMEMBERED = 4096


def cells() -> int:
    """Return how many numbers the shared memory needs."""
    return SLOTS * _WIDTH * _KINDS


@dataclass(frozen=True, kw_only=True)
class Buckets:
    """A token bucket per caller, which holds a minute's requests and refills evenly.

    Each caller has one number: the time at which its bucket will be full again (GCRA). So workers can share it
    in plain memory; if two of them write at once, one request is not counted.
    """

    #: Requests per minute.
    most: int
    #: A clock that all processes with this memory share, in seconds.
    clock: Callable[[], float]
    #: ``cells()`` numbers, initially 0, shared by all workers.
    shared: MutableSequence[float]
    #: Which part of them is used.
    part: int

    @classmethod
    def of(
        cls, most: int | None, *, clock: Callable[[], float], shared: MutableSequence[float], part: int
    ) -> "Buckets | None":
        """Return the buckets of a kind of callers; None if they are not limited."""
        return None if most is None else cls(most=most, clock=clock, shared=shared, part=part)

    def wait(self, mark: float) -> float:
        """Return the seconds until a caller may make another request; 0 if it may now."""
        now = self.clock()
        slot = self._slot(mark, now)
        return 0.0 if slot is None else max(self._full_at(slot, mark, now) + MINUTE / self.most - now - MINUTE, 0.0)

    def take(self, mark: float) -> None:
        """Count a request of a caller."""
        now = self.clock()
        slot = self._slot(mark, now)
        if slot is not None:
            full_at, unsent = self._full_at(slot, mark, now), self.shared[slot + 2] * (self.shared[slot] == mark)
            self.shared[slot] = mark
            self.shared[slot + 1] = full_at + MINUTE / self.most
            self.shared[slot + 2] = unsent + MINUTE / self.most

    def unsent(self) -> dict[int, float]:
        """Return what callers have taken since the last call, in the seconds in which it refills, by their marks."""
        begin = self.part * SLOTS * _WIDTH
        taken = self.shared[begin + 2 : begin + SLOTS * _WIDTH : _WIDTH]
        found: dict[int, float] = {}
        for place, seconds in enumerate(taken):
            if seconds:
                slot = begin + place * _WIDTH
                self.shared[slot + 2] = 0.0
                found[int(self.shared[slot])] = seconds
        return found

    def learn(self, mark: int, seconds: float) -> None:
        """Note that a caller's bucket is this far from full, by the count of all servers."""
        now = self.clock()
        slot = self._slot(float(mark), now)
        if slot is not None and self.shared[slot] == mark:
            self.shared[slot + 1] = max(self.shared[slot + 1], now + seconds)

    def _full_at(self, slot: int, mark: float, now: float) -> float:
        return max(self.shared[slot + 1], now) if self.shared[slot] == mark else now

    def _slot(self, mark: float, now: float) -> int | None:
        """Return the slot of a caller: its present one, or a free one (whose bucket is full again)."""
        first = int(mark) % SLOTS
        base = self.part * SLOTS * _WIDTH
        slots = [base + (first + probe) % SLOTS * _WIDTH for probe in range(_PROBES)]
        known = next((slot for slot in slots if self.shared[slot] == mark), None)
        return known if known is not None else next((slot for slot in slots if self.shared[slot + 1] <= now), None)


@dataclass(frozen=True, kw_only=True)
class RateLimiter:
    """Limits the requests of a key."""

    #: Requests per minute; None is unlimited.
    most: int | None
    clock: Callable[[], float]
    shared: MutableSequence[float]

    @property
    def buckets(self) -> Buckets | None:
        """What is left of each key's rate; None if there is no limit."""
        return Buckets.of(self.most, clock=self.clock, shared=self.shared, part=0)

    def acquire(self, key: Key) -> None:
        """Count a request of a key.

        Raises:
            TooManyRequests: the key has exceeded its rate.
        """
        buckets = self.buckets
        if buckets is None:
            return
        mark = float(int(key.fid[-13:], 16) + 1)  # as many bits of its random part as a float holds exactly
        wait = buckets.wait(mark)
        if wait > 0:
            seconds = math.ceil(wait)
            raise TooManyRequests(
                f"key {key.name!r} may make {buckets.most} requests a minute (setting requests_per_minute); "
                f"go on in {seconds} s",
                retry_after=seconds,
            )
        buckets.take(mark)


@dataclass(frozen=True, kw_only=True)
class LoginLimiter:
    """Limits the wrong keys and tokens that may be tried from an address.

    Over the limit, only keys that have authenticated here lately are let through, so that others behind the same
    proxy go on.
    """

    #: Failures per minute; None is unlimited.
    most: int | None
    clock: Callable[[], float]
    shared: MutableSequence[float]
    _known: dict[str, None] = field(default_factory=dict[str, None])

    @property
    def buckets(self) -> Buckets | None:
        """What each address may still try; None if there is no limit."""
        return Buckets.of(self.most, clock=self.clock, shared=self.shared, part=1)

    def require(self, address: str | None, secret: str) -> None:
        """Refuse a caller whose address has tried too much.

        Raises:
            TooManyRequests: it has.
        """
        buckets = self.buckets
        if buckets is None or address is None:
            return
        wait = buckets.wait(_mark(address))
        if wait > 0 and digest_of(secret) not in self._known:
            seconds = math.ceil(wait)
            raise TooManyRequests(
                f"too many wrong keys came from this address (setting failed_logins_per_minute); go on in {seconds} s",
                retry_after=seconds,
            )

    def failed(self, address: str | None) -> None:
        """Count a failure."""
        buckets = self.buckets
        if buckets is not None and address is not None:
            buckets.take(_mark(address))

    def succeeded(self, secret: str) -> None:
        """Remember a key or token that is valid."""
        if self.most is None:
            return
        digest = digest_of(secret)
        self._known.pop(digest, None)
        self._known[digest] = None
        if len(self._known) > _REMEMBERED:
            self._known.pop(next(iter(self._known)))


def _mark(address: str) -> float:
    """Return a number for an address; IPv6 addresses of one customer have the same one."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        parsed = None
    if isinstance(parsed, ipaddress.IPv6Address):
        address = str(ipaddress.ip_network((parsed, _CUSTOMER), strict=False))
    return float(int(hashlib.sha256(address.encode()).hexdigest()[:13], 16) + 1)
