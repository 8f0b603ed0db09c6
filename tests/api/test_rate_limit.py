import pytest

from builders import AT
from headwater.api.rate_limit import SLOTS, RateLimiter, cells
from headwater.catalog.keys import Key, Scope
from headwater.domain.errors import TooManyRequests
from headwater.domain.ids import new_fid


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


def a_key(fid: str | None = None) -> Key:
    return Key(fid=fid or new_fid(AT), name="nightly", scopes=(Scope.READ,), created_at=AT, revoked_at=None)


def allowed(rate_limiter: RateLimiter, key: Key, tries: int) -> int:
    """How many of so many requests are let in."""
    taken = 0
    for _ in range(tries):
        try:
            rate_limiter.acquire(key)
        except TooManyRequests:
            continue
        taken += 1
    return taken


def test_a_minute_may_be_had_at_once_and_then_comes_evenly(clock):
    rate_limiter, key = RateLimiter(most=60, clock=clock, shared=[0.0] * cells()), a_key()
    assert allowed(rate_limiter, key, 100) == 60
    clock.now += 10
    assert allowed(rate_limiter, key, 100) == 10
    clock.now += 3600
    assert allowed(rate_limiter, key, 100) == 60


def test_who_is_asked_to_wait_for_so_long_is_let_in_then(clock):
    rate_limiter, key = RateLimiter(most=2, clock=clock, shared=[0.0] * cells()), a_key()
    assert allowed(rate_limiter, key, 2) == 2
    with pytest.raises(TooManyRequests, match="may make 2 requests a minute") as refused:
        rate_limiter.acquire(key)
    assert refused.value.retry_after == 30
    clock.now += refused.value.retry_after
    rate_limiter.acquire(key)


def test_each_key_has_an_allowance_of_its_own(clock):
    rate_limiter = RateLimiter(most=2, clock=clock, shared=[0.0] * cells())
    assert [allowed(rate_limiter, a_key(), 5) for _ in range(20)] == [2] * 20


def test_workers_count_together(clock):
    shared, key = [0.0] * cells(), a_key()
    workers = [RateLimiter(most=10, clock=clock, shared=shared) for _ in range(4)]
    assert sum(allowed(worker, key, 5) for worker in workers) == 10


def test_without_a_limit_nothing_is_counted(clock):
    shared = [0.0] * cells()
    assert allowed(RateLimiter(most=None, clock=clock, shared=shared), a_key(), 100) == 100
    assert not any(shared)


def test_keys_that_would_lie_in_one_place_are_told_apart_and_memory_is_bounded(clock):
    shared = [0.0] * cells()
    rate_limiter = RateLimiter(most=2, clock=clock, shared=shared)
    crowd = [a_key(f"{0:019x}{number * SLOTS:013x}") for number in range(9)]
    # The ninth finds no place: it is let in rather than counted with another.
    assert [allowed(rate_limiter, key, 3) for key in crowd] == [2] * 8 + [3]
    clock.now += 60
    assert allowed(rate_limiter, crowd[8], 3) == 2
    assert len(shared) == cells()


def test_what_was_taken_is_told_once_and_what_others_took_is_missing_from_then_on(clock):
    shared, key = [0.0] * cells(), a_key()
    rate_limiter = RateLimiter(most=60, clock=clock, shared=shared)
    assert allowed(rate_limiter, key, 3) == 3

    ((mark, seconds),) = rate_limiter.buckets.unsent().items()
    assert (seconds, rate_limiter.buckets.unsent()) == (3, {})
    rate_limiter.buckets.learn(mark, 50.0)
    rate_limiter.buckets.learn(mark, 4.0)
    rate_limiter.buckets.learn(mark + SLOTS, 60.0)

    assert allowed(rate_limiter, key, 100) == 10
    assert rate_limiter.buckets.unsent() == {mark: 10}
    assert allowed(rate_limiter, a_key(), 100) == 60
