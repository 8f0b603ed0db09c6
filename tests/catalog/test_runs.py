import pytest
from sqlalchemy import text
from sqlalchemy.dialects import sqlite

from headwater.catalog import runs
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
