"""A stream is what its change sets say, whatever was uploaded, retried, deleted and restored, in any order."""

import asyncio
import json
import shutil
import tempfile
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builders import World
from headwater.catalog.database import Database
from headwater.domain.task import Publish

IDS = ["a", "b", "c", "d", "e", "f"]


class Model:
    """What must hold, said as plainly as can be: a list of uploads in the order of their layers."""

    def __init__(self, publish: Publish) -> None:
        self.publish = publish
        #: (task, attempt, documents) from the lowest layer to the highest.
        self.uploads: list[tuple[int, int, list[dict]]] = []
        self.attempt = [0, 0, 0]
        self.state = ["none", "none", "none"]
        self.deleted = [False, False, False]
        #: The attempts of each task whose documents show unless it is deleted.
        self.shows: list[set[int]] = [set(), set(), set()]

    def open_task(self) -> int | None:
        return next((task for task in range(3) if self.state[task] == "open"), None)

    def shown(self) -> dict[str, dict]:
        return {
            doc["id"]: doc
            for task, attempt, docs in self.uploads
            if not self.deleted[task] and attempt in self.shows[task]
            for doc in docs
        }

    def upload(self, task: int, docs: list[dict]) -> None:
        self.uploads.append((task, self.attempt[task], docs))
        if self.publish is Publish.LIVE:
            self.shows[task].add(self.attempt[task])

    def close(self, task: int, code: int) -> None:
        self.state[task] = "ended"
        if code == 200:
            self.shows[task] = {self.attempt[task]}

    def delete(self, task: int) -> None:
        self.deleted[task] = True
        if self.state[task] == "open":
            self.state[task] = "ended"


documents = st.lists(
    st.builds(lambda name, value: {"id": name, "v": value}, st.sampled_from(IDS), st.integers(0, 99)),
    min_size=1,
    max_size=8,
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("begin"), st.integers(0, 2)),
        st.tuples(st.just("upload"), documents),
        st.tuples(st.just("upload"), documents),
        st.tuples(st.just("close"), st.sampled_from([200, 200, 500])),
        st.tuples(st.just("delete"), st.integers(0, 2)),
        st.tuples(st.just("restore"), st.integers(0, 2)),
    ),
    max_size=25,
)


async def _play(world: World, publish: Publish, steps: list) -> None:
    crawler = await world.crawler(publish=publish)
    model, tasks = Model(publish), [None, None, None]
    seen = {0: {}}
    for action, value in steps:
        running = model.open_task()
        match action:
            case "begin" if running is None and not model.deleted[value]:
                if tasks[value] is None:
                    tasks[value] = await world.task(crawler)
                else:
                    assert (await world.retry(tasks[value])).begun
                model.attempt[value] += 1
                model.state[value] = "open"
            case "upload" if running is not None:
                await world.upload(tasks[running], value)
                model.upload(running, value)
            case "close" if running is not None:
                await world.report(tasks[running], value)
                model.close(running, value)
            case "delete" if tasks[value] is not None:
                await world.delete(tasks[value])
                model.delete(value)
            case "restore" if tasks[value] is not None:
                await world.restore(tasks[value])
                model.deleted[value] = False
        seen[(await world.stream(crawler.stream)).stream_version] = model.shown()
        assert await world.shown(crawler.stream) == model.shown()
    for version, shown in seen.items():
        assert await world.shown(crawler.stream, version) == shown


@pytest.fixture(params=["sqlite", "postgres"])
def databases(request, sqlite):
    """A way to a world of its own for each example, on one catalog."""
    folder = Path(tempfile.mkdtemp())
    if request.param == "sqlite":
        shutil.copyfile(sqlite, folder / "catalog.sqlite")
        url = f"sqlite:///{folder / 'catalog.sqlite'}"
    else:
        url = request.getfixturevalue("postgres_url")
    db = Database(url)
    world = World(db, folder)
    yield world
    world.close()
    db.close()
    shutil.rmtree(folder)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(publish=st.sampled_from(list(Publish)), steps=steps)
def test_a_stream_shows_what_its_visible_change_sets_say_at_every_version(databases, publish, steps):
    asyncio.run(_play(databases, publish, steps))


@pytest.mark.parametrize("gone", [(0,), (1,), (2,), (0, 1), (1, 2), (0, 2)])
async def test_without_some_of_three_overlapping_tasks_it_is_as_if_they_had_never_run(world, gone):
    loads = [[{"id": name, "task": task, "pad": "x" * task} for name in IDS[task : task + 4]] for task in range(3)]
    reference = await world.crawler()
    for task, docs in enumerate(loads):
        if task not in gone:
            await world.done(reference, docs)
    expected = await world.export(reference.stream)

    for order in permutations(gone):
        crawler = await world.crawler()
        tasks = [await world.done(crawler, docs) for docs in loads]
        whole = await world.export(crawler.stream)
        for task in order:
            await world.delete(tasks[task])
        assert await world.export(crawler.stream) == expected
        for back in permutations(gone):
            for task in back:
                await world.restore(tasks[task])
            assert await world.export(crawler.stream) == whole
            for task in back:
                await world.delete(tasks[task])
            assert await world.export(crawler.stream) == expected


async def test_an_export_is_the_uploaded_bytes(world):
    crawler = await world.crawler()
    lines = [b'{"id":"a","x":[1, 2.50,  "\\u00fc"]}\n', '{ "id" : "b", "ü": "😀" }\n'.encode()]
    task = await world.task(crawler)
    await world.upload(task, b"".join(lines))
    assert await world.export(crawler.stream) == b"".join(lines)
    assert [json.loads(line) for line in lines]
