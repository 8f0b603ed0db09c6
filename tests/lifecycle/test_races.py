"""Two transactions on PostgreSQL, held in the order in which they went wrong."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from time import sleep

import pytest
from sqlalchemy import create_engine, func, make_url, select, text

from builders import an_external
from headwater.catalog import notices, objects, streams, tables, tasks
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.notices import NoticeKind
from headwater.catalog.objects import TASKS
from headwater.domain.task import TaskState
from headwater.lifecycle import tasks as task_actions
from headwater.lifecycle.deletion import remove_external, remove_stream
from headwater.lifecycle.ec import dispatcher
from headwater.lifecycle.ec.client import Again

LEASE = timedelta(seconds=60)
#: Seconds for an action that need not wait any more.
PATIENCE = 60


class Race:
    """Transactions of which the second is known to wait for the first."""

    def __init__(self, url: str) -> None:
        self.engine = create_engine(make_url(url), pool_size=4)

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Run the block in a transaction, which is committed behind it."""
        with self.engine.begin() as connection:
            yield Transaction(connection)

    @contextmanager
    def blocked(self, action: Callable[[Transaction], object]) -> Iterator[list[object]]:
        """Begin an action in another thread, and run the block once it waits for a lock; then wait for its result."""
        results: list[object] = []

        def run() -> None:
            with self.transaction() as tx:
                results.append(action(tx))

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        while thread.is_alive() and not self._waiting():
            sleep(0.01)
        assert not results, "it did not wait"
        yield results
        thread.join(PATIENCE)
        assert not thread.is_alive(), "it still waits"

    def _waiting(self) -> int:
        with self.engine.connect() as connection:
            return connection.execute(text("SELECT count(*) FROM pg_locks WHERE NOT granted")).scalar_one()


@pytest.fixture
def race(postgres_url):
    made = Race(postgres_url)
    yield made
    made.engine.dispose()


@pytest.fixture
def url(postgres_url):
    """The catalog is that on PostgreSQL: SQLite has one writer."""
    return postgres_url


async def _task(world):
    return await world.task(await world.crawler(external=an_external(endpoint="http://ec.test")))


def _kinds(tx):
    return sorted(tx.execute(select(tables.notices.c.kind)).scalars())


async def test_a_start_that_is_claimed_while_its_task_is_stopped_is_followed_by_its_end(world, race):
    task = await _task(world)
    with race.engine.connect() as connection:
        claiming = Transaction(connection)
        (start,) = notices.claim(claiming, at=world.at, lease=LEASE, limit=1)
        with race.blocked(lambda tx: task_actions.stop(tx, task.fid, vault=world.vault, at=world.at)):
            connection.commit()
    assert start.kind is NoticeKind.START
    assert (await world.now(task)).state is TaskState.STOPPED
    with race.transaction() as tx:
        assert _kinds(tx) == [NoticeKind.END, NoticeKind.START]


async def test_a_start_that_nobody_has_claimed_is_withdrawn_without_an_end(world, race):
    task = await _task(world)
    await world.stop(task)
    with race.transaction() as tx:
        assert _kinds(tx) == []


async def test_a_task_that_begins_to_upload_while_its_start_is_given_up_goes_on(world, race):
    task = await _task(world)
    with race.transaction() as tx:
        (start,) = notices.claim(tx, at=world.at, lease=LEASE, limit=1)

    def give_up(tx: Transaction) -> None:
        dispatcher.give_up_start(tx, start, Again(why="it does not answer"), at=world.at, backoff=())

    with race.engine.connect() as connection:
        uploading = Transaction(connection)
        running = objects.get(uploading, TASKS, task.fid)
        uploading.run_steps(tasks.credit(uploading, running, docs=1, size=10, at=world.at))
        uploading.finish()
        with race.blocked(give_up):
            connection.commit()
    now = await world.now(task)
    assert (now.state, now.reason, now.docs) == (TaskState.RUNNING, None, 1)
    with race.transaction() as tx:
        assert tx.execute(select(func.count()).select_from(tables.notices)).scalar() == 0


async def test_a_task_that_never_spoke_fails_when_its_start_is_given_up(world, race):
    task = await _task(world)
    with race.transaction() as tx:
        (start,) = notices.claim(tx, at=world.at, lease=LEASE, limit=1)
        dispatcher.give_up_start(tx, start, Again(why="it does not answer"), at=world.at, backoff=())
        tx.finish()
    assert (await world.now(task)).state is TaskState.FAILED


@pytest.mark.parametrize(("action", "use"), [(remove_stream, "stream"), (remove_external, "external")])
async def test_an_upload_and_the_deletion_of_its_stream_do_not_wait_for_each_other(world, race, action, use):
    task = await _task(world)
    await world.upload(task, [{"id": "a"}])  # the first upload of a task locks more than the others
    task = await world.now(task)
    removal = partial(action, fid=getattr(task, use), cascade=True, expected=None, vault=world.vault, at=world.at)
    with race.engine.connect() as connection:
        connection.begin()  # steps go to the driver, past SQLAlchemy
        uploading = Transaction(connection)
        uploading.run_steps(tasks.credit(uploading, task, docs=1, size=10, at=world.at))
        with race.blocked(removal) as removed:
            uploading.run_steps(streams.put_on_top(uploading, task, docs=1, at=world.at))
            uploading.finish()
            connection.commit()
    assert len(removed) == 1
    with race.transaction() as tx:
        assert objects.find(tx, TASKS, task.fid) is None
