"""What uploads under an ``Idempotency-Key`` were answered."""

from dataclasses import asdict, dataclass

from sqlalchemy import delete, insert, select
from sqlalchemy.exc import IntegrityError

from headwater.catalog import tables
from headwater.catalog.transaction import Transaction
from headwater.domain.errors import UploadInFlight

_receipts = tables.receipts.c
_ADD = insert(tables.receipts)


class KeyTaken(UploadInFlight):
    """Another process took an upload under this Idempotency-Key."""


@dataclass(frozen=True, kw_only=True)
class StoredReceipt:
    """What an upload was answered, and how to tell that another is the same."""

    task: str
    attempt: int
    idempotency_key: str
    #: SHA-256 of the decompressed upload.
    body_digest: str
    #: Documents of the upload.
    count: int
    #: Documents of the attempt, with this upload.
    total: int
    #: Bytes of the upload's documents, decompressed.
    bytes: int
    #: Lines that were kept aside; None if the upload was not a lenient one.
    rejected: int | None = None
    #: What was wrong with them, as JSON.
    flaws: str | None = None
    #: Whether there was more wrong than is told.
    truncated: bool = False


def add(tx: Transaction, receipt: StoredReceipt) -> None:
    """Keep a receipt.

    Raises:
        KeyTaken: its attempt has one under the same key.
    """
    try:
        tx.execute(_ADD, asdict(receipt))
    except IntegrityError as error:
        raise KeyTaken(f"Idempotency-Key {receipt.idempotency_key!r} is in use") from error


def find(tx: Transaction, task: str, attempt: int, key: str) -> StoredReceipt | None:
    """Return the receipt of an attempt's upload under a key, or None."""
    wanted = select(tables.receipts).where(
        _receipts.task == task, _receipts.attempt == attempt, _receipts.idempotency_key == key
    )
    return tx.value(wanted, StoredReceipt)


def forget(tx: Transaction, task: str) -> None:
    """Forget the receipts of a task that takes no more uploads as it is."""
    tx.execute(delete(tables.receipts).where(_receipts.task == task))
