"""The connection to the catalog: pooled readers, and writers with group commit.

Catalog functions are plain synchronous functions that take a ``Transaction``; asynchronous code calls
``await db.read(question, …)`` and ``await db.write(action, …)``. Writes are committed in groups: a writer
thread takes all waiting actions, runs them in one transaction, commits once, and only then returns
their results.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from contextvars import Context, copy_context
from functools import partial
from itertools import count, islice
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Concatenate, ParamSpec, TypeVar

import structlog
from sqlalchemy import (
    make_url,
)
from sqlalchemy.exc import DatabaseError, DBAPIError, IntegrityError, OperationalError

from headwater.catalog.core.cache import Cache
from headwater.catalog.core.change_tracking import AUDIT_RECORDER
from headwater.catalog.core.dialects import (
    BEGIN_WRITE,
    commits_in_order,
    engine_for,
    is_away,
    is_full,
    is_rolled_back,
    is_sqlite,
)
from headwater.catalog.core.steps import Call, Rows, Steps, is_steps, next_step
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.core.write_lock import WriteLock
from headwater.domain.errors import Unavailable
from headwater.domain.tracing import span

P = ParamSpec("P")
T = TypeVar("T")

log = structlog.get_logger(__name__)

#: Maximum number of actions that share one commit.
MOST_IN_GROUP = 64
#: Seconds that ``close`` waits for a writer to finish: a disk or a lock may never answer.
CLOSE_WITHIN = 60.0
#: Attempts for an action that the database rejected because of other transactions (deadlock, lock).
TRIES = 3

_CLOSED = "the catalog is closed: Headwater is stopping"


class _Action:
    """A queued write, and the event loop that awaits it."""

    def __init__(self, run: Callable[[Transaction], Any], context: Context, *, is_alone: bool = False) -> None:
        self.run = run
        self.context = context
        #: Whether it needs a transaction of its own.
        self.is_alone = is_alone
        self.loop = asyncio.get_running_loop()
        self.answer: asyncio.Future[Any] = self.loop.create_future()
        #: Whether its outcome is known; the outcome is set in the loop.
        self.is_over = False


class Database:
    """The catalog's connections: a pool that reads, and one writer (SQLite) or a few (PostgreSQL)."""

    def __init__(
        self, url: str, *, readers: int = 4, writers: int = 4, make_room: Callable[[], bool] = lambda: False
    ) -> None:
        """Connect; ``make_room`` is called when the disk is full, and returns whether to try the write again."""
        self._make_room = make_room
        self._cache = Cache()
        self.url = make_url(url)
        self._sqlite = is_sqlite(self.url)
        self._reading = engine_for(self.url, writes=False, size=readers)
        self._writing = engine_for(self.url, writes=True, size=writers)
        self._pool = ThreadPoolExecutor(readers, thread_name_prefix="catalog-read")
        self._queue: SimpleQueue[_Action | None] = SimpleQueue()
        self._listeners: dict[str, list[Callable[[], object]]] = {}
        self._relays: list[Callable[[str], object]] = []
        #: Whether topics that are published on other machines arrive here, so that subscribers need not poll often.
        self.hears_others = False
        self._turns = WriteLock(Path(self.url.database)) if self._sqlite and self.url.database else None
        self._closed = False
        #: Held while a write is queued, so that none is queued behind the stop markers.
        self._closing = threading.Lock()
        # SQLite has one writer in any case; with one thread, writers never contend for its lock.
        self._writers = [
            threading.Thread(target=self._write_groups, name=f"catalog-write-{n}", daemon=True)
            for n in range(1 if self._sqlite else writers)
        ]
        for writer in self._writers:
            writer.start()

    @property
    def commits_in_order(self) -> bool:
        """Whether ids that the database assigns are in commit order, since it has one writer at a time."""
        return commits_in_order(self._writing.dialect)

    async def read(self, question: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return the result of a query function, run on one consistent snapshot of the catalog.

        Raises:
            Unavailable: the database does not answer, or is closed.
        """
        if self._closed:
            raise Unavailable(_CLOSED)
        asked = partial(self.read_blocking, question, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._pool, asked)

    def read_blocking(self, question: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do the same as ``read`` in the calling thread."""
        if self._closed:
            raise Unavailable(_CLOSED)
        try:
            try:
                return self._ask(question, *args, **kwargs)
            except OperationalError as error:
                if not error.connection_invalidated:
                    raise
                # The database was restarted, and closed its connections.
                return self._ask(question, *args, **kwargs)
        except OperationalError as error:
            log.exception("catalog.silent")
            raise Unavailable("the database does not answer") from error
        except DatabaseError as error:
            if type(error) is not DatabaseError:
                raise
            # SQLite's error for a file that is malformed or not a database.
            log.exception("catalog.damaged")
            fault = f"the catalog is damaged ({error.orig}); stop the server and restore the catalog from a backup"
            raise Unavailable(fault, retry_after=60) from error

    def _ask(self, question: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        with self._reading.begin() as connection:
            return question(Transaction(connection, cache=self._cache), *args, **kwargs)

    async def write(self, action: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run an action and return its result once it is on disk; an action that raises changes nothing.

        Raises:
            Unavailable: the database does not answer, or is closed.
        """
        run: Callable[[Transaction], T] = lambda tx: action(tx, *args, **kwargs)  # noqa: E731
        return await self._write(run, getattr(action, "__name__", "action"), is_alone=False)

    async def write_steps(
        self, action: Callable[Concatenate[Transaction, P], Steps[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Do the same as ``write`` with an action in steps, which others of its group take with it."""
        run: Callable[[Transaction], Any] = lambda tx: action(tx, *args, **kwargs)  # noqa: E731
        return await self._write(run, getattr(action, "__name__", "action"), is_alone=False)

    async def write_alone(
        self, action: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Do the same as ``write`` in a transaction of its own: for a lock that is not to be held while others wait."""
        run: Callable[[Transaction], T] = lambda tx: action(tx, *args, **kwargs)  # noqa: E731
        return await self._write(run, getattr(action, "__name__", "action"), is_alone=True)

    async def _write(self, run: Callable[[Transaction], Any], name: str, *, is_alone: bool) -> Any:
        recorder = AUDIT_RECORDER.get()
        # In the caller's context: the write belongs to the request, in the log and in traces.
        context = copy_context()
        waiting = _Action(
            lambda tx: context.run(run, tx) if recorder is None else context.run(tx.audited, recorder, run),
            context,
            is_alone=is_alone,
        )
        with span("catalog.write", {"headwater.action": name}):
            with self._closing:
                if self._closed:
                    raise Unavailable(_CLOSED)
                self._queue.put(waiting)
            # A caller that is cancelled does not undo what the writer is about to commit.
            return await waiting.answer

    def subscribe(self, topic: str, listener: Callable[[], object]) -> None:
        """Call ``listener``, from any thread, after each commit that published ``topic``."""
        self._listeners.setdefault(topic, []).append(listener)

    def relay_to(self, relay: Callable[[str], object]) -> None:
        """Call ``relay`` from a writer thread with each topic that is published here, for other processes."""
        self._relays = [*self._relays, relay]

    def relay_no_more(self, relay: Callable[[str], object]) -> None:
        """Call ``relay`` no more."""
        self._relays = [other for other in self._relays if other is not relay]

    def notify(self, topic: str) -> None:
        """Notify subscribers of a topic."""
        for listener in self._listeners.get(topic, ()):
            try:
                listener()
            except RuntimeError:
                pass  # its event loop is closed: the subscriber is gone
            except Exception:
                log.exception("catalog.listener_failed", topic=topic)

    def notify_all(self) -> None:
        """Notify the subscribers of all topics, after a time in which they may have missed some."""
        for topic in list(self._listeners):
            self.notify(topic)

    def close(self) -> None:
        """Finish queued writes, then release all connections; later writes and reads are refused."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
            for _ in self._writers:
                self._queue.put(None)
        until = time.monotonic() + CLOSE_WITHIN
        for writer in self._writers:
            writer.join(max(0.0, until - time.monotonic()))
        if any(writer.is_alive() for writer in self._writers):
            # Its connection and lock stay open: the process is about to exit, and the kernel releases them.
            log.error("catalog.writer_hangs", seconds=CLOSE_WITHIN)
            return
        self._pool.shutdown()
        self._reading.dispose()
        self._writing.dispose()
        if self._turns is not None:
            self._turns.close()

    def _write_groups(self) -> None:
        """Commit groups of actions until stopped; after any failure, continue with the next group."""
        while (first := self._queue.get()) is not None:
            group = [first]
            try:
                with nullcontext() if self._turns is None else self._turns.hold():
                    group += self._waiting()
                    self._commit(group)
            except BaseException as error:
                fault = Unavailable("the catalog's writer failed; nothing is known to have changed")
                fault.__cause__ = error
                _end(group, [fault] * len(group))
                with suppress(Exception):
                    log.exception("catalog.writer_failed")

    def _waiting(self) -> list[_Action]:
        taken: list[_Action] = []
        while len(taken) < MOST_IN_GROUP - 1:
            try:
                action = self._queue.get_nowait()
            except Empty:
                break
            if action is None:  # the stop marker: for the next writer, or for this one
                self._queue.put(None)
                break
            taken.append(action)
        return taken

    def _commit(self, group: list[_Action]) -> None:
        """Run actions in one transaction, and those that fail each in its own."""
        alone = [action for action in group if action.is_alone]
        group = [action for action in group if not action.is_alone]
        while len(group) > 1 and (failed := self._commit_together(group)):
            alone += failed
            group = [action for action in group if action not in failed]
        for action in [*group, *alone]:
            if not action.is_over:
                self._commit_alone(action)

    def _commit_together(self, group: list[_Action]) -> Sequence[_Action]:
        """Run actions in one transaction, all or none; return those to run alone instead, or none if all are answered.

        Without savepoints: they cost as much as the actions themselves, and failures are rare.
        """
        with self._failures_passed_on(group), self._writing.connect() as connection:
            connection.begin()
            tx = Transaction(connection, begin=None if self._sqlite else BEGIN_WRITE)
            try:
                results = _run_together(tx, group)
            except _Failed as failure:
                return failure.actions  # run again alone, where its error is its own
            try:
                tx.commit()
            except IntegrityError:
                return group  # of a row that was added with the commit: nothing is committed
            except OperationalError as error:
                if self._freed_space(error):
                    return group[-1:]
                if is_rolled_back(error):
                    return group
                raise
            self._publish(tx)
            _end(group, results)
        return ()

    def _commit_alone(self, action: _Action) -> None:
        for attempt in count(1):
            with self._failures_passed_on([action]), self._writing.connect() as connection:
                connection.begin()
                tx = Transaction(connection, begin=None if self._sqlite else BEGIN_WRITE)
                try:
                    result: Any = action.run(tx)
                    if is_steps(result):
                        result = tx.run_steps(result)
                except DBAPIError as error:
                    # Rejected because of other transactions, or ended: nothing was committed, so it may be tried again.
                    if self._freed_space(error) or (is_away(error) and attempt < TRIES):
                        continue
                    raise
                try:
                    tx.commit()
                except OperationalError as error:
                    if self._freed_space(error) or (is_rolled_back(error) and attempt < TRIES):
                        continue
                    raise
                self._publish(tx)
                _end([action], [result])
            return

    @contextmanager
    def _failures_passed_on(self, group: list[_Action]) -> Generator[None]:
        """Pass a failure of the block to the waiting callers. It is not retried: it may have been committed."""
        try:
            yield
        except DBAPIError as error:
            if not is_away(error):
                _end(group, [error] * len(group))
                return
            fault: BaseException = Unavailable("the database does not answer; nothing is known to have changed")
            fault.__cause__ = error
            _end(group, [fault] * len(group))  # before logging: logging must not delay the callers
            log.exception("catalog.silent")
        except BaseException as error:  # noqa: BLE001 - it is passed to the caller
            _end(group, [error] * len(group))

    def _freed_space(self, error: DBAPIError) -> bool:
        """Return whether a write failed on a full disk and space was freed, so that it may be tried again."""
        return is_full(error) and self._make_room()

    def _publish(self, tx: Transaction) -> None:
        for topic in tx.topics:
            self.notify(topic)
            for relay in self._relays:
                try:
                    relay(topic)
                except Exception:
                    # The commit stands and is answered; other processes poll as well.
                    log.exception("catalog.not_relayed", topic=topic)


class _Failed(Exception):
    """Some actions of a group failed."""

    def __init__(self, actions: Sequence[_Action]) -> None:
        self.actions = actions


def _run_together(tx: Transaction, group: Sequence[_Action]) -> list[Any]:
    """Run actions, those in steps at the end, with each step taken by all of them; return their results.

    Raises:
        _Failed: some failed, or may have.
    """
    results: dict[int, Any] = {}
    for number, action in enumerate(group):
        try:
            results[number] = action.run(tx)
        except BaseException as error:
            raise _Failed([action]) from error
    running: dict[int, Rows | None] = {number: None for number, result in results.items() if is_steps(result)}
    while running:
        asked: list[tuple[int, Sequence[Call]]] = []
        for number, rows in running.items():
            try:
                asked.append((number, group[number].context.run(next_step, results[number], rows)))
            except StopIteration as end:
                results[number] = end.value
            except BaseException as error:
                raise _Failed([group[number]]) from error
        try:
            found = iter(tx.run_calls([call for _, calls in asked for call in calls]))
        except DBAPIError as error:
            raise _Failed(group) from error  # one of them, or another transaction was in the way
        running = {number: list(islice(found, len(calls))) for number, calls in asked}
    return [results[number] for number in range(len(group))]


def _end(group: Sequence[_Action], outcomes: Sequence[Any]) -> None:
    """Set the outcome of actions, an error or a result; each loop is woken once."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[_Action, Any]]] = {}
    for action, outcome in zip(group, outcomes, strict=True):
        if not action.is_over:
            action.is_over = True
            by_loop.setdefault(action.loop, []).append((action, outcome))
    for loop, ended in by_loop.items():
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_answer, ended)


def _awaitable(error: BaseException) -> Exception:
    """Return an error that a future accepts, and that ends the request instead of the event loop."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    wrapped = RuntimeError(f"a write raised {type(error).__name__}")
    wrapped.__cause__ = error
    return wrapped


def _answer(ended: Sequence[tuple[_Action, Any]]) -> None:
    for action, outcome in ended:
        if action.answer.done():
            continue  # the caller was cancelled
        if isinstance(outcome, BaseException):
            action.answer.set_exception(_awaitable(outcome))
        else:
            action.answer.set_result(outcome)
