"""The interface of all catalog functions: one consistent snapshot, or one change, of the catalog."""

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import msgspec
from sqlalchemy import (
    Connection,
    CursorResult,
    Executable,
    func,
    select,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.dml import UpdateBase

from headwater.catalog.core.cache import Cache
from headwater.catalog.core.change_tracking import AuditRecorder, Changes
from headwater.catalog.core.dialects import commits_in_order

T = TypeVar("T")


class PreparedStatement:
    """A statement that is run often, compiled once for each dialect.

    SQLAlchemy's overhead for each execution is several times SQLite's own.
    """

    def __init__(self, statement: UpdateBase) -> None:
        self._statement = statement
        self._compiled: dict[str, _Compiled] = {}

    def for_dialect(self, dialect: Dialect) -> "_Compiled":
        """Return it compiled for a dialect."""
        compiled = self._compiled.get(dialect.name)
        if compiled is None:
            compiled = self._compiled[dialect.name] = _Compiled(self._statement, dialect)
        return compiled


class _Compiled:
    """A statement in the driver's form."""

    def __init__(self, statement: UpdateBase, dialect: Dialect) -> None:
        compiled = statement.compile(dialect=dialect)
        self.text = str(compiled)
        self._order = compiled.positiontup
        self._fixed = {name: bind.value for bind, name in compiled.bind_names.items() if not bind.required}
        self._processors = {
            name: processor
            for bind, name in compiled.bind_names.items()
            if (processor := bind.type.dialect_impl(dialect).bind_processor(dialect)) is not None
        }

    def bound(self, values: Mapping[str, Any]) -> Any:
        """Return the values in the driver's form."""
        bound = {**self._fixed, **values}
        for name, processor in self._processors.items():
            bound[name] = processor(bound[name])
        return bound if self._order is None else [bound[name] for name in self._order]


class Transaction:
    """One consistent snapshot, or one change, of the catalog."""

    def __init__(self, connection: Connection, *, cache: Cache | None = None) -> None:
        """Run on ``connection``; what a snapshot learns may be kept in ``cache``."""
        self._connection = connection
        self._cache = cache
        #: Topics whose subscribers are notified after the commit.
        self.topics: set[str] = set()
        self._last: dict[Callable[[Transaction, list[Any]], object], list[Any]] = {}
        #: What the current action has changed, if it is audited.
        self.changes: Changes | None = None

    def execute(
        self, statement: Executable, values: dict[str, Any] | Sequence[dict[str, Any]] | None = None
    ) -> CursorResult[Any]:
        """Run a statement with the given parameters, or once for each row of them."""
        answer = self._connection.execute(statement, values)
        if self.changes is not None and isinstance(statement, UpdateBase) and answer.rowcount != 0:
            self.changes.changed = True
        return answer

    def run(self, statement: PreparedStatement, values: Mapping[str, Any]) -> tuple[Any, ...] | None:
        """Run a prepared statement with the given parameters; return the first row of its result."""
        compiled = statement.for_dialect(self._connection.dialect)

        def run(cursor: Any) -> tuple[Any, ...] | None:
            cursor.execute(compiled.text, compiled.bound(values))
            if self.changes is not None and cursor.rowcount != 0:
                self.changes.changed = True
            return cursor.fetchone() if cursor.description else None

        return self._with_cursor(run, compiled.text)

    def run_each(self, statement: PreparedStatement, rows: Sequence[Mapping[str, Any]]) -> None:
        """Run a prepared statement once for each row of parameters, in order."""
        compiled = statement.for_dialect(self._connection.dialect)
        bound = [compiled.bound(row) for row in rows]
        self._with_cursor(lambda cursor: cursor.executemany(compiled.text, bound), compiled.text)

    def _with_cursor(self, use: Callable[[Any], T], statement: str) -> T:
        """Use a cursor of the driver for a statement; translate its errors to SQLAlchemy's."""
        dialect = self._connection.dialect
        cursor: Any = self._connection.connection.cursor()
        try:
            return use(cursor)
        except dialect.loaded_dbapi.Error as error:
            raise DBAPIError.instance(statement, None, error, dialect.loaded_dbapi.Error, dialect=dialect) from error
        finally:
            cursor.close()

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
        return self._connection.begin_nested()

    def publish(self, topic: str) -> None:
        """Notify subscribers of ``topic`` after the commit."""
        self.topics.add(topic)

    def before_commit(self, store: Callable[["Transaction", list[T]], object], value: T) -> None:
        """Call ``store`` with the value just before the commit, together with those of the group's other actions."""
        self._last.setdefault(store, []).append(value)

    def finish(self) -> None:
        """Run what was deferred to the end of the transaction."""
        for store, values in self._last.items():
            store(self, values)

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
            result = action(self)
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
