"""Lines on their way."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from headwater_client.errors import WriterClosed
from headwater_client.outbox import Outbox, Parcel

LINE = b"0123456789\n"


class Server:
    """Takes parcels one at a time, when it is let."""

    def __init__(self) -> None:
        self.taken: list[Parcel] = []
        self.open = threading.Event()
        self.open.set()
        self.begun = threading.Semaphore(0)
        self.failure: Exception | None = None

    def take(self, parcel: Parcel) -> None:
        self.begun.release()
        assert self.open.wait(10)
        if self.failure is not None:
            raise self.failure
        self.taken.append(parcel)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def outbox(server) -> Iterator[Outbox]:
    outbox = Outbox(bytes, server.take, max_bytes=3 * len(LINE), max_seconds=60)
    yield outbox
    server.open.set()
    outbox.end()


def _put(outbox: Outbox, count: int) -> None:
    for _ in range(count):
        while not outbox.offer(LINE):
            outbox.wait_for_room()


def test_lines_are_sent_in_order_and_in_buffers_of_the_size(outbox, server):
    for number in range(8):
        while not outbox.offer(b"%010d\n" % number):
            outbox.wait_for_room()
    outbox.flush()
    assert [parcel.count for parcel in server.taken] == [3, 3, 2]
    assert b"".join(parcel.body for parcel in server.taken).split() == [b"%010d" % number for number in range(8)]


def test_a_line_that_is_longer_than_a_buffer_is_sent_alone(outbox, server):
    for line in (LINE, b"x" * 100 + b"\n", LINE):
        while not outbox.offer(line):
            outbox.wait_for_room()
    outbox.flush()
    assert [parcel.count for parcel in server.taken] == [1, 1, 1]


def test_a_line_does_not_wait_for_others_longer_than_it_must(server):
    outbox = Outbox(bytes, server.take, max_bytes=1000, max_seconds=0.01)
    outbox.offer(LINE)
    assert server.begun.acquire(timeout=10)
    outbox.end()


def test_one_parcel_is_under_way_while_another_is_packed_and_a_third_fills(outbox, server):
    server.open.clear()
    _put(outbox, 3)
    outbox.offer(LINE)  # has the first sent
    assert server.begun.acquire(timeout=10)
    outbox.wait_for_room()
    _put(outbox, 6)
    while outbox.offer(LINE):  # the buffer that fills is full at some time, since nothing is taken away
        pass
    assert not server.begun.acquire(timeout=0.1)
    assert server.taken == []


def test_flushing_without_lines_waits_for_nothing(outbox, server):
    outbox.flush()
    assert server.taken == []


def test_a_failure_is_raised_by_every_call_after_it(outbox, server):
    server.failure = ValueError("refused")
    outbox.offer(LINE)
    for call in (
        outbox.flush,
        outbox.wait_for_room,
        outbox.flush,
        lambda: outbox.offer(LINE),
        lambda: outbox.pause(60),
    ):
        with pytest.raises(ValueError, match="refused"):
            call()
    assert outbox.failure is server.failure


def test_nothing_is_sent_after_a_failure(outbox, server):
    server.failure = ValueError("refused")
    outbox.offer(LINE)
    with pytest.raises(ValueError, match="refused"):
        outbox.flush()
    server.failure = None
    assert not server.begun.acquire(timeout=0.05) or server.taken == []


def test_flushing_can_be_bounded_in_time(outbox, server):
    server.open.clear()
    outbox.offer(LINE)
    with pytest.raises(TimeoutError):
        outbox.flush(0.01)


def test_a_pause_ends_when_nothing_is_wanted_any_more(outbox):
    paused = threading.Thread(target=outbox.pause, args=(60,))
    paused.start()
    outbox.end()
    paused.join(10)
    assert not paused.is_alive()


def test_who_waits_for_room_is_let_go_when_the_outbox_ends(outbox, server):
    server.open.clear()
    while outbox.offer(LINE):  # what is sent, packed and waiting is full at some time
        pass
    failures: list[Exception] = []

    def wait() -> None:
        try:
            while True:
                outbox.wait_for_room()
                outbox.offer(LINE)
        except WriterClosed as error:
            failures.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    outbox.end()
    waiting.join(10)
    assert not waiting.is_alive()
    assert len(failures) == 1


def test_threads_may_write_together(server):
    outbox = Outbox(bytes, server.take, max_bytes=5 * len(LINE), max_seconds=60)
    threads = [threading.Thread(target=_put, args=(outbox, 100)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    outbox.flush()
    outbox.end()
    assert b"".join(parcel.body for parcel in server.taken) == LINE * 400
    assert sum(parcel.count for parcel in server.taken) == 400
