"""A stream is what its change sets say, whatever was uploaded, retried, deleted, restored, merged and purged."""

import asyncio
import json
import shutil
import tempfile
from datetime import UTC, datetime
from functools import partial
from itertools import chain, combinations, permutations
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from budget import examples
from builders import World
from catalog_template import migrated_catalog
from change_set_builders import Hearsay
from change_set_model import TASKS, Model, Showing, counts, docs_of, moves, operations
from headwater.catalog import segment_tables, segments, tables
from headwater.catalog.core.database import Database
from headwater.domain.errors import NothingToPublish, TaskPurged, TaskRemoved, VersionForgotten
from headwater.domain.filter import condition_of
from headwater.domain.gates import Gates
from headwater.domain.task import Mode, Publish, Reason, Task, TaskFilter
from headwater.lake.diff import Operation
from headwater.streams import diffs
from headwater.streams.views import View

IDS = [f"{letter}{digit}" for letter in "abcde" for digit in range(4)]

documents = st.lists(
    st.builds(
        lambda name, value: {"$delete": name} if value < 0 else {"id": name, "v": value},
        st.sampled_from(IDS),
        st.integers(-1, 3),
    ),
    min_size=1,
    max_size=12,
)
#: Modes, each with the highest value of documents that the run may hide.
modes = st.sampled_from([(Mode.MERGE, None), (Mode.SNAPSHOT, None), (Mode.SNAPSHOT, 1), (Mode.SNAPSHOT, 2)])
some_tasks = st.sets(st.sampled_from(TASKS), min_size=1)
#: What may happen, and how often beside the others.
ACTIONS = {
    "upload": (8, st.tuples(st.sampled_from(TASKS), documents, modes)),
    "start": (1, st.tuples(st.sampled_from(TASKS), modes)),
    "close": (3, st.sampled_from([200, 200, 500])),
    "withhold": (2, st.none()),
    "publish": (3, st.sampled_from(TASKS)),
    "delete": (1, st.sampled_from(TASKS)),
    "restore": (2, st.sampled_from(TASKS)),
    "revert": (1, some_tasks),
    "restore_all": (2, some_tasks),
    "compact": (2, st.none()),
    "fold": (3, st.none()),
    "crowd": (2, st.none()),
    "purge": (1, st.integers(0, 6)),
    "follow": (2, st.sampled_from([None, 1, 4])),
    "allow": (2, st.integers(0, 3)),
    "replay": (4, st.tuples(st.sampled_from(TASKS), st.sampled_from([1, 2, 3, 3]))),
}
steps = st.lists(
    st.one_of(*(st.tuples(st.just(name), value) for name, (often, value) in ACTIONS.items() for _ in range(often))),
    min_size=15,
    max_size=45,
)


class Play:
    """A stream and its model, side by side."""

    def __init__(self, world: World, crawler, publish: Publish) -> None:
        self.world = world
        self.crawler = crawler
        self.model = Model(publish)
        self.tasks: list[Task | None] = [None, None, None]
        self.times = {0: world.at}
        #: Rejected lines of each task's current attempt that are purged.
        self.forgotten = [0, 0, 0]
        #: Where a follower stands, and what it holds.
        self.held: tuple[int, dict[str, dict]] = (0, {})
        self.hearsay = Hearsay(world, crawler.stream)
        #: When a gate kept each task out, and the stream version that took out what had shown, if anything had.
        self.waits_since: dict[int, tuple[datetime, int | None]] = {}
        #: What waited then was purged.
        self.purged_before = datetime.min.replace(tzinfo=UTC)

    @property
    def stream(self) -> str:
        return self.crawler.stream

    async def step(self, action: str, value) -> None:
        await getattr(self, action)(value)
        await self.note()
        assert await self.world.shown(self.stream) == docs_of(self.model.shown())

    async def note(self) -> None:
        """Keep what the present version shows."""
        version = (await self.world.stream(self.stream)).stream_version
        assert version - self.model.version in {0, 1}
        if version in self.model.versions:
            assert self.model.versions[version] == self.model.shown()
        self.model.versions[version] = self.model.shown()
        self.times.setdefault(version, self.world.at)
        await self.hearsay.holds()
        await self.require_fresh_table()

    async def require_fresh_table(self) -> None:
        """What is cached of the stream's segments is what the catalog says."""
        cached = await self.world.db.read(segment_tables.table_of, self.stream)
        fresh = await self.world.db.write(segment_tables.table_of, self.stream)
        assert {row.fid: row for row in cached.segments()} == {row.fid: row for row in fresh.segments()}

    async def start(self, load: tuple[int, tuple[Mode, int | None]]) -> None:
        """Begin a task that may end without documents."""
        task, mode = load
        if self.model.open_task() is None and not self.model.deleted[task]:
            await self.begin(task, mode)

    async def begin(self, task: int, run: tuple[Mode, int | None]) -> None:
        mode, most = run
        if self.tasks[task] is None:
            scope = None if most is None else [f"v<={most}"]
            self.tasks[task] = await self.world.task(self.crawler, mode=mode, scope=scope)
        else:
            assert (await self.world.retry(self.tasks[task])).begun
        self.forgotten[task] = 0
        self.model.begin(task, mode, most)

    async def upload(self, load: tuple[int, list[dict], tuple[Mode, int | None]]) -> None:
        """Upload to the open task; if there is none, begin one first."""
        task, docs, mode = load
        running = self.model.open_task()
        if running is None and not self.model.deleted[task]:
            await self.begin(task, mode)
            running = task
        if running is not None:
            most = self.model.most_of[running]
            receipt = await self.world.upload(
                self.tasks[running], docs, lenient=any(doc.get("v", 0) > most for doc in docs)
            )
            self.model.upload(running, docs)
            assert receipt.count == sum(doc.get("v", most + 1) <= most for doc in docs)
            assert receipt.deleted == sum("$delete" in doc for doc in docs)

    async def allow(self, most: int) -> None:
        """Edit the External, so that tasks that begin from now on, and replays, take higher values or lower ones."""
        await self.world.loosen(self.crawler, schema={"properties": {"v": {"maximum": most}}})
        self.model.most = most

    async def replay(self, load: tuple[int, int]) -> None:
        """Edit the External, and replay what is kept aside of a task."""
        task, most = load
        await self.allow(most)
        if self.tasks[task] is None:
            return
        if self.model.deleted[task]:
            with pytest.raises(TaskRemoved):
                await self.world.replay(self.tasks[task])
            return
        joined, covered = self.model.replay(task)
        replayed = await self.world.replay(self.tasks[task])
        assert (replayed.version is None) == (not joined or not self.model.shows_replays(task))
        left = self.model.rejects(task, self.model.attempt[task])
        assert (replayed.replayed, replayed.covered) == (joined, covered)
        assert replayed.rejected == len(left) + self.forgotten[task]
        assert [json.loads(reject.raw) for reject in await self.world.rejects(self.tasks[task])] == left
        assert (await self.world.now(self.tasks[task])).versions == len(
            self.model.brought(task, self.model.attempt[task])
        )

    async def close(self, code: int) -> None:
        running = self.model.open_task()
        if running is not None:
            await self.world.report(self.tasks[running], code)
            self.model.close(running, code)

    async def withhold(self, _) -> None:
        """Close the open task with 200, with a gate that it fails."""
        running = self.model.open_task()
        if running is None:
            return
        await self._set_gates(Gates(min_docs=1_000))
        ended = await self.world.report(self.tasks[running], 200)
        await self._set_gates(None)
        assert ended.reason is Reason.GATE_FAILED
        had_shown = self.model.attempt[running] in self.model.shows[running]
        self.model.withhold(running)
        # Since when it has waited: by then it may be purged.
        self.waits_since[running] = (self.world.at, self.model.made[running] if had_shown else None)

    async def _set_gates(self, gates: Gates | None) -> None:
        of_it = tables.crawlers.c.fid == self.crawler.fid
        change = update(tables.crawlers).where(of_it).values(gates=None if gates is None else vars(gates))
        await self.world.db.write(lambda tx: tx.execute(change))

    async def publish(self, task: int) -> None:
        if self.tasks[task] is None:
            return
        if self.model.deleted[task]:
            refused = TaskRemoved
        elif self.model.let_in[task]:
            refused = None  # it is let in, and stays so
        elif not self.model.withheld[task]:
            refused = NothingToPublish
        elif self.model.held(task, self.model.attempt[task]) and self.is_over(task):
            refused = TaskPurged
        else:
            refused = None if self.model.let(task) else NothingToPublish
        if refused is None:
            assert (await self.world.publish(self.tasks[task])).reason is Reason.PUBLISHED_BY_USER
        else:
            with pytest.raises(refused):
                await self.world.publish(self.tasks[task])

    def is_over(self, task: int) -> bool:
        """Whether what a gate kept out is purged."""
        at, version = self.waits_since[task]
        return at <= self.purged_before if version is None else version <= self.model.oldest

    async def compact(self, _) -> None:
        await self.world.compact()

    async def fold(self, _) -> None:
        await self.world.fold()

    async def delete(self, task: int) -> None:
        if self.tasks[task] is None:
            return
        fid = self.tasks[task].fid
        foreseen = await self.world.task_diffs.counts_of_moves(partial(diffs.of_delete, fid=fid))
        before = self.model.seen()
        await self.world.delete(self.tasks[task])
        self.model.delete([task])
        assert foreseen == moves(before, self.model.seen())

    async def restore(self, task: int) -> None:
        if self.tasks[task] is None:
            return
        question = partial(diffs.of_restore, fid=self.tasks[task].fid)
        if self.model.is_purged(task):
            with pytest.raises(TaskPurged):
                await self.world.task_diffs.counts_of_moves(question)
            with pytest.raises(TaskPurged):
                await self.world.restore(self.tasks[task])
            return
        foreseen = await self.world.task_diffs.counts_of_moves(question)
        before = self.model.seen()
        await self.world.restore(self.tasks[task])
        self.model.restore([task])
        assert foreseen == moves(before, self.model.seen())

    async def revert(self, tasks: set[int]) -> None:
        wanted = {"tasks": tuple(self.tasks[task].fid for task in tasks if self.tasks[task] is not None)}
        there = [task for task in sorted(tasks) if self.tasks[task] is not None and not self.model.deleted[task]]
        before = self.model.seen()
        held = any(self.model.held(task, attempt) for task in there for attempt in self.model.shows[task])
        question = partial(diffs.of_revert, stream=self.stream, wanted=TaskFilter(**wanted))
        foreseen = await self.world.task_diffs.counts_of_moves(question)
        moved = await self.world.revert(self.stream, **wanted)
        assert sorted(moved.tasks) == sorted(self.tasks[task].fid for task in there)
        self.model.delete(there)
        for task in there:
            self.model.removed_by[task] = moved.version
        assert (moved.version is not None) == held
        assert foreseen == moves(before, self.model.seen())

    async def restore_all(self, tasks: set[int]) -> None:
        wanted = {"tasks": tuple(self.tasks[task].fid for task in tasks if self.tasks[task] is not None)}
        there = [task for task in tasks if self.tasks[task] is not None and self.model.deleted[task]]
        purged = {self.tasks[task].fid for task in there if self.model.is_purged(task)}
        before = self.model.seen()
        question = partial(diffs.of_restore_all, stream=self.stream, wanted=TaskFilter(**wanted))
        foreseen = await self.world.task_diffs.counts_of_moves(question)
        moved = await self.world.restore_all(self.stream, **wanted)
        assert set(moved.purged) == purged
        assert set(moved.tasks) == {self.tasks[task].fid for task in there} - purged
        self.model.restore(there)
        assert foreseen == moves(before, self.model.seen())

    async def crowd(self, _) -> None:
        """Merge an open task's segments as if there were too many of them."""
        running = self.model.open_task()
        if running is None:
            return
        found = await self.world.db.read(segments.in_place, self.tasks[running].fid, self.model.attempt[running])
        if len(found) > 1:
            await self.world.compaction.merge(found[len(found) // 3 :], is_last=False)

    async def purge(self, back: int) -> None:
        version = max(0, self.model.version - back)
        await self.world.purge(before=self.times[version])
        self.purged_before = max(self.purged_before, self.times[version])
        self.model.purge(version)
        for task in self.model.begun():
            for attempt in range(1, self.model.attempt[task] + 1):
                await self._forget_rejects(task, attempt)
        if version < self.model.version:
            assert (await self.world.stream(self.stream)).purged_version == self.model.oldest

    async def _forget_rejects(self, task: int, attempt: int) -> None:
        """What was kept aside of tasks that are deleted, or are kept out, goes after a time, and still counts."""
        left = self.model.rejects(task, attempt)
        if not left or await self.world.rejects(self.tasks[task], attempt):
            return
        is_present = attempt == self.model.attempt[task]
        failed = self.model.publish is Publish.ON_SUCCESS and self.model.state[task] == "ended"
        assert self.model.deleted[task] or (is_present and (failed or self.model.withheld[task]))
        self.forgotten[task] += len(left) * is_present
        self.model.forget_rejects(task, attempt)

    async def follow(self, limit: int | None) -> None:
        since, held = self.held
        if not self.model.remembers(since):
            with pytest.raises(VersionForgotten):
                await self.world.changes(self.stream, since)
            since, held = 0, {}
        version, changes = await self.world.changes(self.stream, since, limit=limit)
        for change in changes:
            if change["op"] == "upsert":
                held[change["id"]] = change["doc"]
            else:
                del held[change["id"]]
        assert version > since or since == self.model.version
        assert self.model.remembers(version)
        assert held == docs_of(self.model.versions[version])
        self.held = version, held

    async def check(self) -> None:
        """Everything that can be asked."""
        for version, showing in self.model.versions.items():
            if self.model.remembers(version):
                assert await self.world.shown(self.stream, version) == docs_of(showing)
            else:
                with pytest.raises(VersionForgotten):
                    await self.world.shown(self.stream, version)
        begun = self.model.begun()
        for gone in chain.from_iterable(combinations(begun, size) for size in (1, 2)):
            without = frozenset(self.tasks[task].fid for task in gone)
            expected = self.model.shown(without=gone)
            assert await self.world.shown(self.stream, without=without) == docs_of(expected)
            assert await self.pages(View(without=without)) == docs_of(expected)
        for task in begun:
            await self.check_diff(task)
            for attempt in range(1, self.model.attempt[task] + 1):
                kept = [json.loads(reject.raw) for reject in await self.world.rejects(self.tasks[task], attempt)]
                assert kept == self.model.rejects(task, attempt)
        for value in range(3):
            await self.check_bisection(value)
        while self.held[0] < self.model.version:
            await self.follow(2)

    async def pages(self, view: View) -> dict[str, dict]:
        docs, after = {}, None
        while True:
            page = await self.world.reader.page(self.stream, view, after=after, limit=3)
            docs |= {found.id: json.loads(found.text) for found in page.docs}
            if page.next_after is None:
                return docs
            after, view = page.next_after, View(as_of=page.version, without=view.without)

    async def check_bisection(self, value: int) -> None:
        """Which versions brought and removed documents with a value, against a scan of every version."""
        found = await self.world.bisection.runs(self.stream, condition_of(None, [f"v={value}"]))
        matching = {
            version: {name for name, shown in showing.items() if shown.doc["v"] == value}
            for version, showing in self.model.versions.items()
            if version >= found.since
        }
        expected = {
            version: (len(matching[version] - matching[version - 1]), len(matching[version - 1] - matching[version]))
            for version in matching
            if version > found.since and matching[version] != matching[version - 1]
        }
        steps = found.steps
        of_step = [
            [counts for version, counts in expected.items() if step.version <= version <= step.until] for step in steps
        ]
        assert [(step.brought, step.removed) for step in steps] == [
            tuple(map(sum, zip(*counts, strict=True))) for counts in of_step
        ]
        assert sum(map(len, of_step)) == len(expected)
        assert found.since == self.model.oldest
        assert found.before == len(matching[found.since])
        now = matching[self.model.version]
        assert found.docs == len(now)
        gone = [task for task in TASKS if self.tasks[task] is not None and self.tasks[task].fid in found.to_undo]
        assert len(gone) == len(found.to_undo)
        left = self.model.shown(without=gone)
        assert not [name for name in now if name in left and left[name].doc["v"] == value]

    async def check_diff(self, task: int) -> None:
        question = partial(diffs.of_task, fid=self.tasks[task].fid)
        if not self.model.remembers_doing(task):
            with pytest.raises(VersionForgotten):
                await self.world.task_diffs.counts(question)
            return
        before, after = self.model.did[task]
        assert await self.world.task_diffs.counts(question) == counts(before, after)
        expected = operations(before, after)
        for operation in ("added", "changed", "unchanged", "removed"):
            found = await self.world.task_diffs.page(question, Operation(operation), after=None, limit=50)
            assert [one.id for one in found] == sorted(name for name, op in expected.items() if op == operation)
            for one in found:
                assert _doc(one.before) == _shown_doc(before, one.id)
                assert _doc(one.after) == _shown_doc(after, one.id)


def _doc(side) -> dict | None:
    return None if side is None else json.loads(side.text)


def _shown_doc(showing: Showing, doc_id: str) -> dict | None:
    return showing[doc_id].doc if doc_id in showing else None


async def _play(world: World, publish: Publish, steps: list) -> None:
    play = Play(world, await world.crawler(publish=publish), publish)
    await play.allow(1)
    for action, value in steps:
        await play.step(action, value)
    await play.check()


@pytest.fixture(params=["sqlite", "postgres"])
def databases(request):
    """A way to a world of its own for each example, on one catalog."""
    folder = Path(tempfile.mkdtemp())
    if request.param == "sqlite":
        (folder / "catalog.sqlite").write_bytes(migrated_catalog())
        url = f"sqlite:///{folder / 'catalog.sqlite'}"
    else:
        url = request.getfixturevalue("postgres_url")
    db = Database(url)
    world = World(db, folder)
    yield world
    world.close()
    db.close()
    shutil.rmtree(folder)


@settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(publish=st.sampled_from(list(Publish)), steps=steps)
def test_a_stream_is_what_its_change_sets_say_however_it_is_asked(databases, publish, steps):
    asyncio.run(_play(databases, publish, steps))


@pytest.mark.parametrize("gone", [(0,), (1,), (2,), (0, 1), (1, 2), (0, 2)])
async def test_without_some_of_three_overlapping_tasks_it_is_as_if_they_had_never_run(world, gone):
    loads = [[{"id": name, "task": task, "pad": "x" * task} for name in IDS[task : task + 4]] for task in TASKS]
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
