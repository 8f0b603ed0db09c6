"""Stored answers to uploads with an ``Idempotency-Key``."""

from dataclasses import asdict, dataclass

from sqlalchemy import delete, insert, select
from sqlalchemy.exc import IntegrityError

from headwater.catalog import tables
from headwater.catalog.core.transaction import Transaction
from headwater.domain.errors import UploadInFlight

_receipts = tables.receipts.c
_ADD = insert(tables.receipts)


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


def add(tx: Transaction, receipt: StoredReceipt) -> None:
    """Store a receipt.

    Raises:
        KeyTaken: the attempt has one with the same key.
    """
    try:
        tx.execute(_ADD, asdict(receipt))
    except IntegrityError as error:
        raise KeyTaken(f"Idempotency-Key {receipt.idempotency_key!r} is in use") from error


def find(tx: Transaction, task: str, attempt: int, key: str) -> StoredReceipt | None:
    """Return the receipt of an attempt's upload by its key, or None."""
    wanted = select(tables.receipts).where(
        _receipts.task == task, _receipts.attempt == attempt, _receipts.idempotency_key == key
    )
    return tx.value(wanted, StoredReceipt)


def forget(tx: Transaction, task: str) -> None:
    """Delete the receipts of a task whose attempt takes no more uploads."""
    tx.execute(delete(tables.receipts).where(_receipts.task == task))
