"""The connection to the catalog: readers, and writers that commit in groups.

Catalog functions are plain synchronous functions that take a ``Transaction``; the asynchronous
floors say ``await db.read(question, …)`` and ``await db.write(action, …)``. Writes are committed in
groups: a writer thread takes every action that waits, runs them in one transaction, commits once, and
only then answers them.
"""

import asyncio
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from contextvars import copy_context
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Concatenate, ParamSpec, TypeVar

import structlog
from sqlalchemy import (
    make_url,
)
from sqlalchemy.exc import OperationalError

from headwater.catalog.dialects import engine_for, is_sqlite
from headwater.catalog.transaction import Transaction
from headwater.catalog.turns import Turns
from headwater.catalog.witness import WITNESS
from headwater.domain.errors import Unavailable
from headwater.domain.spans import span

P = ParamSpec("P")
T = TypeVar("T")

log = structlog.get_logger(__name__)

#: At most so many actions share one commit.
MOST_IN_GROUP = 64
#: An action that the database turned down for others' sake (deadlock, lock) is tried so often.
TRIES = 3


class _Action:
    """A write that waits for its turn, and the loop in which somebody waits for it."""

    def __init__(self, run: Callable[[Transaction], Any]) -> None:
        self.run = run
        self.loop = asyncio.get_running_loop()
        self.answer: asyncio.Future[Any] = self.loop.create_future()
        #: Whether its end is known; it is told in the loop.
        self.is_over = False


class Database:
    """The catalog's connections: a pool that reads, and one writer (SQLite) or a few (PostgreSQL)."""

    def __init__(self, url: str, *, readers: int = 4, writers: int = 4) -> None:
        self.url = make_url(url)
        self._sqlite = is_sqlite(self.url)
        self._reading = engine_for(self.url, writes=False, size=readers)
        self._writing = engine_for(self.url, writes=True, size=writers)
        self._pool = ThreadPoolExecutor(readers, thread_name_prefix="catalog-read")
        self._queue: SimpleQueue[_Action | None] = SimpleQueue()
        self._listeners: dict[str, list[Callable[[], object]]] = {}
        self._relay: Callable[[str], object] | None = None
        self._turns = Turns(Path(self.url.database)) if self._sqlite and self.url.database else None
        self._closed = False
        # SQLite has one writer whatever we do; one thread means that nobody ever meets its lock.
        self._writers = [
            threading.Thread(target=self._write_for_ever, name=f"catalog-write-{n}", daemon=True)
            for n in range(1 if self._sqlite else writers)
        ]
        for writer in self._writers:
            writer.start()

    async def read(self, question: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return the answer to a question, asked of one consistent state of the catalog."""
        asked = partial(self.ask, question, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._pool, asked)

    def ask(self, question: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return the same to who waits in a thread."""
        try:
            with self._reading.begin() as connection:
                return question(Transaction(connection), *args, **kwargs)
        except OperationalError as error:
            log.exception("catalog.silent")
            raise Unavailable("the database does not answer") from error

    async def write(self, action: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run an action and return its result once it is on disk; one that raises has changed nothing."""
        witness = WITNESS.get()
        run: Callable[[Transaction], T] = lambda tx: action(tx, *args, **kwargs)  # noqa: E731
        # In the context of who asks: what is written belongs to the request, in the log and in traces.
        context = copy_context()
        waiting = _Action(lambda tx: context.run(run, tx) if witness is None else context.run(tx.seen, witness, run))
        with span("catalog.write", {"headwater.action": getattr(action, "__name__", "action")}):
            self._queue.put(waiting)
            # A caller that goes away does not undo what the writer is about to commit.
            return await waiting.answer

    def on(self, topic: str, listener: Callable[[], object]) -> None:
        """Call ``listener``, from any thread, after each commit that announced ``topic``."""
        self._listeners.setdefault(topic, []).append(listener)

    def relay_to(self, relay: Callable[[str], object] | None) -> None:
        """Call ``relay`` from a writer thread with each topic that is announced here, for other processes."""
        self._relay = relay

    def heard(self, topic: str) -> None:
        """Tell those who listen to a topic that it was announced, here or in another process."""
        for listener in self._listeners.get(topic, ()):
            with suppress(RuntimeError):  # its event loop is closed: nobody listens there any more
                listener()

    def close(self) -> None:
        """Finish the writes that wait, then let go of every connection."""
        if self._closed:
            return
        self._closed = True
        for _ in self._writers:
            self._queue.put(None)
        for writer in self._writers:
            writer.join()
        self._pool.shutdown()
        self._reading.dispose()
        self._writing.dispose()
        if self._turns is not None:
            self._turns.close()

    def _write_for_ever(self) -> None:
        while (first := self._queue.get()) is not None:
            with nullcontext() if self._turns is None else self._turns.turn():
                self._commit([first, *self._waiting()])

    def _waiting(self) -> list[_Action]:
        taken: list[_Action] = []
        while len(taken) < MOST_IN_GROUP - 1:
            try:
                action = self._queue.get_nowait()
            except Empty:
                break
            if action is None:  # the sign to stop: for whoever looks next, we included
                self._queue.put(None)
                break
            taken.append(action)
        return taken

    def _commit(self, group: list[_Action]) -> None:
        """Run actions in one transaction, and those of them that cannot be run each in its own."""
        alone: list[_Action] = []
        while len(group) > 1 and (failed := self._commit_together(group)) is not None:
            alone.append(failed)
            group = [action for action in group if action is not failed]
        for action in [*group, *alone]:
            if not action.is_over:
                self._commit_alone(action)

    def _commit_together(self, group: list[_Action]) -> _Action | None:
        """Run actions in one transaction, all or none of them; return the one that fails, None if all are answered.

        Without savepoints, which cost as much as the actions themselves, and few of them fail.
        """
        with self._unless_lost(group), self._writing.connect() as connection:
            connection.begin()
            tx = Transaction(connection)
            results: list[Any] = []
            for action in group:
                try:
                    results.append(action.run(tx))
                except Exception:  # noqa: BLE001 - run once more alone, where its error is its own
                    return action
            tx.finish()
            connection.commit()
            self._tell(tx)
            _end(group, results)
        return None

    def _commit_alone(self, action: _Action) -> None:
        for attempt in range(1, TRIES + 1):
            with self._unless_lost([action]), self._writing.connect() as connection:
                connection.begin()
                tx = Transaction(connection)
                try:
                    result = action.run(tx)
                    tx.finish()
                except OperationalError:
                    # Turned down for others' sake: nothing was committed, so that it may be tried again.
                    if attempt < TRIES:
                        continue
                    raise
                connection.commit()
                self._tell(tx)
                _end([action], [result])
            return

    @contextmanager
    def _unless_lost(self, group: list[_Action]) -> Generator[None]:
        """Let those who wait know when the block fails. It is not tried again: it may have been committed."""
        try:
            yield
        except OperationalError as error:
            log.exception("catalog.silent")
            fault: BaseException = Unavailable("the database does not answer; nothing is known to have changed")
            fault.__cause__ = error
            _end(group, [fault] * len(group))
        except BaseException as error:  # noqa: BLE001 - it is the caller's
            _end(group, [error] * len(group))

    def _tell(self, tx: Transaction) -> None:
        relay = self._relay
        for topic in tx.topics:
            self.heard(topic)
            if relay is not None:
                relay(topic)


def _end(group: Sequence[_Action], outcomes: Sequence[Any]) -> None:
    """Let those who wait have what came of their actions, an error or a result; each loop is woken once."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[_Action, Any]]] = {}
    for action, outcome in zip(group, outcomes, strict=True):
        if not action.is_over:
            action.is_over = True
            by_loop.setdefault(action.loop, []).append((action, outcome))
    for loop, ended in by_loop.items():
        with suppress(RuntimeError):  # it is closed: nobody waits any more
            loop.call_soon_threadsafe(_answer, ended)


def _answer(ended: Sequence[tuple[_Action, Any]]) -> None:
    for action, outcome in ended:
        if action.answer.done():
            continue  # who waited went away
        if isinstance(outcome, BaseException):
            action.answer.set_exception(outcome)
        else:
            action.answer.set_result(outcome)
