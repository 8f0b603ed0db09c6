from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import text
from sqlalchemy.dialects import sqlite

from builders import AT, a_task
from headwater.catalog import objects, runs
from headwater.catalog.objects import TASKS
from headwater.catalog.runs import RunFilter
from headwater.domain.task import TaskState

FID = "0" * 32
FILTERS = {
    "tasks_of_crawler": RunFilter(crawler=FID),
    "tasks_of_stream": RunFilter(stream=FID),
    "tasks_by_state": RunFilter(states=[TaskState.FAILED]),
    "tasks_withheld": RunFilter(is_withheld=True),
    "tasks_undone": RunFilter(is_removed=True),
}


@pytest.mark.parametrize("index", FILTERS)
async def test_a_page_of_a_filtered_list_reads_its_own_runs_alone(world, index):
    if world.db.url.get_backend_name() != "sqlite":
        pytest.skip("PostgreSQL chooses by the sizes of tables, which are none here")

    def plan(tx):
        asked: list[str] = []

        class Explained:
            def values(self, statement, _):
                asked.append(str(statement.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})))
                return []

        runs.page(Explained(), FILTERS[index], after=FID, limit=50)
        return [row.detail for row in tx.execute(text(f"EXPLAIN QUERY PLAN {asked[0]}"))]

    (step,) = await world.db.read(plan)  # a second one would sort all that match
    assert f"INDEX {index}" in step


async def test_the_documents_of_newest_runs_are_read_for_many_streams_at_once(world):
    crawlers = [await world.crawler() for _ in range(3)]
    for crawler, counts in zip(crawlers, ([1, 2, 3, 4], [5], []), strict=True):
        # Created in another order than begun.
        for hours in sorted(range(len(counts)), key=(2, 0, 3, 1).index):
            task = a_task(crawler, AT, started_at=AT + timedelta(hours=hours), docs=counts[hours])
            await world.db.write(objects.add, TASKS, replace(task, state=TaskState.DONE))
    streams = [crawler.stream for crawler in crawlers]
    found = await world.db.read(partial(runs.docs_of_newest, limit=3), streams)
    assert found == dict(zip(streams, ([4, 3, 2], [5], []), strict=True))
    assert await world.db.read(partial(runs.docs_of_newest, limit=3), []) == {}
