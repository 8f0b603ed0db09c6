"""Exports a stream to a file or to stdout."""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater_client.cli.errors import CliError, ExitCode
from headwater_client.cli.output import many, size
from headwater_client.exports import FORMATS

if TYPE_CHECKING:
    from typing import Self

    from headwater_client.headwater import Headwater
    from headwater_client.models.objects import Stream


class ExportFormat(StrEnum):
    """Export formats."""

    NDJSON = "ndjson"
    CSV = "csv"
    PARQUET = "parquet"
    XLSX = "xlsx"

    @property
    def is_text(self) -> bool:
        """Whether it can be printed on a terminal."""
        return self in {ExportFormat.NDJSON, ExportFormat.CSV}


class ExportColumns(StrEnum):
    """How the columns of Parquet are determined."""

    INFER = "infer"


def names_in(said: str) -> list[str]:
    """Parse comma-separated field names; a name that contains a comma is in double quotes.

    Raises:
        CliError: a quote is not closed.
    """
    try:
        return next(csv.reader([said], strict=True))
    except csv.Error as error:
        raise CliError(f"--fields {said!r} is not a list of names: {error}", code=ExitCode.USAGE) from error


def form_of(to: str | None, said: ExportFormat | None) -> ExportFormat:
    """Return the format of an export, from the option or the file extension.

    Raises:
        CliError: the extension is unknown, or contradicts the option.
    """
    ending = Path(to).suffix.lower() if to is not None and to != "-" else ""
    meant = FORMATS.get(ending)
    if said is None and meant is None:
        raise CliError(
            f"no format is known by the ending {ending}: --format says it, {_FORMS_SAID}", code=ExitCode.USAGE
        )
    if said is not None and ending and meant not in {None, said.value}:
        raise CliError(f"{to} would not be {meant}, but {said.value}: use another name or format", code=ExitCode.USAGE)
    return said or ExportFormat(meant)


_FORMS_SAID = ", ".join(form.value for form in ExportFormat)


def export(
    headwater: Headwater,
    stream: Stream,
    to: str | None,
    form: ExportFormat | None,
    *,
    as_of: int | None,
    without: Sequence[str],
    **layout: Any,
) -> None:
    """Write documents to a file, atomically, or to stdout.

    Args:
        headwater: the client.
        stream: the stream.
        to: the file; None and ``-`` are stdout.
        form: the format; None takes it from the file extension.
        as_of: a stream version.
        without: tasks to exclude.
        layout: other arguments of ``Streams.export``.

    Raises:
        CliError: the format is unknown, or cannot be printed on a terminal.
        HeadwaterError: it cannot be read.
    """
    is_file = to is not None and to != "-"
    said = form_of(to, form)
    if not is_file and not said.is_text and sys.stdout.isatty():
        raise CliError(f"a terminal cannot show {said.value}: -o FILE writes it to a file", code=ExitCode.USAGE)
    pieces = headwater.streams.export(stream, format=said.value, as_of=as_of, without=without or None, **layout)
    if not is_file:
        for piece in pieces:
            _put(piece)
        sys.stdout.buffer.flush()
        return
    assert to is not None  # noqa: S101 - is_file says so
    _save(pieces, Path(to), stream.docs if said is ExportFormat.NDJSON else None)


def _put(piece: bytes) -> None:
    """Write all bytes to stdout; unbuffered (``PYTHONUNBUFFERED``), one write may be partial."""
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
    """A progress bar on a terminal; nothing when piped."""

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
