import asyncio
import socket
from contextlib import ExitStack

import pytest

from headwater.catalog.core.database import Database
from headwater.catalog.core.pubsub import Relay, forward


class Workers:
    """Two of them, and what their supervisor holds."""

    def __init__(self, url: str) -> None:
        pairs = [socket.socketpair() for _ in range(2)]
        self.ends = [ours for ours, _ in pairs]
        self.theirs = [theirs for _, theirs in pairs]
        for end in self.ends:
            end.setblocking(False)
        self.databases = [Database(url) for _ in pairs]
        self.orphaned = [asyncio.Event() for _ in pairs]
        self.relays = [Relay(end, orphaned=event.set) for end, event in zip(self.theirs, self.orphaned, strict=True)]

    def close(self) -> None:
        for database in self.databases:
            database.close()
        for end in (*self.ends, *self.theirs):
            end.close()


@pytest.fixture
async def workers(url):
    made = Workers(url)
    with ExitStack() as stack:
        for relay, database in zip(made.relays, made.databases, strict=True):
            stack.enter_context(relay.connected_to(database))
        yield made
    made.close()


async def test_what_one_worker_announces_the_other_hears(workers):
    here, there = [], asyncio.Queue()
    for topic in ("one", "two"):
        workers.databases[0].subscribe(topic, lambda topic=topic: here.append(topic))
        workers.databases[1].subscribe(topic, lambda topic=topic: there.put_nowait(topic))
    for topic in ("one", "two", "one"):
        await workers.databases[0].write(lambda tx, topic=topic: tx.publish(topic))
    forward(workers.ends[0], workers.ends[1:])
    async with asyncio.timeout(10):
        assert {await there.get(), await there.get()} == {"one", "two"}
    assert there.empty()  # each once, however often it was announced
    assert here == ["one", "two", "one"]
    with pytest.raises(BlockingIOError):
        workers.ends[1].recv(1)  # it does not tell on what it was told


def _fill(end: socket.socket) -> None:
    while True:
        end.send(b"x" * 1000)


async def test_who_does_not_listen_holds_up_nobody(workers):
    with pytest.raises(BlockingIOError):
        _fill(workers.theirs[0])
    await workers.databases[0].write(lambda tx: tx.publish("topic"))


@pytest.mark.parametrize("has_told", [False, True])
async def test_a_worker_notices_that_its_supervisor_is_gone(workers, has_told):
    if has_told:  # and nobody listened any more, which is another kind of end
        await workers.databases[1].write(lambda tx: tx.publish("topic"))
    workers.ends[1].close()
    async with asyncio.timeout(10):
        await workers.orphaned[1].wait()
    assert not workers.orphaned[0].is_set()
    await workers.databases[1].write(lambda tx: tx.publish("topic"))
