"""Lines on their way."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from headwater_client.batcher import Batch, Batcher
from headwater_client.errors import WriterClosed

LINE = b"0123456789\n"


class Server:
    """Takes parcels one at a time, when it is let."""

    def __init__(self) -> None:
        self.taken: list[Batch] = []
        self.open = threading.Event()
        self.open.set()
        self.begun = threading.Semaphore(0)
        self.failure: Exception | None = None

    def take(self, batch: Batch) -> None:
        self.begun.release()
        assert self.open.wait(10)
        if self.failure is not None:
            raise self.failure
        self.taken.append(batch)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def batcher(server) -> Iterator[Batcher]:
    batcher = Batcher(bytes, server.take, max_bytes=3 * len(LINE), max_seconds=60)
    yield batcher
    server.open.set()
    batcher.end()


def _put(batcher: Batcher, count: int) -> None:
    for _ in range(count):
        while not batcher.offer(LINE):
            batcher.wait_for_room()


def test_lines_are_sent_in_order_and_in_buffers_of_the_size(batcher, server):
    for number in range(8):
        while not batcher.offer(b"%010d\n" % number):
            batcher.wait_for_room()
    batcher.flush()
    assert [batch.count for batch in server.taken] == [3, 3, 2]
    assert b"".join(batch.body for batch in server.taken).split() == [b"%010d" % number for number in range(8)]


def test_a_line_that_is_longer_than_a_buffer_is_sent_alone(batcher, server):
    for line in (LINE, b"x" * 100 + b"\n", LINE):
        while not batcher.offer(line):
            batcher.wait_for_room()
    batcher.flush()
    assert [batch.count for batch in server.taken] == [1, 1, 1]


def test_a_line_does_not_wait_for_others_longer_than_it_must(server):
    batcher = Batcher(bytes, server.take, max_bytes=1000, max_seconds=0.01)
    batcher.offer(LINE)
    assert server.begun.acquire(timeout=10)
    batcher.end()


def test_one_parcel_is_under_way_while_another_is_packed_and_a_third_fills(batcher, server):
    server.open.clear()
    _put(batcher, 3)
    batcher.offer(LINE)  # has the first sent
    assert server.begun.acquire(timeout=10)
    batcher.wait_for_room()
    _put(batcher, 6)
    while batcher.offer(LINE):  # the buffer that fills is full at some time, since nothing is taken away
        pass
    assert not server.begun.acquire(timeout=0.1)
    assert server.taken == []


def test_flushing_without_lines_waits_for_nothing(batcher, server):
    batcher.flush()
    assert server.taken == []


def test_a_failure_is_raised_by_every_call_after_it(batcher, server):
    server.failure = ValueError("refused")
    batcher.offer(LINE)
    for call in (
        batcher.flush,
        batcher.wait_for_room,
        batcher.flush,
        lambda: batcher.offer(LINE),
        lambda: batcher.pause(60),
    ):
        with pytest.raises(ValueError, match="refused"):
            call()
    assert batcher.failure is server.failure


def test_nothing_is_sent_after_a_failure(batcher, server):
    server.failure = ValueError("refused")
    batcher.offer(LINE)
    with pytest.raises(ValueError, match="refused"):
        batcher.flush()
    server.failure = None
    assert not server.begun.acquire(timeout=0.05) or server.taken == []


def test_flushing_can_be_bounded_in_time(batcher, server):
    server.open.clear()
    batcher.offer(LINE)
    with pytest.raises(TimeoutError):
        batcher.flush(0.01)


def test_a_pause_ends_when_nothing_is_wanted_any_more(batcher):
    paused = threading.Thread(target=batcher.pause, args=(60,))
    paused.start()
    batcher.end()
    paused.join(10)
    assert not paused.is_alive()


def test_who_waits_for_room_is_let_go_when_the_outbox_ends(batcher, server):
    server.open.clear()
    while batcher.offer(LINE):  # what is sent, packed and waiting is full at some time
        pass
    failures: list[Exception] = []

    def wait() -> None:
        try:
            while True:
                batcher.wait_for_room()
                batcher.offer(LINE)
        except WriterClosed as error:
            failures.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    batcher.end()
    waiting.join(10)
    assert not waiting.is_alive()
    assert len(failures) == 1


def test_threads_may_write_together(server):
    batcher = Batcher(bytes, server.take, max_bytes=5 * len(LINE), max_seconds=60)
    threads = [threading.Thread(target=_put, args=(batcher, 100)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    batcher.flush()
    batcher.end()
    assert b"".join(batch.body for batch in server.taken) == LINE * 400
    assert sum(batch.count for batch in server.taken) == 400
