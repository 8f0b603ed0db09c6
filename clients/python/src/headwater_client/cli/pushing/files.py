"""Files of documents: plain or compressed, of a form that their name tells."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import stat
import sys
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Callable, cast

from headwater_client.cli.endings import Code, Refusal
from headwater_client.cli.pushing import json_lines, json_values, rows
from headwater_client.cli.pushing.forms import Form

#: By the ending of a name.
FORMS = {
    ".ndjson": Form.NDJSON,
    ".jsonl": Form.NDJSON,
    ".jsonlines": Form.NDJSON,
    ".json": Form.JSON,
    ".csv": Form.CSV,
    ".tsv": Form.CSV,
}
FORMS_SAID = tuple(form.value for form in Form)
STDIN = "-"
#: Bytes that are read at a time.
BLOCK = 1 << 20
#: Bytes of the beginning and of the end of a file by which it is known again.
SAMPLE = 1 << 20

_COMPRESSED = {".gz", ".zst", ".zstd"}
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_BROKEN = (OSError, EOFError, zlib.error, UnicodeDecodeError)


class Meter(io.RawIOBase):
    """A file that tells how much of it was read."""

    def __init__(self, file: Any) -> None:
        """Read ``file``."""
        self._file = file
        #: Bytes that were read.
        self.read_so_far = 0

    def readable(self) -> bool:
        """It can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what there is."""
        count = self._file.readinto(buffer) or 0
        self.read_so_far += count
        return count

    def close(self) -> None:
        """Close the file, unless it is stdin, which is not ours."""
        if self._file is not _stdin():
            self._file.close()
        super().close()


@dataclass
class File:
    """A file of documents, or stdin."""

    path: str
    form: Form
    #: Of a CSV file.
    delimiter: str = ","
    #: By column of a CSV file, what kind of value it holds.
    kinds: Mapping[str, str] = field(default_factory=dict[str, str])
    _meter: Meter | None = field(default=None, init=False, repr=False, compare=False)

    @classmethod
    def named(cls, path: str, form: Form | None, delimiter: str | None) -> File:
        """Return the file of that name.

        Raises:
            Refusal: it is not there, or its name does not tell its form.
        """
        ending = _ending(path)
        said = form or (Form.NDJSON if path == STDIN else FORMS.get(ending))
        if path != STDIN and not Path(path).exists():
            raise Refusal(f"there is no file {path}")
        if path != STDIN and Path(path).is_dir():
            raise Refusal(f"{path} is a directory")
        if said is None:
            raise Refusal(
                f"the name of {path} does not tell what is in it: --format says it, {', '.join(FORMS_SAID)}",
                code=Code.USAGE,
            )
        if delimiter is not None and said is not Form.CSV:
            raise Refusal("--delimiter is for CSV", code=Code.USAGE)
        return cls(path, said, _delimiter(delimiter) or ("\t" if ending == ".tsv" else ","))

    @property
    def name(self) -> str:
        """What it is called, for people."""
        return "stdin" if self.path == STDIN else Path(self.path).name

    @property
    def unit(self) -> str:
        """What its places count."""
        return "row" if self.form is Form.CSV else "line"

    @property
    def size(self) -> int | None:
        """Bytes on the disk; None if it cannot be told beforehand, and the file be read but once."""
        if self.path == STDIN:
            return None
        state = Path(self.path).stat()
        return state.st_size if stat.S_ISREG(state.st_mode) else None

    @property
    def read_so_far(self) -> int:
        """Bytes of it that were read."""
        return 0 if self._meter is None else self._meter.read_so_far

    def identity(self) -> dict[str, Any] | None:
        """Return what the file is known by when it comes again; None if it can be read but once."""
        size = self.size
        if size is None:
            return None
        with Path(self.path).open("rb") as file:
            digest = hashlib.sha256(file.read(SAMPLE))
            file.seek(max(size - SAMPLE, 0))
            digest.update(file.read(SAMPLE))
        return {"file": self.name, "size": size, "digest": digest.hexdigest()}

    def documents(self) -> Iterator[tuple[int, bytes]]:
        """Iterate over its documents: the line or row where each begins, from 1, and the document as a line of JSON.

        Raises:
            Refusal: it cannot be read, or is not of its form.
        """
        broken = _BROKEN
        try:
            self._meter = Meter(self._opened())
            with io.BufferedReader(self._meter, BLOCK) as stream:
                opened, broken = _decompressed(stream, self.name)
                yield from self._reader()(opened)
        except broken as error:
            raise Refusal(f"{self.name} cannot be read: {_said(error)}") from error

    def _opened(self) -> Any:
        return _stdin() if self.path == STDIN else Path(self.path).open("rb", buffering=0)

    def _reader(self) -> Callable[[BinaryIO], Iterator[tuple[int, bytes]]]:
        if self.form is Form.CSV:
            return lambda stream: rows.documents(stream, self.name, self.delimiter, self.kinds)
        if self.form is Form.JSON:
            return lambda stream: json_values.documents(stream, self.name)
        return json_lines.documents


def _ending(path: str) -> str:
    name = Path(path)
    return (Path(name.stem) if name.suffix.lower() in _COMPRESSED else name).suffix.lower()


def _delimiter(said: str | None) -> str | None:
    if said is None:
        return None
    letter = {"\\t": "\t", "tab": "\t"}.get(said, said)
    if len(letter) != 1 or letter in '"\r\n':
        raise Refusal(f"{said!r} is no delimiter: it is one character, or 'tab'", code=Code.USAGE)
    return letter


def _stdin() -> Any:
    stream = sys.stdin.buffer
    return getattr(stream, "raw", stream)


def _decompressed(stream: io.BufferedReader[Meter], name: str) -> tuple[BinaryIO, tuple[type[Exception], ...]]:
    """Return what a file holds, and what can go wrong in reading it: its first bytes tell whether it is compressed."""
    head = stream.peek(len(_ZSTD))
    if head.startswith(_GZIP):
        unpacked: Any = gzip.GzipFile(fileobj=stream)
    elif head.startswith(_ZSTD):
        unpacked, error = _zstd(stream, name)
        return cast("BinaryIO", io.BufferedReader(unpacked, BLOCK)), (*_BROKEN, error)
    else:
        return stream, _BROKEN
    return cast("BinaryIO", io.BufferedReader(unpacked, BLOCK)), _BROKEN


def _zstd(stream: BinaryIO, name: str) -> tuple[Any, type[Exception]]:
    if sys.version_info >= (3, 14):
        from compression import zstd  # noqa: PLC0415 - most files need it not
    else:
        try:
            from backports import zstd  # noqa: PLC0415 - likewise
        except ImportError as error:
            raise Refusal(f"{name} is compressed by zstd: pip install 'headwater-client[cli]' reads it") from error
    return zstd.ZstdFile(stream), zstd.ZstdError


def _said(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"it is not UTF-8 ({error}); 'iconv -t UTF-8' makes it so"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or os.strerror(5)
