from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import insert, select

from builders import AT, a_segment, a_stream, a_task, an_external
from change_set_builders import rows_of, versions_of
from headwater.catalog import notices, objects, streams, tables
from headwater.catalog.core.transaction import MOST_BOUND
from headwater.catalog.notices import NoticeKind
from headwater.catalog.objects import EXTERNALS, TASKS
from headwater.domain.errors import NotFound, RequestInvalid, TaskClosed
from headwater.domain.parameter import Parameter, ParameterType
from headwater.domain.stream import Change
from headwater.domain.task import Origin, Publish, Reason, TaskState
from headwater.lifecycle import tasks as task_actions
from headwater.lifecycle.bulk import Moved

WORD = Parameter(name="word", type=ParameterType.STRING)
DEPTH = Parameter(name="depth", type=ParameterType.INTEGER)
EC = "https://ec.example"


async def _ran(world, crawler, name, *, origin=Origin.API, **params):
    """A task of that origin, called with these, that wrote the document of that name and ended well."""
    world.wait(seconds=1)
    opened = await world.db.write(
        task_actions.create, crawler.fid, params, vault=world.vault, origin=origin, at=world.at
    )
    await world.upload(opened.task, [{"id": name}])
    return await world.report(opened.task, 200)


async def _edited(world, external):
    now = await world.db.read(objects.get, EXTERNALS, external)
    edit = replace(now, **objects.edited(world.at, now.version))
    await world.db.write(objects.save, EXTERNALS, now, edit)


async def _shown(world, crawler):
    return "".join(await world.shown(crawler.stream))


@pytest.fixture
async def five(world):
    """A crawler and the tasks a to e, which differ in whatever a filter can ask."""
    crawler = await world.crawler(external=an_external(parameters=(WORD, DEPTH)))
    tasks = [
        await _ran(world, crawler, "a", word="x", depth=1),
        await _ran(world, crawler, "b", word="y", origin=Origin.SCHEDULE),
        await _ran(world, crawler, "c", word="x"),
    ]
    await _edited(world, crawler.external)
    tasks += [
        await _ran(world, crawler, "d", word="y", depth=2),
        await _ran(world, crawler, "e", word="x", depth=2, origin=Origin.CLI),
    ]
    return crawler, tasks


FILTERS = {
    "nothing": (lambda _: {}, "abcde"),
    "since": (lambda tasks: {"since": tasks[2].started_at}, "cde"),
    "until": (lambda tasks: {"until": tasks[2].started_at}, "ab"),
    "since and until": (lambda tasks: {"since": tasks[1].started_at, "until": tasks[3].started_at}, "bc"),
    "an empty time": (lambda tasks: {"since": tasks[2].started_at, "until": tasks[2].started_at}, ""),
    "a moment later": (lambda tasks: {"since": tasks[4].started_at + timedelta(microseconds=1)}, ""),
    "the version of the External": (lambda _: {"external_version": 1}, "abc"),
    "a version that none ran with": (lambda _: {"external_version": 7}, ""),
    "the origin": (lambda _: {"origin": Origin.SCHEDULE}, "b"),
    "an origin of none": (lambda _: {"origin": Origin.CONSOLE}, ""),
    "a parameter": (lambda _: {"params": {"word": "x"}}, "ace"),
    "several parameters": (lambda _: {"params": {"word": "x", "depth": 2}}, "e"),
    "no parameter": (lambda _: {"params": {}}, "abcde"),
    "a parameter that nothing has": (lambda _: {"params": {"nothing": None}}, ""),
    "a parameter of another type": (lambda _: {"params": {"depth": "1"}}, ""),
    "the tasks": (lambda tasks: {"tasks": (tasks[1].fid, tasks[4].fid)}, "be"),
    "no task": (lambda _: {"tasks": ()}, ""),
    "all together": (
        lambda tasks: {
            "since": tasks[0].started_at,
            "until": tasks[4].started_at + timedelta(seconds=1),
            "external_version": 2,
            "origin": Origin.CLI,
            "params": {"word": "x"},
            "tasks": tuple(task.fid for task in tasks),
        },
        "e",
    ),
    "what none fulfils together": (lambda _: {"external_version": 1, "origin": Origin.CLI}, ""),
}


@pytest.mark.parametrize(("wanted", "meant"), FILTERS.values(), ids=FILTERS.keys())
async def test_those_are_meant_of_which_everything_holds_that_is_given(world, five, wanted, meant):
    crawler, tasks = five
    fids = [task.fid for task, name in zip(tasks, "abcde", strict=True) if name in meant]
    moved = await world.revert(crawler.stream, **wanted(tasks))
    assert moved == Moved(tasks=fids, version=6 if meant else None, purged=[])
    assert await _shown(world, crawler) == "".join(sorted(set("abcde") - set(meant)))
    assert (await world.stream(crawler.stream)).stream_version == 5 + bool(meant)
    back = await world.restore_all(crawler.stream, **wanted(tasks))
    assert back == Moved(tasks=fids, version=7 if meant else None, purged=[])
    assert await _shown(world, crawler) == "abcde"


async def test_a_truth_is_no_number(world, five):
    crawler, _ = five
    assert (await world.revert(crawler.stream, params={"depth": True})).tasks == []


async def test_a_retried_task_is_meant_by_its_present_attempt(world):
    crawler = await world.crawler(external=an_external(parameters=(WORD,)))
    task = await _ran(world, crawler, "a", word="first")
    began = task.started_at
    await _edited(world, crawler.external)
    await world.retry(task, word="second")
    await world.upload(task, [{"id": "b"}])
    for wanted in ({"external_version": 1}, {"params": {"word": "first"}}, {"until": began + timedelta(seconds=1)}):
        assert (await world.revert(crawler.stream, **wanted)).tasks == []
    assert (await world.revert(crawler.stream, external_version=2, params={"word": "second"})).tasks == [task.fid]
    assert await _shown(world, crawler) == ""


async def test_all_go_in_one_version_that_one_line_of_the_log_tells_of(world, five):
    crawler, tasks = five
    await world.revert(crawler.stream, params={"word": "x"})
    [line] = await world.db.read(streams.log, crawler.stream, before=None, limit=1)
    fids = [tasks[place].fid for place in (0, 2, 4)]
    assert (line.version, line.change, line.task, line.tasks, line.docs) == (6, Change.REMOVE, None, fids, 3)
    assert {row.removed_version for row in await rows_of(world, *(tasks[place] for place in (0, 2, 4)))} == {6}
    assert [(await world.now(task)).removed_version for task in tasks] == [6, None, 6, None, 6]
    assert (await world.now(tasks[0])).removed_at == world.at
    assert [len(one.splitlines()) for one in await versions_of(world, crawler.stream)] == [0, 1, 2, 3, 4, 5, 2]


async def test_one_restore_by_the_version_takes_back_what_one_revert_took_out(world, five):
    crawler, tasks = five
    alone = await world.delete(tasks[1])
    first = await world.revert(crawler.stream, external_version=1)
    second = await world.revert(crawler.stream)
    assert [first.tasks, second.tasks] == [[tasks[0].fid, tasks[2].fid], [tasks[3].fid, tasks[4].fid]]
    moved = await world.restore_all(crawler.stream, removed_version=first.version)
    assert moved.tasks == first.tasks
    assert await _shown(world, crawler) == "ac"
    assert moved.version == second.version + 1
    [line] = await world.db.read(streams.log, crawler.stream, before=None, limit=1)
    assert (line.change, line.tasks, line.docs) == (Change.RESTORE, first.tasks, 2)
    assert (await world.restore_all(crawler.stream, removed_version=first.version)).tasks == []
    assert (await world.restore_all(crawler.stream, removed_version=alone.removed_version)).tasks == [alone.fid]
    assert await _shown(world, crawler) == "abc"
    assert (await world.restore_all(crawler.stream, removed_version=999)) == Moved(tasks=[], version=None, purged=[])


async def test_a_revert_is_not_told_by_a_version_that_removed_others(world, five):
    crawler, tasks = five
    await world.delete(tasks[0])
    assert (await world.revert(crawler.stream, removed_version=6)).tasks == []
    assert await _shown(world, crawler) == "bcde"


async def test_reverting_and_restoring_twice_changes_nothing_more(world, five):
    crawler, tasks = five
    await world.revert(crawler.stream)
    assert await world.revert(crawler.stream) == Moved(tasks=[], version=None, purged=[])
    await world.restore_all(crawler.stream)
    before = [await world.now(task) for task in tasks]
    assert await world.restore_all(crawler.stream) == Moved(tasks=[], version=None, purged=[])
    assert [await world.now(task) for task in tasks] == before
    assert (await world.stream(crawler.stream)).stream_version == 7


async def test_an_edit_that_was_read_before_is_refused_afterwards(world, five):
    """The version of each task has grown."""
    crawler, tasks = five
    before = [await world.now(task) for task in tasks]
    await world.revert(crawler.stream)
    assert [(await world.now(task)).version for task in tasks] == [task.version + 1 for task in before]
    await world.restore_all(crawler.stream)
    assert [(await world.now(task)).version for task in tasks] == [task.version + 2 for task in before]


async def test_tasks_can_be_restored_one_by_one_and_deleted_one_by_one_just_as_well(world, five):
    crawler, tasks = five
    await world.revert(crawler.stream)
    for task in tasks[1:]:
        await world.restore(task)
    assert await _shown(world, crawler) == "bcde"
    await world.restore_all(crawler.stream)
    await world.delete(tasks[2])
    assert await _shown(world, crawler) == "abde"


async def test_restored_documents_lie_where_they_lay(world):
    crawler = await world.crawler()
    for value in range(4):
        await world.done(crawler, [{"id": "a", "v": value}, {"id": f"{value}", "v": value}])
    found = await world.db.read(objects.page, TASKS, where={"stream": crawler.stream}, after=None, limit=9)
    tasks = sorted(found, key=lambda task: task.fid)
    before = await world.shown(crawler.stream)
    await world.revert(crawler.stream, tasks=(tasks[1].fid, tasks[3].fid))
    assert (await world.shown(crawler.stream))["a"]["v"] == 2
    await world.done(crawler, [{"id": "new", "v": 9}])
    await world.restore_all(crawler.stream)
    assert await world.shown(crawler.stream) == before | {"new": {"id": "new", "v": 9}}


async def test_an_open_task_among_them_is_ended_and_its_crawler_told(world):
    crawler = await world.crawler(external=an_external(endpoint=EC))
    task = await world.task(crawler)
    [start] = await world.db.write(notices.claim, at=world.at, lease=timedelta(seconds=5), limit=9)
    said = {"callback": "/tasks/1", "code": 102, "message": None, "detail": None}
    await world.db.write(task_actions.started, start, at=world.at, **said)
    await world.upload(task, [{"id": "a"}])
    moved = await world.revert(crawler.stream)
    ended = await world.now(task)
    assert (moved.tasks, ended.state, ended.reason) == ([task.fid], TaskState.STOPPED, Reason.DELETED_BY_USER)
    assert ended.ended_at == ended.removed_at == world.at
    [notice] = await world.db.write(notices.claim, at=world.at, lease=timedelta(seconds=5), limit=9)
    assert (notice.kind, notice.task) == (NoticeKind.END, task.fid)
    assert await world.shown(crawler.stream) == {}
    with pytest.raises(TaskClosed):
        await world.db.write(_upload_after_restore, task.fid, world)


def _upload_after_restore(tx, fid, world):
    task_actions.restore(tx, fid, at=world.at)
    return task_actions.report(tx, fid, attempt=None, code=102, message=None, detail=None, at=world.at)


async def test_a_crawler_that_never_heard_of_its_task_is_not_told_of_the_end(world):
    crawler = await world.crawler(external=an_external(endpoint=EC))
    await world.task(crawler)
    await world.revert(crawler.stream)
    assert await world.db.write(notices.claim, at=world.at, lease=timedelta(seconds=5), limit=9) == []


async def test_the_crawler_can_run_again_at_once(world):
    crawler = await world.crawler()
    running = await world.task(crawler)
    await world.revert(crawler.stream)
    opened = await world.create(crawler)
    assert opened.begun
    assert opened.task.fid != running.fid


async def test_what_waited_for_success_goes_without_a_version(world):
    crawler = await world.crawler(publish=Publish.ON_SUCCESS)
    task = await world.task(crawler)
    await world.upload(task, [{"id": "a"}])
    assert await world.revert(crawler.stream) == Moved(tasks=[task.fid], version=None, purged=[])
    assert (await world.stream(crawler.stream)).stream_version == 0
    assert await world.restore_all(crawler.stream) == Moved(tasks=[task.fid], version=None, purged=[])
    assert await world.shown(crawler.stream) == {}


async def test_tasks_without_documents_go_and_come_back_with_the_others(world):
    crawler = await world.crawler()
    empty = await world.done(crawler, [])
    full = await world.done(crawler, [{"id": "a"}])
    moved = await world.revert(crawler.stream)
    assert moved == Moved(tasks=[empty.fid, full.fid], version=2, purged=[])
    back = await world.restore_all(crawler.stream, removed_version=2)
    assert back.tasks == [empty.fid, full.fid]
    assert (await world.now(empty)).removed_at is None


async def test_a_task_that_is_none_of_the_streams_is_refused_and_nothing_is_done(world, five):
    crawler, tasks = five
    other = await world.crawler()
    theirs = await world.done(other, [{"id": "z"}])
    for stranger in (theirs.fid, "x"):
        for action in (world.revert, world.restore_all):
            with pytest.raises(RequestInvalid, match=f"{stranger}' is no task of stream"):
                await action(crawler.stream, tasks=(tasks[0].fid, stranger))
    assert await _shown(world, crawler) == "abcde"


async def test_tasks_of_another_stream_are_not_meant(world, five):
    crawler, _ = five
    other = await world.crawler()
    theirs = await world.done(other, [{"id": "z"}])
    assert (await world.revert(other.stream)).tasks == [theirs.fid]
    assert await _shown(world, crawler) == "abcde"
    assert (await world.restore_all(crawler.stream)).tasks == []
    assert await world.shown(other.stream) == {}


async def test_an_unknown_stream_is_not_found(world):
    for action in (world.revert, world.restore_all):
        with pytest.raises(NotFound):
            await action(a_stream().fid)


async def test_all_attempts_of_a_retried_task_go_and_come_back(world):
    crawler = await world.crawler()
    task = await world.task(crawler)
    await world.upload(task, [{"id": "a"}])
    await world.report(task, 500)
    await world.retry(task)
    await world.upload(task, [{"id": "b"}])
    await world.report(task, 500)
    await world.revert(crawler.stream)
    assert await _shown(world, crawler) == ""
    await world.restore_all(crawler.stream)
    assert await _shown(world, crawler) == "ab"


async def test_what_was_merged_in_between_comes_back_merged(world, five):
    crawler, _ = five
    await world.compact()
    await world.revert(crawler.stream)
    await world.compact()
    await world.restore_all(crawler.stream)
    before = await versions_of(world, crawler.stream)
    await world.compact()
    assert await versions_of(world, crawler.stream) == before
    assert await _shown(world, crawler) == "abcde"


def _row(table, value):
    # Not by asdict, which copies all that is in it: for thousands of rows that takes longer than the test.
    return {column.name: getattr(value, column.name) for column in table.c if hasattr(value, column.name)}


async def _many(world, count):
    """A crawler with so many ended tasks, a row each; there are no files."""
    crawler = await world.crawler()
    ended = {"state": TaskState.DONE, "code": 200, "ended_at": AT}
    tasks = [a_task(crawler, **ended) for _ in range(count)]
    rows = [_row(tables.tasks, task) for task in tasks]

    def store(tx):
        version = streams.advance_together(tx, crawler.stream, Change.UPLOAD, tasks=None, docs=count, at=AT)
        tx.execute(insert(tables.tasks), rows)
        made = (a_segment(task, layer=layer, added_version=version) for layer, task in enumerate(tasks))
        held = [_row(tables.segments, segment) for segment in made]
        tx.execute(insert(tables.segments), held)

    await world.db.write(store)
    return crawler, tasks


async def test_very_many_tasks_go_and_come_back_in_one_version_each(world):
    count = MOST_BOUND + 500
    crawler, tasks = await _many(world, count)
    moved = await world.revert(crawler.stream)
    assert moved.tasks == sorted(task.fid for task in tasks)
    assert moved.version == 2
    rows = tables.segments.c
    there = select(rows.fid).where(rows.removed_version.is_(None))
    assert (await world.db.read(lambda tx: tx.execute(there).all())) == []
    back = await world.restore_all(crawler.stream, removed_version=moved.version)
    assert (len(back.tasks), back.version) == (count, 3)
    assert len(await world.db.read(lambda tx: tx.execute(there).all())) == count
