"""The interface of all catalog functions: one consistent snapshot, or one change, of the catalog."""

import zlib
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar

import msgspec
from sqlalchemy import (
    Connection,
    CursorResult,
    Executable,
    func,
    select,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.dml import UpdateBase

from headwater.catalog.core.cache import Cache
from headwater.catalog.core.change_tracking import AuditRecorder, Changes
from headwater.catalog.core.dialects import commits_in_order, has_pipelines
from headwater.catalog.core.prepared_statement import PreparedStatement
from headwater.catalog.core.steps import Call, Rows, Steps, is_steps, next_step

T = TypeVar("T")


class Transaction:
    """One consistent snapshot, or one change, of the catalog."""

    def __init__(self, connection: Connection, *, cache: Cache | None = None, begin: str | None = None) -> None:
        """Run on ``connection``; what a snapshot learns may be kept in ``cache``.

        ``begin`` is the statement that is sent before the first one, if the driver does not begin by itself.
        """
        self._connection = connection
        self._cache = cache
        self._begin = begin
        #: Topics whose subscribers are notified after the commit.
        self.topics: set[str] = set()
        self._added: dict[PreparedStatement, list[Mapping[str, Any]]] = {}
        self._last: dict[Callable[[Transaction, list[Any]], object], list[Any]] = {}
        #: What the current action has changed, if it is audited.
        self.changes: Changes | None = None

    def execute(
        self, statement: Executable, values: dict[str, Any] | Sequence[dict[str, Any]] | None = None
    ) -> CursorResult[Any]:
        """Run a statement with the given parameters, or once for each row of them."""
        self._flush()
        self._send_begin()
        answer = self._connection.execute(statement, values)
        if self.changes is not None and isinstance(statement, UpdateBase) and answer.rowcount != 0:
            self.changes.changed = True
        return answer

    def run(self, statement: PreparedStatement, values: Mapping[str, Any]) -> tuple[Any, ...] | None:
        """Run a prepared statement with the given parameters; return the first row of its result."""
        self._flush()
        self._send_begin()
        return self._run(statement, values)

    def run_each(self, statement: PreparedStatement, rows: Sequence[Mapping[str, Any]]) -> None:
        """Run a prepared statement once for each row of parameters, in order."""
        self._send_begin()
        compiled = statement.for_dialect(self._connection.dialect)
        bound = [compiled.bound(row) for row in rows]
        with self._errors_translated(compiled.text), self._cursor() as cursor:
            cursor.executemany(compiled.text, bound)

    def run_calls(self, calls: Sequence[Call]) -> Rows:
        """Run the statements of a step in the order of their turns, in one round trip; return their first rows.

        What ``add`` has deferred stays so: these statements must not depend on it.
        """
        if not calls:
            return []
        order = sorted(range(len(calls)), key=lambda number: (calls[number].turn, calls[number].locks))
        rows: dict[int, tuple[Any, ...] | None] = {}
        if not has_pipelines(self._connection.dialect):
            for number in order:
                rows[number] = self._run(calls[number].statement, calls[number].values)
        else:
            with self._errors_translated(calls[0].statement.for_dialect(self._connection.dialect).text):
                sent: dict[int, Any] = {}
                with self._driver.pipeline():
                    self._send_begin()
                    for number in order:
                        sent[number] = self._driver.cursor()
                        compiled = calls[number].statement.for_dialect(self._connection.dialect)
                        sent[number].execute(compiled.text, compiled.bound(calls[number].values))
                for number, cursor in sent.items():
                    rows[number] = cursor.fetchone() if cursor.description else None
            self._note_change()
        return [rows[number] for number in range(len(calls))]

    def run_steps(self, steps: Steps[T]) -> T:
        """Run an action in steps by itself; return its result."""
        rows: Rows | None = None
        while True:
            try:
                calls = next_step(steps, rows)
            except StopIteration as end:
                return end.value
            rows = self.run_calls(calls)

    def add(self, statement: PreparedStatement, row: Mapping[str, Any]) -> None:
        """Add a row by a prepared insert, before the next statement of this transaction that may depend on it.

        The rows that a group of actions adds to a table are sent together, with the commit if nothing comes in between.
        """
        self._added.setdefault(statement, []).append(row)
        self._note_change()

    def _run(self, statement: PreparedStatement, values: Mapping[str, Any]) -> tuple[Any, ...] | None:
        compiled = statement.for_dialect(self._connection.dialect)
        with self._errors_translated(compiled.text), self._cursor() as cursor:
            cursor.execute(compiled.text, compiled.bound(values))
            if cursor.rowcount != 0:
                self._note_change()
            return cursor.fetchone() if cursor.description else None

    def _note_change(self) -> None:
        if self.changes is not None:
            self.changes.changed = True

    def _send_begin(self) -> None:
        begin, self._begin = self._begin, None
        if begin is not None:
            with self._errors_translated(begin), self._cursor() as cursor:
                cursor.execute(begin)

    def _flush(self) -> None:
        """Send the rows that are added, before a statement that may depend on them."""
        if self._added:
            with self._pipelined():
                self._send_added()

    def _send_added(self) -> None:
        added, self._added = self._added, {}
        for statement, rows in added.items():
            self.run_each(statement, rows)

    @property
    def _driver(self) -> Any:
        return self._connection.connection.dbapi_connection

    @contextmanager
    def _cursor(self) -> Generator[Any]:
        cursor: Any = self._connection.connection.cursor()
        try:
            yield cursor
        finally:
            cursor.close()

    @contextmanager
    def _pipelined(self) -> Generator[None]:
        """Send the statements of the block in one round trip, if the database can; their results are not available."""
        if has_pipelines(self._connection.dialect):
            with self._errors_translated("pipeline"), self._driver.pipeline():
                yield
        else:
            yield

    @contextmanager
    def _errors_translated(self, statement: str) -> Generator[None]:
        """Translate the driver's errors to SQLAlchemy's."""
        dialect = self._connection.dialect
        try:
            yield
        except dialect.loaded_dbapi.Error as error:
            if not self._connection.invalidated and dialect.is_disconnect(error, self._driver, None):
                # The other connections of the pool are as old: they go as well.
                self._connection.invalidate(error)
                self._connection.engine.dispose()
            raise DBAPIError.instance(statement, None, error, dialect.loaded_dbapi.Error, dialect=dialect) from error

    def values(self, statement: Executable, kind: type[T]) -> list[T]:
        """Return the rows of the result as domain values, whose fields have the columns' names."""
        answer = self.execute(statement)
        names = tuple(map(str, answer.keys()))  # SQLAlchemy's keys are a subclass of str
        return [msgspec.convert(dict(zip(names, row, strict=True)), kind) for row in answer]

    def value(self, statement: Executable, kind: type[T]) -> T | None:
        """Return the first row of the result as a domain value, or None."""
        return next(iter(self.values(statement, kind)), None)

    def recall(self, kind: type[T], key: str) -> T | None:
        """Return the value that a snapshot of the catalog was last read to, None if it is not cached."""
        return None if self._cache is None else self._cache.get(kind, key)

    def remember(self, kind: type[T], key: str, value: T, *, size: int) -> None:
        """Cache a value, which must be immutable, and valid for other snapshots; ``size`` is its number of rows.

        A change of the catalog caches nothing: it may not be committed.
        """
        if self._cache is not None:
            self._cache.put(kind, key, value, size=size)

    def savepoint(self) -> AbstractContextManager[Any]:
        """Let the block fail, for example on a unique index, without losing earlier changes."""
        self._flush()
        self._send_begin()
        return self._connection.begin_nested()

    def publish(self, topic: str) -> None:
        """Notify subscribers of ``topic`` after the commit."""
        self.topics.add(topic)

    def before_commit(self, store: Callable[["Transaction", list[T]], object], value: T) -> None:
        """Call ``store`` with the value just before the commit, together with those of the group's other actions.

        It needs no results: its statements are sent with the commit.
        """
        self._last.setdefault(store, []).append(value)

    def finish(self) -> None:
        """Run what was deferred to the end of the transaction."""
        with self._pipelined():
            self._send_rest()

    def _send_rest(self) -> None:
        self._send_added()
        for store, values in self._last.items():
            store(self, values)

    def commit(self) -> None:
        """Run what was deferred, and commit, in one round trip where the database can."""
        with self._pipelined():
            self._send_rest()
            if has_pipelines(self._connection.dialect) and self._begin is None:
                with self._cursor() as cursor:
                    cursor.execute("COMMIT")
        self._connection.commit()

    @property
    def commits_in_order(self) -> bool:
        """Whether ids that the database assigns are in commit order, since it has one writer at a time."""
        return commits_in_order(self._connection.dialect)

    def advisory_lock(self, name: str) -> None:
        """Wait until no other transaction holds the advisory lock of this name, and hold it until the commit.

        Ids that it assigns from then on are in commit order. SQLite has one writer at a time anyway.
        """
        if not self.commits_in_order:
            self.execute(select(func.pg_advisory_xact_lock(zlib.crc32(name.encode()))))

    def annotate(self, *, about: tuple[str, str] | None = None, **facts: Any) -> None:
        """Add the changed object and details to the audit entry of the current action, if any; never secrets."""
        if self.changes is not None:
            self.changes.about = about or self.changes.about
            self.changes.facts |= facts

    def audited(self, recorder: AuditRecorder, action: Callable[["Transaction"], T]) -> T:
        """Run an action and let ``recorder`` record what it changed."""
        self.changes = changes = Changes()
        try:
            result: Any = action(self)
            if is_steps(result):
                result = self.run_steps(result)
        finally:
            self.changes = None
        if changes.changed:
            recorder.record(self, changes)
        return result


#: Values that are bound in one statement: databases limit their number.
MOST_BOUND = 5_000


def batched(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield values in batches that one statement can bind."""
    for start in range(0, len(values), MOST_BOUND):
        yield values[start : start + MOST_BOUND]
