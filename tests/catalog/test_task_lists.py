from dataclasses import replace
from datetime import timedelta

import pytest

from builders import AT, a_task
from headwater.catalog import objects, task_lists
from headwater.catalog.objects import TASKS
from headwater.catalog.task_lists import TaskOrder, TaskQuery
from headwater.domain.task import TaskState

HOUR = timedelta(hours=1)
#: Start, end in hours after AT, documents, and state.
RUNS = {
    "a": (0, 5, 10, TaskState.DONE),
    "b": (1, 2, 30, TaskState.FAILED),
    "c": (2, 3, 30, TaskState.TIMED_OUT),
    "d": (3, None, 0, TaskState.RUNNING),
}


@pytest.fixture
async def tasks(world):
    """The name of each task by its fid; created in the opposite order of their starts."""
    found = {}
    for place, (name, (start, end, docs, state)) in enumerate(reversed(RUNS.items())):
        crawler = await world.crawler()
        task = replace(
            a_task(crawler, AT + timedelta(minutes=place)),
            started_at=AT + start * HOUR,
            ended_at=None if end is None else AT + end * HOUR,
            docs=docs,
            state=state,
            meta={"name": name},
        )
        await world.db.write(objects.add, TASKS, task)
        found[task.fid] = name
    return found


async def _names(world, tasks, *, page=100, **query) -> str:
    found, after = "", None
    while True:
        some = await world.db.read(task_lists.page, TaskQuery(**query), after=after, limit=page)
        found += "".join(tasks[task.fid] for task in some)
        if len(some) < page:
            return found
        after = some[-1].fid


@pytest.mark.parametrize("page", [1, 2, 100])
@pytest.mark.parametrize(
    ("order", "ascending"),
    [
        (TaskOrder.CREATED, "dcba"),
        (TaskOrder.STARTED, "abcd"),
        (TaskOrder.ENDED, "bca"),
        # Equal ones by their creation.
        (TaskOrder.DURATION, "cba"),
        (TaskOrder.DOCS, "dacb"),
    ],
)
async def test_tasks_are_listed_in_each_order_page_by_page(world, tasks, order, ascending, page):
    assert await _names(world, tasks, order=order, is_descending=False, page=page) == ascending
    assert await _names(world, tasks, order=order, page=page) == ascending[::-1]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({"since": AT + HOUR, "until": AT + 3 * HOUR}, "bc"),
        ({"ended_since": AT + 3 * HOUR}, "ac"),
        ({"states": frozenset({TaskState.FAILED, TaskState.TIMED_OUT})}, "bc"),
        ({"states": frozenset({TaskState.RUNNING}), "ended_since": AT}, ""),
        ({"name": "c"}, "c"),
    ],
)
async def test_tasks_are_listed_by_time_and_state(world, tasks, query, names):
    assert sorted(await _names(world, tasks, **query)) == list(names)


@pytest.mark.usefixtures("tasks")
async def test_a_page_after_a_task_that_is_gone_is_empty(world):
    assert await world.db.read(task_lists.page, TaskQuery(order=TaskOrder.DOCS), after="0" * 32, limit=5) == []
