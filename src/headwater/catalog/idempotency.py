"""Stored answers to uploads with an ``Idempotency-Key``."""

from dataclasses import asdict, dataclass

from sqlalchemy import bindparam, delete, insert, select

from headwater.catalog import tables
from headwater.catalog.core.prepared_statement import PreparedStatement
from headwater.catalog.core.steps import Call, Steps, Turn
from headwater.catalog.core.transaction import Transaction
from headwater.domain.errors import UploadInFlight

_receipts = tables.receipts.c
_ADD = PreparedStatement(insert(tables.receipts))
_IS_TAKEN = PreparedStatement(
    select(_receipts.attempt).where(
        _receipts.task == bindparam("of"),
        _receipts.attempt == bindparam("in_attempt"),
        _receipts.idempotency_key == bindparam("key"),
    )
)


class KeyTaken(UploadInFlight):
    """Another process handled an upload with this Idempotency-Key."""


@dataclass(frozen=True, kw_only=True)
class StoredReceipt:
    """The answer to an upload, and the digest that identifies a repetition of it."""

    task: str
    attempt: int
    idempotency_key: str
    #: SHA-256 of the decompressed upload.
    body_digest: str
    #: Documents of the upload.
    count: int
    #: Documents of the attempt, including this upload.
    total: int
    #: Bytes of the upload's documents, decompressed.
    bytes: int
    #: Rejected lines; None if the upload was not lenient.
    rejected: int | None = None
    #: Deletions of the upload.
    deleted: int = 0
    #: Their errors, as JSON.
    flaws: str | None = None
    #: Whether there were more errors than are listed.
    truncated: bool = False


def require_free(task: str, attempt: int, key: str) -> Steps[None]:
    """Check that an attempt's upload has a new key; nobody else can store it while the row of the task is locked.

    Raises:
        KeyTaken: the attempt has a receipt with the same key.
    """
    values = {"of": task, "in_attempt": attempt, "key": key}
    # After the statement that locks the task, so that it sees what the former holder committed.
    (taken,) = yield [Call(statement=_IS_TAKEN, values=values, turn=Turn.TASKS, locks=task)]
    if taken is not None:
        raise KeyTaken(f"Idempotency-Key {key!r} is in use")


def add(tx: Transaction, receipt: StoredReceipt) -> None:
    """Store a receipt, of which ``require_free`` has checked the key."""
    tx.add(_ADD, asdict(receipt))


def find(tx: Transaction, task: str, attempt: int, key: str) -> StoredReceipt | None:
    """Return the receipt of an attempt's upload by its key, or None."""
    wanted = select(tables.receipts).where(
        _receipts.task == task, _receipts.attempt == attempt, _receipts.idempotency_key == key
    )
    return tx.value(wanted, StoredReceipt)


def forget(tx: Transaction, task: str) -> None:
    """Delete the receipts of a task whose attempt takes no more uploads."""
    tx.execute(delete(tables.receipts).where(_receipts.task == task))
