"""A shop that loses items and changes items every day, crawled whole each night, for thirty days."""

import json
from random import Random

import pytest

from headwater.domain.task import Mode, Publish
from headwater.streams.views import NOW

DAYS = 30
ITEMS = 200


def _shop_each_day() -> list[dict[str, dict]]:
    """The items of a shop on each day: it loses 5 % a day, takes in as many others, and changes 5 %."""
    random, made = Random(30), 0
    shop: dict[str, dict] = {}
    days: list[dict[str, dict]] = []
    for day in range(DAYS):
        for name in random.sample(sorted(shop), len(shop) // 20):
            del shop[name]
        for name in random.sample(sorted(shop), len(shop) // 20):
            shop[name] = {"id": name, "price": random.randrange(1000), "day": day}
        while len(shop) < ITEMS:
            name = f"item-{made:05}"
            made += 1
            shop[name] = {"id": name, "price": random.randrange(1000), "day": day}
        days.append(dict(shop))
    return days


class Follower:
    """Holds a stream by its change feed."""

    def __init__(self, world, stream: str) -> None:
        self.world, self.stream = world, stream
        self.version, self.held = 0, {}

    async def holds(self) -> dict[str, dict]:
        self.version, changes = await self.world.changes(self.stream, self.version)
        for change in changes:
            if change["op"] == "upsert":
                self.held[change["id"]] = change["doc"]
            else:
                del self.held[change["id"]]
        return self.held


async def _paged(world, stream: str) -> dict[str, dict]:
    docs, after = {}, None
    while True:
        page = await world.reader.page(stream, NOW, after=after, limit=70)
        docs |= {found.id: json.loads(found.text) for found in page.docs}
        if page.next_after is None:
            return docs
        after = page.next_after


@pytest.mark.parametrize("publish", list(Publish))
async def test_the_stream_is_the_shop_each_day_and_any_days_are_undone(world, publish):
    days = _shop_each_day()
    crawler = await world.crawler(publish=publish, mode=Mode.SNAPSHOT)
    follower = Follower(world, crawler.stream)
    tasks = []
    for day, shop in enumerate(days):
        task = await world.task(crawler)
        items = list(shop.values())
        for start in range(0, len(items), 80):
            await world.upload(task, items[start : start + 80])
        await world.report(task, 200)
        tasks.append(task)
        assert await world.shown(crawler.stream) == shop
        assert await follower.holds() == shop
        if day % 4 == 3:
            await world.fold()
    assert await _paged(world, crawler.stream) == days[-1]
    gone = set()
    for day in (2, 29, 28, 0, 15, 27, 26):
        await world.delete(tasks[day])
        gone.add(day)
        left = max(set(range(DAYS)) - gone)
        assert await world.shown(crawler.stream) == days[left]
        assert await follower.holds() == days[left]
    await world.fold()
    for day in (28, 2, 26, 29, 0):
        await world.restore(tasks[day])
        gone.discard(day)
        left = max(set(range(DAYS)) - gone)
        assert await world.shown(crawler.stream) == days[left]
        assert await follower.holds() == days[left]
    fids = [task.fid for task in tasks[20:]]
    assert await world.shown(crawler.stream, without=fids) == days[19]
