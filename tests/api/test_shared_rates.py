"""Servers on one PostgreSQL count callers together."""

import pytest
from sqlalchemy import select

from api.test_rate_limit import Clock, a_key, allowed
from headwater.api.rate_limit import LoginLimiter, RateLimiter, cells
from headwater.api.shared_rates import SharedRates
from headwater.catalog import rate_buckets, tables
from headwater.catalog.core.database import Database
from headwater.catalog.rate_buckets import Bucket
from headwater.domain.errors import TooManyRequests


class Server:
    """The limits of a server whose clock began at some time."""

    def __init__(self, db, *, began: float) -> None:
        self.clock = Clock()
        self.clock.now = began
        shared = [0.0] * cells()
        self.keys = RateLimiter(most=60, clock=self.clock, shared=shared)
        self.logins = LoginLimiter(most=3, clock=self.clock, shared=shared)
        self.turn = SharedRates(db, [self.keys.buckets, self.logins.buckets], clock=self.clock).turn


@pytest.fixture
def db(postgres_url):
    database = Database(postgres_url)
    yield database
    database.close()


@pytest.fixture
def servers(db):
    return [Server(db, began=began) for began in (1_000.0, 5.0, 7e6)]


async def test_a_key_has_one_allowance_for_all_servers(servers):
    key = a_key()
    assert [allowed(server.keys, key, 20) for server in servers] == [20, 20, 20]
    for server in servers:
        await server.turn()
    # Each knows what those before it have told.
    assert [allowed(server.keys, key, 60) for server in servers] == [40, 20, 0]
    for server in servers[:2]:
        await server.turn()
    assert [allowed(server.keys, key, 60) for server in servers] == [0, 0, 0]
    # The surplus is missing later: 120 requests in the first minute leave none for the second.
    servers[1].clock.now += 59
    assert allowed(servers[1].keys, key, 60) == 0


async def test_wrong_keys_of_an_address_are_counted_together(servers):
    for server in servers:
        server.logins.failed("192.0.2.7")
        await server.turn()
    servers[-1].logins.require("192.0.2.8", "a")
    with pytest.raises(TooManyRequests, match="too many wrong keys"):
        servers[-1].logins.require("192.0.2.7", "a")


async def test_a_server_that_has_let_in_nobody_asks_nothing(monkeypatch, servers):
    def asked(*_args):
        raise AssertionError

    monkeypatch.setattr(rate_buckets, "take", asked)
    await servers[0].turn()


async def test_full_buckets_are_forgotten(db, servers):
    await db.write(rate_buckets.take, [Bucket(part=0, mark=1, seconds=-5), Bucket(part=0, mark=2, seconds=500)])
    await servers[0].turn()
    assert await db.read(_marks) == [1, 2]
    servers[0].clock.now += 61
    await servers[0].turn()
    assert await db.read(_marks) == [2]


def _marks(tx):
    return list(tx.execute(select(tables.rate_buckets.c.mark).order_by(tables.rate_buckets.c.mark)).scalars())
