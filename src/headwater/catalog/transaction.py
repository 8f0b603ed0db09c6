"""What catalog functions speak through: one consistent view, or one change, of the catalog."""

import zlib
from collections.abc import Callable, Mapping, Sequence
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

from headwater.catalog.witness import Deeds, Witness

T = TypeVar("T")


class Prepared:
    """A statement that is run again and again, compiled once for each kind of database.

    What SQLAlchemy does for each run of a statement takes several times as long as SQLite does.
    """

    def __init__(self, statement: UpdateBase) -> None:
        self._statement = statement
        self._compiled: dict[str, _Compiled] = {}

    def for_dialect(self, dialect: Dialect) -> "_Compiled":
        """Return it as a database understands it."""
        compiled = self._compiled.get(dialect.name)
        if compiled is None:
            compiled = self._compiled[dialect.name] = _Compiled(self._statement, dialect)
        return compiled


class _Compiled:
    """A statement as the driver takes it."""

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
        """Return the values as the driver takes them."""
        bound = {**self._fixed, **values}
        for name, processor in self._processors.items():
            bound[name] = processor(bound[name])
        return bound if self._order is None else [bound[name] for name in self._order]


class Transaction:
    """What catalog functions speak through: one consistent view, or one change, of the catalog."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        #: What those who listen are told of once this is committed.
        self.topics: set[str] = set()
        self._last: dict[Callable[[Transaction, list[Any]], object], list[Any]] = {}
        #: What the present action has done, if somebody sees it.
        self.deeds: Deeds | None = None

    def execute(
        self, statement: Executable, values: dict[str, Any] | Sequence[dict[str, Any]] | None = None
    ) -> CursorResult[Any]:
        """Run a statement with the values that it leaves open, or once for each row of them."""
        answer = self._connection.execute(statement, values)
        if self.deeds is not None and isinstance(statement, UpdateBase) and answer.rowcount != 0:
            self.deeds.changed = True
        return answer

    def run(self, statement: Prepared, values: Mapping[str, Any]) -> tuple[Any, ...] | None:
        """Run a prepared statement with the values that it leaves open; return the first row of its answer."""
        compiled = statement.for_dialect(self._connection.dialect)

        def run(cursor: Any) -> tuple[Any, ...] | None:
            cursor.execute(compiled.text, compiled.bound(values))
            if self.deeds is not None and cursor.rowcount != 0:
                self.deeds.changed = True
            return cursor.fetchone() if cursor.description else None

        return self._with_cursor(run, compiled.text)

    def run_each(self, statement: Prepared, rows: Sequence[Mapping[str, Any]]) -> None:
        """Run a prepared statement once for each row of values, in order."""
        compiled = statement.for_dialect(self._connection.dialect)
        bound = [compiled.bound(row) for row in rows]
        self._with_cursor(lambda cursor: cursor.executemany(compiled.text, bound), compiled.text)

    def _with_cursor(self, use: Callable[[Any], T], statement: str) -> T:
        """Use a cursor of the driver's for a statement; its errors become those of SQLAlchemy."""
        dialect = self._connection.dialect
        cursor: Any = self._connection.connection.cursor()
        try:
            return use(cursor)
        except dialect.loaded_dbapi.Error as error:
            raise DBAPIError.instance(statement, None, error, dialect.loaded_dbapi.Error, dialect=dialect) from error
        finally:
            cursor.close()

    def values(self, statement: Executable, kind: type[T]) -> list[T]:
        """Return the rows of the answer as domain values, whose fields have the columns' names."""
        answer = self.execute(statement)
        names = tuple(map(str, answer.keys()))  # SQLAlchemy's are a kind of text of their own
        return [msgspec.convert(dict(zip(names, row, strict=True)), kind) for row in answer]

    def value(self, statement: Executable, kind: type[T]) -> T | None:
        """Return the first row of the answer as a domain value, or None."""
        return next(iter(self.values(statement, kind)), None)

    def savepoint(self) -> AbstractContextManager[Any]:
        """Let the block fail, an index included, without losing what was done before it."""
        return self._connection.begin_nested()

    def announce(self, topic: str) -> None:
        """Tell those who listen to ``topic``, once this is committed."""
        self.topics.add(topic)

    def before_commit(self, store: Callable[["Transaction", list[T]], object], value: T) -> None:
        """Let ``store`` write the value as the last thing of all, with those of the other actions in this group."""
        self._last.setdefault(store, []).append(value)

    def finish(self) -> None:
        """Write what was left for the end."""
        for store, values in self._last.items():
            store(self, values)

    def take_turn(self, name: str) -> None:
        """Wait until no other transaction that took its turn under this name is under way.

        What it gives out from then on is in the order in which such transactions are committed. Taken as the last
        of all locks, so that nobody who holds it waits for another. SQLite has one writer at a time anyway.
        """
        if self._connection.dialect.name != "sqlite":
            self.execute(select(func.pg_advisory_xact_lock(zlib.crc32(name.encode()))))

    def note(self, *, about: tuple[str, str] | None = None, **facts: Any) -> None:
        """Let who sees the present action, if anybody does, write down what it is about, and facts; never secrets."""
        if self.deeds is not None:
            self.deeds.about = about or self.deeds.about
            self.deeds.facts |= facts

    def seen(self, witness: Witness, action: Callable[["Transaction"], T]) -> T:
        """Run an action under the eyes of a witness, who writes down what it has changed."""
        self.deeds = deeds = Deeds()
        try:
            result = action(self)
        finally:
            self.deeds = None
        if deeds.changed:
            witness.write_down(self, deeds)
        return result
