"""Writing a stream to a file."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from headwater_client.cli.endings import Code, Refusal
from headwater_client.cli.output import many, size

if TYPE_CHECKING:
    from typing_extensions import Self

    from headwater_client.headwater import Headwater
    from headwater_client.objects import Stream


class ExportForm(str, Enum):
    """What a stream is written in."""

    NDJSON = "ndjson"
    CSV = "csv"
    PARQUET = "parquet"


_ENDINGS = {
    ".ndjson": ExportForm.NDJSON,
    ".jsonl": ExportForm.NDJSON,
    ".csv": ExportForm.CSV,
    ".parquet": ExportForm.PARQUET,
}


def export(
    headwater: Headwater,
    stream: Stream,
    to: str | None,
    form: ExportForm | None,
    *,
    as_of: int | None,
    without: Sequence[str],
) -> None:
    """Write all documents to a file, which is there once it is whole, or to stdout.

    Raises:
        Refusal: a terminal is no place for Parquet.
        HeadwaterError: it cannot be read.
    """
    is_file = to is not None and to != "-"
    said = form or (_ENDINGS.get(Path(to).suffix.lower()) if to is not None else None) or ExportForm.NDJSON
    if not is_file and said is ExportForm.PARQUET and sys.stdout.isatty():
        raise Refusal("Parquet is not for a terminal: -o FILE writes it to a file", code=Code.USAGE)
    pieces = headwater.streams.export(stream, format=said.value, as_of=as_of, without=without or None)
    if not is_file:
        for piece in pieces:
            _put(piece)
        sys.stdout.buffer.flush()
        return
    assert to is not None  # noqa: S101 - is_file says so
    _save(pieces, Path(to), stream.docs if said is ExportForm.NDJSON else None)


def _put(piece: bytes) -> None:
    """Write to stdout; without a buffer (``PYTHONUNBUFFERED``) one write may take less than all."""
    left = memoryview(piece)
    while left:
        left = left[sys.stdout.buffer.write(left) :]


def _save(pieces: Iterator[bytes], target: Path, total: int | None) -> None:
    part = target.with_name(f".{target.name}.part")
    began = time.monotonic()
    documents = written = 0
    try:
        with part.open("wb") as file, _Shown(target.name, total) as shown:
            for piece in pieces:
                file.write(piece)
                written += len(piece)
                documents += piece.count(b"\n")
                shown.show(documents, written)
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    counted = f"{many(documents, 'document')}, " if total is not None else ""
    sys.stderr.write(f"{target}: {counted}{size(written)} in {time.monotonic() - began:.1f} s\n")


class _Shown:
    """A bar on a terminal; nothing elsewhere."""

    def __init__(self, name: str, total: int | None) -> None:
        self._total = total
        self._progress = None
        if sys.stderr.isatty():
            from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
            from rich.progress import BarColumn, Progress, TextColumn  # noqa: PLC0415 - likewise

            self._progress = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=None),
                TextColumn("{task.fields[figures]}"),
                console=Console(stderr=True),
                transient=True,
                expand=True,
            )
            self._task = self._progress.add_task(name, total=total, figures="")

    def show(self, documents: int, written: int) -> None:
        if self._progress is not None:
            figures = f"{documents:,} docs  {size(written)}" if self._total is not None else size(written)
            self._progress.update(self._task, completed=documents, figures=figures)

    def __enter__(self) -> Self:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(self, *_error: object) -> None:
        if self._progress is not None:
            self._progress.stop()
