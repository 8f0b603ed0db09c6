"""Encrypted values of the catalog: check their key, re-encrypt them with a new one, or give them up."""

import secrets
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, cast

from cryptography.fernet import InvalidToken
from sqlalchemy import Column, Table, Text, delete, insert, null, select, tuple_, update
from sqlalchemy import cast as sql_cast

from headwater.catalog import tables
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.notices import NoticeKind
from headwater.catalog.vault import Vault
from headwater.domain.task import TaskState
from headwater.domain.webhook import new_secret

#: JSON columns in which single values are encrypted, ``{"sealed": "…"}``.
_IN_JSON = (
    (tables.crawlers, "params"),
    (tables.tasks, "params"),
    (tables.attempts, "params"),
    (tables.external_versions, "definition"),
)
#: Rows that are read at a time.
_MANY = 500
#: Random bytes of a webhook's secret.
_SECRET_BYTES = 32

#: Maps an encrypted value to its replacement.
Change = Callable[[str], Any]


def check_value(tx: Transaction) -> str | None:
    """Return the check value of the secret key that encrypted the catalog's values; None if none was stored."""
    return tx.execute(select(tables.secret_check.c.value)).scalar_one_or_none()


def keep_check_value(tx: Transaction, vault: Vault) -> None:
    """Store the check value of the current secret key."""
    tx.execute(delete(tables.secret_check))
    tx.execute(insert(tables.secret_check).values(id=1, value=vault.check_value))


def is_ours(tx: Transaction, vault: Vault | None) -> bool:
    """Return whether a secret key is the one that encrypted the catalog's values; None stands for any new key."""
    kept = check_value(tx)
    if kept is not None:
        return vault is not None and kept == vault.check_value
    sealed = next(sealed_values(tx), None)
    if sealed is None:
        return True
    try:
        return vault is not None and vault.unseal(sealed) is not None
    except InvalidToken:
        return False


def seal_headers(tx: Transaction, vault: Vault) -> int:
    """Encrypt header values that an older release stored in clear; return how many versions of Externals had any."""
    found = 0
    for row, definition in _documents(tx, tables.external_versions, "definition", like='%"headers":%'):
        headers: dict[str, Any] = definition["headers"]
        sealed = vault.seal_headers(headers, headers)
        if sealed != headers:
            found += 1
            _store(tx, tables.external_versions, row, definition=definition | {"headers": sealed})
    return found


def seal_anew(tx: Transaction, old: Vault, new: Vault) -> int:
    """Re-encrypt with ``new`` all that ``old`` encrypted, and store its check value; return how many values.

    Raises:
        InvalidToken: a value was not encrypted with ``old``.
    """
    count = 0

    def again(sealed: str) -> str:
        nonlocal count
        count += 1
        return new.seal(old.unseal(sealed))

    for table, column in _columns():
        for row, sealed in _rows(tx, table, column):
            _store(tx, table, row, **{column.name: again(sealed)})
    for table, name in _IN_JSON:
        for row, document in _documents(tx, table, name):
            _store(tx, table, row, **{name: _changed(name, document, lambda sealed: {"sealed": again(sealed)})})
    keep_check_value(tx, new)
    return count


def give_up(tx: Transaction, vault: Vault, *, at: datetime) -> None:
    """Discard all that another secret key encrypted, and continue with this one.

    Passwords, credentials, logins and header values are lost and must be set again. Webhooks are disabled and get new,
    unknown secrets. Tasks that were waiting to be started are not delivered any more, so that they time out.
    """
    waiting = select(tables.notices.c.task).where(tables.notices.c.kind == NoticeKind.START)
    unheard = tables.tasks.c.fid.in_(waiting) & (tables.tasks.c.state == TaskState.NEW)
    tx.execute(update(tables.tasks).where(unheard).values(deadline=at))
    tx.execute(delete(tables.notices))
    crawlers = tables.crawlers
    tx.execute(update(crawlers).values(sealed_credential=null(), credential_type=null(), login=null()))
    tx.execute(delete(tables.credentials))
    for table, name in _IN_JSON:
        for row, document in _documents(tx, table, name):
            _store(tx, table, row, **{name: _changed(name, document, lambda _sealed_value: None)})
    webhooks = tables.webhooks
    for fid in list(tx.execute(select(webhooks.c.fid)).scalars()):
        disabled = {
            "enabled": False,
            "disabled_at": at,
            "disabled_reason": "its secret was given up with the server's secret key: rotate it, and enable this",
            "sealed_secret": vault.seal(new_secret(secrets.token_bytes(_SECRET_BYTES))),
            "sealed_former": None,
            "former_until": None,
        }
        tx.execute(update(webhooks).where(webhooks.c.fid == fid).values(disabled))
    lost = {"enabled": False, "sealed_url": vault.seal(""), "shown_url": "lost with the secret key: set it again"}
    tx.execute(update(tables.notifications).values(lost))
    keep_check_value(tx, vault)


def _columns() -> Iterator[tuple[Table, Column[Any]]]:
    """Yield the columns whose every value is encrypted: found by name, so that none is missed."""
    for table in tables.metadata.sorted_tables:
        for column in table.c:
            if column.name.startswith("sealed"):
                yield table, column


def sealed_values(tx: Transaction) -> Iterator[str]:
    """Yield the encrypted values."""
    for table, column in _columns():
        yield from (sealed for _, sealed in _rows(tx, table, column))
    for table, name in _IN_JSON:
        for _, document in _documents(tx, table, name):
            found: list[str] = []
            _changed(name, document, found.append)
            yield from found


def _documents(
    tx: Transaction, table: Table, name: str, *, like: str = '%"sealed":%'
) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    # Compared as text: most rows hold no encrypted value, and are not parsed.
    return _rows(tx, table, table.c[name], where=sql_cast(table.c[name], Text).like(like))


def _rows(
    tx: Transaction, table: Table, column: Column[Any], *, where: Any = None
) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Yield the primary key and a column's value of each row that has one, in batches."""
    key = list(table.primary_key.columns)
    wanted = select(*key, column.label("value_of_row")).order_by(*key).limit(_MANY)
    wanted = wanted.where(column.is_not(None) if where is None else where)
    after: tuple[Any, ...] | None = None
    while True:
        page = tx.execute(wanted if after is None else wanted.where(tuple_(*key) > tuple_(*after))).all()
        for row in page:
            yield tuple(row)[:-1], row[-1]
        if len(page) < _MANY:
            return
        after = tuple(page[-1])[:-1]


def _store(tx: Transaction, table: Table, row: tuple[Any, ...], **values: Any) -> None:
    key = table.primary_key.columns
    tx.execute(update(table).where(*(column == value for column, value in zip(key, row, strict=True))).values(**values))


def _changed(name: str, document: Mapping[str, Any], change: Change) -> dict[str, Any]:
    """Return parameters, or an External's definition, with each encrypted value replaced; None removes it."""
    if name == "definition":
        return {**document, "headers": _changed_values(document["headers"], change)}
    return _changed_values(document, change)


def _changed_values(values: Mapping[str, Any], change: Change) -> dict[str, Any]:
    changed: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict) and set(cast("dict[str, Any]", value)) == {"sealed"}:
            after = change(cast("dict[str, str]", value)["sealed"])
            if after is not None:
                changed[name] = after
        else:
            changed[name] = value
    return changed
