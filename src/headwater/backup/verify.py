"""Compares catalog and lake beside a running server: read-only, at a bounded rate, and resumable.

Each file is read once: its size and digest, then its documents, each of which must be JSON and have the id under which
it is stored. Files are verified in the order of their paths, so that the last path is all that has to be remembered.
"""

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from headwater.catalog import inspection, segments
from headwater.catalog.core.database import Database
from headwater.catalog.inspection import LakeFile
from headwater.domain.document import content_id, document_id
from headwater.lake.integrity import file_digest
from headwater.lake.store import Store

#: Remembers how far a verification has come.
STATE = "verify.json"
#: Where a repair puts the files that it removes.
ASIDE = "aside"
#: Files between two writes of the state.
_EVERY = 50
#: Documents that are read at a time.
_BATCH = 1024
#: How old a file must be to be more than an upload in progress.
SETTLED = timedelta(hours=1)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that is wrong."""

    #: A stable word: ``file-missing``, ``file-damaged``, ``document-broken``, ``file-unnamed``, …
    kind: str
    #: The file or object.
    where: str
    detail: str
    #: What ``--repair`` does about it, or has done; None if nothing.
    repair: str | None = None


@dataclass(kw_only=True)
class Report:
    """The result of a verification."""

    files: int = 0
    bytes: int = 0
    documents: int = 0
    #: Files that an earlier run had verified.
    skipped: int = 0
    findings: list[Finding] = field(default_factory=list[Finding])

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON."""
        return {"sound": self.is_sound, **asdict(self)}


class Pace:
    """Limits how many bytes a second are read."""

    def __init__(
        self,
        rate: int | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Read at most ``rate`` bytes a second; None for as fast as possible."""
        self._rate = rate
        self._clock = clock
        self._sleep = sleep
        self._free_at = clock()

    def spend(self, size: int) -> None:
        """Wait until so many bytes more may have been read."""
        if not self._rate:
            return
        now = self._clock()
        self._free_at = max(self._free_at, now) + size / self._rate
        if self._free_at > now:
            self._sleep(self._free_at - now)


class Verification:
    """One verification of a data directory."""

    def __init__(
        self,
        db: Database,
        store: Store,
        data: Path,
        *,
        pace: Pace,
        at: datetime,
        rest: Callable[[], None] = lambda: None,
    ) -> None:
        """Verify what ``db`` says of ``store``; ``at`` is now, and ``rest`` is called after some documents each."""
        self._db = db
        self._store = store
        self._data = data
        self._pace = pace
        self._at = at
        self._rest = rest

    def run(self, *, resume: bool = False) -> Report:
        """Verify everything, or with ``resume`` what an interrupted run has left.

        Raises:
            OSError: the object store of the lake does not answer.
        """
        report, after = self._resumed() if resume else (Report(), "")
        named = self._db.read_blocking(inspection.files)
        if not after:
            found = self._db.read_blocking(lambda tx: list(inspection.disagreements(tx)))
            report.findings += [Finding(kind=kind, where="catalog", detail=detail) for kind, detail in found]
        for number, file in enumerate(named):
            if file.path <= after:
                report.skipped += 1
                continue
            try:
                report.findings += self.of_file(file, report)
            except OSError:
                self._remember(report, named[number - 1].path if number else "")
                raise
            report.files += 1
            if number % _EVERY == _EVERY - 1:
                self._remember(report, file.path)
        report.findings += self._unnamed({file.path for file in named})
        (self._data / STATE).unlink(missing_ok=True)
        return report

    def of_file(self, file: LakeFile, report: Report) -> Iterator[Finding]:
        """Verify one file, past its local copies; yield what is wrong with it.

        Raises:
            OSError: the object store of the lake does not answer.
        """
        try:
            with self._store.original(file.path) as local:
                size = local.stat().st_size
                digest = file_digest(local) if file.digest is not None else None
                yield from self._of_content(file, local, size, digest, report)
        except OSError as error:
            if self._is_gone(file):
                return
            if self._store.is_remote and not isinstance(error, FileNotFoundError):
                raise  # the store does not answer, and nothing is known of this file or any other
            kind = "file-missing" if isinstance(error, FileNotFoundError) else "file-unreadable"
            yield Finding(kind=kind, where=file.path, detail=str(error.strerror), repair="marked as damaged")

    def _of_content(
        self, file: LakeFile, local: Path, size: int, digest: str | None, report: Report
    ) -> Iterator[Finding]:
        self._pace.spend(size)
        report.bytes += size
        if digest != file.digest or (file.size is not None and size != file.size):
            detail = f"it has {size} bytes and the digest {digest}, not {file.size} and {file.digest}"
            yield Finding(kind="file-damaged", where=file.path, detail=detail, repair="marked as damaged")
            return
        if file.is_damaged:
            yield Finding(
                kind="file-intact", where=file.path, detail="it is marked as damaged", repair="no longer marked"
            )
        yield from self._of_documents(file, local, report)

    def _is_gone(self, file: LakeFile) -> bool:
        """Return whether no row names a file any more: it was merged or purged since the list was read."""
        return not self._db.read_blocking(segments.still_named, {file.path})

    def _of_documents(self, file: LakeFile, local: Path, report: Report) -> Iterator[Finding]:
        try:
            documents = 0
            with pq.ParquetFile(local) as parquet:
                fields = self._db.read_blocking(inspection.id_fields, file.path)
                parts = sorted(self._db.read_blocking(inspection.parts, file.path))
                columns = ["doc_id", "doc", *(["part"] if parts else [])]
                for rows in cast("Any", parquet).iter_batches(_BATCH, columns=columns):
                    batch = rows.filter(pa.array(np.isin(rows.column("part"), parts))) if parts else rows
                    documents += batch.num_rows
                    yield from _of_batch(file.path, batch, fields)
                    self._rest()
        except (pa.ArrowException, OSError, ValueError) as error:
            detail = f"it cannot be read: {error}"
            yield Finding(kind="file-damaged", where=file.path, detail=detail, repair="marked as damaged")
            return
        report.documents += documents
        if documents != file.docs:
            yield Finding(
                kind="count-wrong", where=file.path, detail=f"it holds {documents} documents, not {file.docs}"
            )

    def _unnamed(self, named: set[str]) -> Iterator[Finding]:
        kept = [path for path in self._store.kept(before=self._at - SETTLED) if path not in named]
        strangers = set(kept) - self._db.read_blocking(inspection.garbage)
        # Named since the list was read: by a merge, or by an upload that took long.
        for path in sorted(strangers - self._db.read_blocking(segments.still_named, strangers)):
            yield Finding(
                kind="file-unnamed", where=path, detail="the catalog does not name it", repair=f"moved to {ASIDE}/"
            )

    def _remember(self, report: Report, path: str) -> None:
        state = {"after": path, "report": asdict(report)}
        staged = self._data / f"{STATE}.new"
        staged.write_text(json.dumps(state))
        staged.rename(self._data / STATE)

    def _resumed(self) -> tuple[Report, str]:
        try:
            state = json.loads((self._data / STATE).read_text())
            findings = [Finding(**each) for each in state["report"].pop("findings")]
            return Report(**{**state["report"], "skipped": 0}, findings=findings), state["after"]
        except (OSError, ValueError, TypeError, KeyError):
            return Report(), ""


def _of_batch(path: str, batch: pa.RecordBatch, fields: set[str | None]) -> Iterator[Finding]:
    ids, texts = (cast("Sequence[str]", batch.column(name).to_pylist()) for name in ("doc_id", "doc"))
    for doc_id, doc in zip(ids, texts, strict=True):
        if not doc:
            continue  # a deletion
        try:
            document = msgspec.json.decode(doc, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeError) as error:
            yield Finding(kind="document-broken", where=f"{path}#{doc_id}", detail=str(error))
            continue
        if not any(document_id(document, name) == doc_id for name in fields) and content_id(document) != doc_id:
            yield Finding(kind="id-wrong", where=f"{path}#{doc_id}", detail="the document has another id")


def repair(db: Database, store: Store, data: Path, report: Report, *, at: datetime) -> list[Finding]:
    """Do what the findings name as their repair, and nothing else; return what was done.

    What is removed from the lake is moved to a folder of its own, ``aside/{time}``.
    """
    done: list[Finding] = []
    aside = data / ASIDE / f"{at:%Y%m%dT%H%M%SZ}"
    for finding in report.findings:
        if finding.repair is None:
            continue
        if finding.kind == "file-unnamed":
            if db.read_blocking(segments.still_named, {finding.where}):
                continue  # named meanwhile
            target = aside / finding.where
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            Path(store.locate(finding.where)).rename(target)
        else:
            _mark(db, finding.where, None if finding.kind == "file-intact" else at)
        done.append(finding)
    return done


def _mark(db: Database, path: str, at: datetime | None) -> None:
    asyncio.run(db.write(segments.mark_damaged, path, at))
