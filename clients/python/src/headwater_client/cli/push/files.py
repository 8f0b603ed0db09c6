"""Files of documents: NDJSON, JSON or CSV, plain or compressed."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from headwater_client.cli.errors import CliError, ExitCode
from headwater_client.cli.push import hints, json_lines, json_values, rows
from headwater_client.cli.push.column_types import Columns
from headwater_client.cli.push.encodings import BLOCK, BROKEN, as_utf8, decompressed
from headwater_client.cli.push.formats import Format

#: Formats by file extension.
FORMS = {
    ".ndjson": Format.NDJSON,
    ".jsonl": Format.NDJSON,
    ".jsonlines": Format.NDJSON,
    ".json": Format.JSON,
    ".csv": Format.CSV,
    ".tsv": Format.CSV,
}
FORMS_SAID = tuple(form.value for form in Format)
STDIN = "-"
#: Bytes at the start and the end of a file that are hashed to identify it.
SAMPLE = 1 << 20
#: Maximum number of rejected rows reported; 'headwater tasks rejects' lists all.
MOST_REPORTED = 10
#: Maximum size of a document that is searched for wrapped documents.
WRAPPER = 64 << 20

_COMPRESSED = {".gz", ".zst", ".zstd"}


class Meter(io.RawIOBase):
    """A file that counts the bytes read."""

    def __init__(self, file: Any) -> None:
        """Wrap ``file``."""
        self._file = file
        #: Bytes read so far.
        self.read_so_far = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer, and count the bytes."""
        count = self._file.readinto(buffer) or 0
        self.read_so_far += count
        return count

    def close(self) -> None:
        """Close the file, unless it is stdin."""
        if self._file is not _stdin():
            self._file.close()
        super().close()


@dataclass
class File:
    """A file of documents, or stdin."""

    path: str
    form: Format
    #: Delimiter of a CSV file; None detects it.
    delimiter: str | None = None
    #: Schemas of the columns of a CSV file.
    columns: Columns = field(default_factory=Columns)
    #: Whether invalid rows of a CSV file are set aside instead of failing.
    is_lenient: bool = False
    #: A hint to print after the file was read; may be empty.
    hint: str = field(default="", init=False, compare=False)
    _reported: set[int] = field(default_factory=set[int], init=False, repr=False, compare=False)
    _meter: Meter | None = field(default=None, init=False, repr=False, compare=False)

    @classmethod
    def named(cls, path: str, form: Format | None, delimiter: str | None) -> File:
        """Return the file of that name.

        Raises:
            CliError: it does not exist, or its extension is unknown.
        """
        ending = _ending(path)
        said = form or (Format.NDJSON if path == STDIN else FORMS.get(ending))
        if path != STDIN and not Path(path).exists():
            raise CliError(f"there is no file {path}")
        if path != STDIN and Path(path).is_dir():
            raise CliError(f"{path} is a directory")
        if said is None:
            raise CliError(
                f"the name of {path} does not tell what is in it: --format says it, {', '.join(FORMS_SAID)}",
                code=ExitCode.USAGE,
            )
        if delimiter is not None and said is not Format.CSV:
            raise CliError("--delimiter is for CSV", code=ExitCode.USAGE)
        return cls(path, said, _delimiter(delimiter))

    @property
    def name(self) -> str:
        """Its name for display; bytes that are not UTF-8 are replaced."""
        return "stdin" if self.path == STDIN else os.fsencode(Path(self.path).name).decode("utf-8", "replace")

    @property
    def unit(self) -> str:
        """The unit of its positions."""
        return "row" if self.form is Format.CSV else "line"

    @property
    def size(self) -> int | None:
        """Size in bytes; None if it is not a regular file, and can be read only once."""
        if self.path == STDIN:
            return None
        state = Path(self.path).stat()
        return state.st_size if stat.S_ISREG(state.st_mode) else None

    @property
    def read_so_far(self) -> int:
        """Bytes read so far."""
        return 0 if self._meter is None else self._meter.read_so_far

    def identity(self) -> dict[str, Any] | None:
        """Return what identifies the file when a push is resumed; None if it can be read only once."""
        size = self.size
        if size is None:
            return None
        with Path(self.path).open("rb") as file:
            digest = hashlib.sha256(file.read(SAMPLE))
            file.seek(max(size - SAMPLE, 0))
            digest.update(file.read(SAMPLE))
        return {"file": self.name, "size": size, "digest": digest.hexdigest()}

    def documents(self) -> Iterator[tuple[int, bytes]]:
        """Iterate over its documents: the line or row where each starts, from 1, and the document as a line of JSON.

        Raises:
            CliError: it cannot be read, or is not of its format.
        """
        broken = BROKEN
        try:
            self._meter = Meter(self._opened())
            with io.BufferedReader(self._meter, BLOCK) as stream:
                opened, broken = decompressed(stream, self.name)
                yield from self._with_hint(self._reader()(as_utf8(opened)))
        except broken as error:
            raise CliError(f"{self.name} cannot be read: {_reason(error)}") from error

    def _with_hint(self, documents: Iterator[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
        """Yield the documents; set a hint if there is only one, which seems to wrap the actual documents."""
        count = 0
        only = b""
        for place, line in documents:
            count += 1
            only = line if count == 1 and len(line) <= WRAPPER else b""
            yield place, line
        self.hint = hints.of_wrapped(self.name, only) if count == 1 and only and self.form is not Format.CSV else ""

    def _opened(self) -> Any:
        return _stdin() if self.path == STDIN else Path(self.path).open("rb", buffering=0)

    def _reader(self) -> Callable[[BinaryIO], Iterator[tuple[int, bytes]]]:
        if self.form is Format.CSV:
            return self._rows
        if self.form is Format.JSON:
            return lambda stream: json_values.documents(stream, self.name)
        return lambda stream: json_lines.documents(stream, self.name)

    def _rows(self, stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
        return rows.documents(
            stream,
            self.name,
            self.columns,
            delimiter=self.delimiter,
            is_tab_separated=_ending(self.path) == ".tsv",
            aside=self._kept_aside if self.is_lenient else None,
        )

    def _kept_aside(self, row: int, what: str) -> None:
        """Report a row that the server will reject; once per row, up to MOST_REPORTED."""
        if row not in self._reported and len(self._reported) < MOST_REPORTED:
            self._reported.add(row)
            sys.stderr.write(f"{self.name}, row {row}: {what}; it is kept aside\n")


def _ending(path: str) -> str:
    name = Path(path)
    return (Path(name.stem) if name.suffix.lower() in _COMPRESSED else name).suffix.lower()


def _delimiter(said: str | None) -> str | None:
    if said is None:
        return None
    letter = {"\\t": "\t", "tab": "\t"}.get(said, said)
    if len(letter) != 1 or letter in '"\r\n':
        raise CliError(f"{said!r} is no delimiter: it is one character, or 'tab'", code=ExitCode.USAGE)
    return letter


def _stdin() -> Any:
    stream = sys.stdin.buffer
    return getattr(stream, "raw", stream)


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        encoding = "UTF-8" if error.encoding.startswith("utf-8") else error.encoding.upper()
        return f"it is not {encoding} ({error}); 'iconv -f ENCODING -t UTF-8' converts it"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or os.strerror(5)
