"""Detects compression and Unicode encodings by a file's first bytes, and decodes them."""

from __future__ import annotations

import codecs
import gzip
import io
import sys
import zlib
from typing import Any, BinaryIO, cast

from headwater_client.cli.errors import CliError

#: Size of reads in bytes.
BLOCK = 1 << 20
#: Exceptions raised when reading a corrupt file.
BROKEN = (OSError, EOFError, zlib.error, UnicodeDecodeError)

_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
# Skippable frames have sixteen signatures, 50 to 5f 2a 4d 18 (RFC 8878, 3.1.2); pzstd files start with one.
_SKIPPABLE = b"\x2a\x4d\x18"
#: Unsupported formats by their first bytes: the format, and the tool that unpacks it.
_OTHERS = {
    b"\xfd7zXZ\x00": ("xz", "xz -d"),
    b"BZh": ("bzip2", "bzip2 -d"),
    b"PK\x03\x04": ("zip, or a spreadsheet", "unzip, or save the spreadsheet as CSV"),
    b"\x04\x22\x4d\x18": ("lz4", "lz4 -d"),
}
_BZIP2_BLOCK = b"1AY&SY"
# UTF-32 first: its little-endian mark starts with that of UTF-16.
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_HEAD = 10


def decompressed(
    stream: io.BufferedReader[Any], name: str
) -> tuple[io.BufferedReader[Any], tuple[type[Exception], ...]]:
    """Return the decompressed file, and the exceptions raised when it is corrupt.

    Raises:
        CliError: it is compressed by an unsupported format.
    """
    head = _head(stream)
    if head.startswith(_GZIP):
        return io.BufferedReader(cast("Any", gzip.GzipFile(fileobj=stream)), BLOCK), BROKEN
    if head.startswith(_ZSTD) or (head[1:4] == _SKIPPABLE and head[0] >> 4 == 5):  # noqa: PLR2004 - see above
        unpacked, error = _zstd(stream, name)
        return io.BufferedReader(unpacked, BLOCK), (*BROKEN, error)
    for begin, (format_, by) in _OTHERS.items():
        if head.startswith(begin) and (begin != b"BZh" or head[4:] == _BZIP2_BLOCK):
            raise CliError(f"{name} is compressed by {format_}, which is not read: {by} unpacks it")
    return stream, BROKEN


def as_utf8(stream: io.BufferedReader[Any]) -> BinaryIO:
    """Return a file transcoded to UTF-8, if it has a byte-order mark of UTF-16 or UTF-32; otherwise unchanged."""
    head = _head(stream)
    encoding = next((encoding for mark, encoding in _MARKS.items() if head.startswith(mark)), None)
    if encoding is None:
        return cast("BinaryIO", stream)
    return cast("BinaryIO", io.BufferedReader(_Transcoded(stream, encoding), BLOCK))


def _head(stream: io.BufferedReader[Any]) -> bytes:
    """Peek at the first bytes; there may be fewer."""
    return stream.peek(_HEAD)[:_HEAD]


def _zstd(stream: BinaryIO, name: str) -> tuple[Any, type[Exception]]:
    if sys.version_info >= (3, 14):
        from compression import zstd  # noqa: PLC0415 - rarely needed
    else:
        try:
            from backports import zstd  # noqa: PLC0415 - likewise
        except ImportError as error:
            raise CliError(f"{name} is compressed by zstd: headwater-client with its extra 'cli' reads it") from error
    return zstd.ZstdFile(stream), zstd.ZstdError


class _Transcoded(io.RawIOBase):
    """A file transcoded to UTF-8."""

    def __init__(self, stream: io.BufferedReader[Any], encoding: str) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._held = b""
        self._is_read = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._held and not self._is_read:
            read = self._stream.read1(BLOCK)
            self._is_read = not read
            self._held = self._decoder.decode(read, final=self._is_read).encode()
        count = min(len(buffer), len(self._held))
        buffer[:count] = self._held[:count]
        self._held = self._held[count:]
        return count
