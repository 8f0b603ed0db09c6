from dataclasses import replace
from datetime import timedelta

import pytest

from builders import AT, a_stream, a_task, an_external
from headwater.catalog import object_lists, objects
from headwater.catalog.object_lists import ObjectOrder, ObjectQuery, Place
from headwater.catalog.objects import CRAWLERS, EXTERNALS, STREAMS, TASKS
from headwater.domain.task import Reason, TaskState

HOUR = timedelta(hours=1)
#: By name: documents, when the latest run began, its state, and when the crawler runs next, in hours after AT.
SHOPS = {
    "a": (10, 4, TaskState.FAILED, None),
    "B": (30, 1, TaskState.DONE, 9),
    "c": (30, 2, TaskState.DONE, 5),
    "": (0, None, None, 7),
}


@pytest.fixture
async def shops(world):
    """The name of each stream and crawler by its fid; created in the order of SHOPS."""
    found = {}
    for place, (name, (docs, latest, state, following)) in enumerate(SHOPS.items()):
        at, meta = AT + timedelta(minutes=place), {"name": name} if name else {}
        next_run_at = None if following is None else AT + following * HOUR
        stream = a_stream(at, docs=docs, meta=meta)
        crawler = await world.crawler(
            stream=stream, external=an_external(at), at=at, meta=meta, next_run_at=next_run_at
        )
        found |= dict.fromkeys((crawler.fid, crawler.stream), name or "-")
        for earlier in range(0 if latest is None else 2):
            task = a_task(crawler, AT + timedelta(minutes=len(found)))
            began = AT + latest * HOUR - earlier * 10 * HOUR
            ended = replace(task, started_at=began, ended_at=AT, state=TaskState.STOPPED if earlier else state)
            await world.db.write(objects.add, TASKS, ended)
    return found


async def _names(world, shops, kind, *, page, **query) -> str:
    found, after = "", None
    while True:
        some = await world.db.read(object_lists.page, kind, ObjectQuery(**query), after=after, limit=page)
        found += "".join(shops[each.value.fid] for each in some)
        if len(some) < page:
            return found
        after = some[-1].place


@pytest.mark.parametrize(
    ("kind", "order", "ascending", "descending"),
    [
        (STREAMS, ObjectOrder.CREATED, "aBc-", "-cBa"),
        # Without regard to case; those without a name come last either way.
        (STREAMS, ObjectOrder.NAME, "aBc-", "cBa-"),
        # Equal ones by their creation.
        (STREAMS, ObjectOrder.DOCS, "-aBc", "cBa-"),
        (STREAMS, ObjectOrder.LATEST, "Bca-", "acB-"),
        (STREAMS, ObjectOrder.SIZE, "aBc-", "-cBa"),
        (CRAWLERS, ObjectOrder.NAME, "aBc-", "cBa-"),
        (CRAWLERS, ObjectOrder.LATEST, "Bca-", "acB-"),
        (CRAWLERS, ObjectOrder.NEXT, "c-Ba", "B-ca"),
    ],
)
async def test_a_list_is_sorted_and_goes_on_after_a_place(world, shops, kind, order, ascending, descending):
    for page in (1, 2, 3, 100):
        assert await _names(world, shops, kind, page=page, order=order, is_descending=False) == ascending
        assert await _names(world, shops, kind, page=page, order=order) == descending


async def test_a_page_begins_at_its_place_though_what_stood_there_has_moved_or_is_gone(world, shops):
    query = ObjectQuery(order=ObjectOrder.DOCS)
    (first,) = await world.db.read(object_lists.page, STREAMS, query, after=None, limit=1)
    assert first.place.value == 30
    moved = replace(first.value, docs=5, version=first.value.version + 1)
    await world.db.write(objects.save, STREAMS, first.value, moved)
    found = await world.db.read(object_lists.page, STREAMS, query, after=first.place, limit=2)
    assert [shops[each.value.fid] for each in found] == ["B", "a"]
    nowhere = Place(fid="0" * 32, value=20)
    found = await world.db.read(object_lists.page, STREAMS, query, after=nowhere, limit=1)
    assert [shops[each.value.fid] for each in found] == ["a"]


async def test_lists_are_filtered_by_name_state_and_external(world, shops):
    assert await _names(world, shops, STREAMS, page=9, name="b") == "B"
    assert await _names(world, shops, STREAMS, page=9, name="%") == ""
    assert await _names(world, shops, CRAWLERS, page=9, state="done") == "cB"
    assert await _names(world, shops, STREAMS, page=9, state="failed", order=ObjectOrder.NAME) == "a"
    (crawler,) = [
        fid for fid, name in shops.items() if name == "c" and await world.db.read(objects.find, CRAWLERS, fid)
    ]
    external = (await world.db.read(objects.get, CRAWLERS, crawler)).external
    assert await _names(world, shops, CRAWLERS, page=9, external=external) == "c"
    task = next(each for each in await world.db.read(_tasks_of, crawler) if each.state is TaskState.DONE)
    await world.db.write(objects.save, TASKS, task, replace(task, reason=Reason.GATE_FAILED, version=2))
    assert await _names(world, shops, CRAWLERS, page=9, state="withheld") == "c"
    assert await _names(world, shops, CRAWLERS, page=9, state="done") == "B"


def _tasks_of(tx, crawler):
    return objects.page(tx, TASKS, where={"crawler": crawler}, after=None, limit=9)


async def test_externals_are_sorted_by_how_many_crawlers_they_have(world):
    made = [an_external(AT + timedelta(minutes=place)) for place in range(3)]
    for external in (*made, made[1]):
        await world.crawler(external=external)
    externals = [external.fid for external in made]
    query = ObjectQuery(order=ObjectOrder.CRAWLERS)
    found = await world.db.read(object_lists.page, EXTERNALS, query, after=None, limit=2)
    assert [(each.value.fid, each.place.value) for each in found] == [(externals[1], 2), (externals[2], 1)]
    last = await world.db.read(object_lists.page, EXTERNALS, query, after=found[-1].place, limit=2)
    assert [each.value.fid for each in last] == [externals[0]]
    assert await world.db.read(object_lists.crawlers_of, externals) == dict(zip(externals, (1, 2, 1), strict=True))
