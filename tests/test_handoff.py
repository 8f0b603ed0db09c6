import contextlib
import os
import resource
import socket
import time

import pytest

from headwater import handoff
from headwater.handoff import QUEUE_SIZE, SLOW_AFTER, Handoff, take


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def stack():
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture
def offered(stack):
    """A connection that can be given any number of times, and a hand-off that listens to nobody."""
    one, other = socket.socketpair()
    stack.enter_context(one)
    stack.enter_context(other)
    return one


@pytest.fixture
def giving(stack, clock):
    made = Handoff(stack.enter_context(socket.socket()), clock=clock)
    ends = {number: stack.enter_context(made.add(number)) for number in range(2)}
    for end in ends.values():
        end.setblocking(False)
    yield made, ends
    for number in ends:
        made.remove(number)


def _taken(end: socket.socket) -> int:
    """Take all that waits; return how many there were."""
    number = 0
    with contextlib.suppress(BlockingIOError):
        while connections := take(end):
            for connection in connections:
                connection.close()
                number += 1
    return number


def test_connections_go_to_workers_in_turn_and_arrive(giving, offered):
    made, ends = giving
    for _ in range(10):
        assert made.give(offered)
        assert sorted(_taken(end) for end in ends.values()) == [0, 1]


def test_a_worker_that_takes_nothing_gets_no_more_than_the_other_leaves(giving, offered, clock):
    made, ends = giving
    given = 0
    for _ in range(1000):
        assert made.give(offered)
        given += _taken(ends[1])
        clock.now += SLOW_AFTER
    assert given >= 998
    assert _taken(ends[0]) == 1000 - given


def test_the_supervisor_is_never_blocked_by_queues_that_are_full(giving, offered):
    made, ends = giving
    assert [made.give(offered) for _ in range(2 * QUEUE_SIZE + 3)] == [True] * 2 * QUEUE_SIZE + [False] * 3
    assert _taken(ends[0]) == QUEUE_SIZE
    assert made.give(offered)
    assert _taken(ends[0]) == 1


def test_a_worker_that_has_ended_is_passed_over(giving, offered):
    made, ends = giving
    ends[0].close()
    for _ in range(5):
        assert made.give(offered)
        assert _taken(ends[1]) == 1
    ends[1].close()
    assert not made.give(offered)


def test_a_worker_finds_that_its_supervisor_has_ended(giving):
    made, ends = giving
    made.remove(0)
    assert take(ends[0]) is None


def test_a_connection_that_arrives_without_a_descriptor_is_not_the_end_of_the_supervisor(giving, offered):
    made, ends = giving
    assert all(made.give(offered) for _ in range(4))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # The next descriptor has the lowest free number.
    free = os.dup(offered.fileno())
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        assert list(take(ends[0])) == []
        assert list(take(ends[1])) == []
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert _taken(ends[0]) == _taken(ends[1]) == 1
    # What was lost is confirmed, too: there is room for as many as at first.
    assert all(made.give(offered) for _ in range(2 * QUEUE_SIZE))


def test_accepting_goes_on_after_there_were_no_descriptors(stack, monkeypatch, clock):
    listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    failures = iter([OSError(24, "Too many open files")] * 3 + [ConnectionAbortedError()])
    accept = listening.accept

    class Listening:
        def accept(self):
            if failure := next(failures, None):
                raise failure
            return accept()

        def shutdown(self, how):
            listening.shutdown(how)

        def close(self):
            listening.close()

    monkeypatch.setattr(handoff, "_ACCEPT_BACKOFF", (0.001, 0.01))
    made = Handoff(Listening(), clock=clock)
    end = stack.enter_context(made.add(0))
    made.start()
    stack.callback(made.remove, 0)
    stack.callback(made.stop)
    address = listening.getsockname()
    client = stack.enter_context(socket.create_connection(address))
    end.settimeout(30)
    (connection,) = take(end)
    with connection:
        connection.sendall(b"x")
    assert client.recv(1) == b"x"


def test_a_connection_waits_for_the_first_worker(stack):
    listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    made = Handoff(listening)
    made.start()
    stack.callback(made.stop)
    address = listening.getsockname()
    stack.enter_context(socket.create_connection(address))
    time.sleep(0.2)
    end = stack.enter_context(made.add(7))
    stack.callback(made.remove, 7)
    end.settimeout(30)
    (connection,) = take(end)
    connection.close()
