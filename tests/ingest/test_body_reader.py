import asyncio
import threading
from contextlib import asynccontextmanager

import pytest

from builders import body_of
from headwater.domain.errors import UploadBroken
from headwater.ingest.body_reader import FEED, MOST_FED, BodyReader
from headwater.ingest.memory_budget import MemoryBudget

PART = b"x" * FEED
LARGE = b"x" * MOST_FED


class Sinking:
    """Takes a body, and remembers in which threads."""

    def __init__(self, *, fails=False):
        self.taken, self.threads, self.fails = b"", [], fails
        self.is_finished = self.is_discarded = False
        self.held = 0

    def spill(self):
        pass

    def decode(self, data):
        yield data

    def take(self, pieces):
        self.threads.append(threading.current_thread())
        for piece in pieces:
            if self.fails:
                raise UploadBroken("it is broken")
            self.taken += piece

    def finish(self):
        self.is_finished = True
        return len(self.taken)

    def discard(self):
        assert not self.is_finished
        self.is_discarded = True


class Doubling(Sinking):
    """Takes what is compressed."""

    def decode(self, data):
        yield data
        yield data


@asynccontextmanager
async def a_pump(*, budget=None, stall=30.0, at_once=100):
    body_reader = BodyReader(threads=2, budget=budget or MemoryBudget(1 << 30), stall=stall, at_once=at_once)
    yield body_reader
    body_reader.close()


async def _nothing():
    pass


async def pour(body, sink, *, is_quick=True, heard=_nothing, **options):
    async with a_pump(**options) as body_reader:
        return await body_reader.read_into(body, sink, is_quick=is_quick, heard=heard)


async def _stalling(*pieces):
    for piece in pieces:
        yield piece
    await asyncio.Event().wait()


async def test_a_body_arrives_whole_and_in_order():
    pieces = [bytes([number]) * 100_000 for number in range(20)]
    sink = Sinking()
    assert await pour(body_of(*pieces), sink) == 2_000_000
    assert sink.taken == b"".join(pieces)


async def test_an_empty_body_ends_like_any_other():
    assert await pour(body_of(), Sinking()) == 0


@pytest.mark.parametrize(
    ("sink", "size", "is_quick", "is_here"),
    [
        (Sinking(), 100, True, True),
        (Sinking(), 101, True, False),
        (Sinking(), 100, False, False),
        (Doubling(), 10, True, False),
    ],
)
async def test_only_a_small_body_that_is_quick_work_is_worked_on_here(sink, size, is_quick, is_here):
    await pour(body_of(b"x" * size), sink, is_quick=is_quick)
    assert (sink.threads[-1] is threading.current_thread()) == is_here
    assert sink.taken == b"x" * size * (2 if isinstance(sink, Doubling) else 1)


async def test_each_large_part_is_heard_of():
    heard = 0

    async def hear():
        nonlocal heard
        heard += 1

    await pour(body_of(LARGE, LARGE, b"x"), Sinking(), heard=hear)
    assert heard == 2


class Waiting(Sinking):
    """Takes nothing before it may."""

    def __init__(self):
        super().__init__()
        self.may = threading.Event()
        self.sizes = []

    def take(self, pieces):
        assert self.may.wait(timeout=30)
        before = len(self.taken)
        super().take(pieces)
        self.sizes.append(len(self.taken) - before)


async def test_what_came_while_the_thread_was_busy_is_handed_on_at_once_up_to_a_bound():
    sink = Waiting()

    async def body():
        for number in range(7):
            yield PART
            if number == 3:  # with the next there are as many as may be
                sink.may.set()

    await pour(body(), sink)
    assert sink.sizes[:2] == [FEED, MOST_FED]


@pytest.mark.parametrize("body", [body_of(b"x"), body_of(PART, PART), _stalling(LARGE, LARGE, LARGE)])
async def test_what_fails_is_discarded(body):
    sink = Sinking(fails=True)
    with pytest.raises(UploadBroken, match="it is broken"):
        await pour(body, sink)
    assert sink.is_discarded


@pytest.mark.parametrize("pieces", [[], [b"x"], [PART, b"x"]])
async def test_a_body_of_which_nothing_comes_for_too_long_is_dropped(pieces):
    sink, budget = Sinking(), MemoryBudget(1)
    with pytest.raises(UploadBroken, match=r"nothing came for 0\.05 seconds .* upload_idle_timeout"):
        await pour(_stalling(*pieces), sink, stall=0.05, budget=budget)
    assert sink.is_discarded
    assert budget.is_left


async def test_who_goes_away_leaves_nothing_behind():
    sink, budget = Sinking(), MemoryBudget(1)
    body_read = asyncio.create_task(pour(_stalling(PART), sink, budget=budget))
    while not sink.taken:  # noqa: ASYNC110 - a thread fills it
        await asyncio.sleep(0.001)
    body_read.cancel()
    with pytest.raises(asyncio.CancelledError):
        await body_read
    assert sink.is_discarded
    assert budget.is_left


class Holding(Sinking):
    """Keeps all that it takes."""

    def take(self, pieces):
        super().take(pieces)
        self.held = len(self.taken)


async def test_a_body_for_which_there_is_no_room_is_read_when_there_is():
    budget = MemoryBudget(FEED)
    other = Holding()
    other.held = 2 * FEED
    budget.register(other)
    budget.charge(other)
    read = 0

    async def body():
        nonlocal read
        for _ in range(3):
            read += 1
            yield PART

    async with a_pump(budget=budget) as body_reader:
        body_read = asyncio.create_task(body_reader.read_into(body(), Sinking(), is_quick=True, heard=_nothing))
        await asyncio.sleep(0.2)
        assert (body_read.done(), read) == (False, 1)
        budget.release(other)
        assert await body_read == 3 * FEED


async def test_however_little_room_there_is_all_come_to_their_end():
    budget = MemoryBudget(10)
    async with a_pump(budget=budget) as body_reader:
        bodies = [
            body_reader.read_into(body_of(*[PART] * 5), Holding(), is_quick=True, heard=_nothing) for _ in range(6)
        ]
        assert await asyncio.gather(*bodies) == [5 * FEED] * 6
    assert budget.is_left
