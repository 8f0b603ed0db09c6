"""Streaming decompression of content encodings, in bounded pieces however far a body expands."""

import sys
import zlib
from collections.abc import Iterator
from typing import Any, Protocol, cast

from isal import igzip_lib, isal_zlib

from headwater.domain.errors import EncodingUnknown, Flaw, UploadBroken

if sys.version_info >= (3, 14):
    from compression.zstd import DecompressionParameter, ZstdDecompressor, ZstdError
else:
    from backports.zstd import DecompressionParameter, ZstdDecompressor, ZstdError

#: The supported encodings, as ``Accept-Encoding`` lists them.
ENCODINGS = ("gzip", "deflate", "zstd")

# Any: the library's stubs are incomplete.
_inflate = cast("Any", isal_zlib).decompressobj
_INFLATE_ERRORS = (cast("Any", igzip_lib).IsalError, zlib.error)

# Flags of a gzip header (RFC 1952, 2.3.1).
_IS_TEXT = 1
_ONE_FIELD_OR_NONE = (0, 4, 8, 16)

# The sender chooses how much memory its decoder needs; RFC 9659 limits that to 8 MiB over HTTP.
_ZSTD_OPTIONS: dict[int, int] = {DecompressionParameter.window_log_max: 23}

#: Maximum bytes of a decompressed piece.
PIECE = 1 << 20


class Decompressor(Protocol):
    """A streaming decompressor."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the decompressed pieces of ``data``.

        Raises:
            UploadBroken: the data is corrupt.
        """
        ...

    def finish(self) -> None:
        """Signal the end of the body.

        Raises:
            UploadBroken: the body is truncated.
        """
        ...


def decompressor(encoding: str | None) -> Decompressor:
    """Return the decompressor for a ``Content-Encoding``.

    Raises:
        EncodingUnknown: it is not supported.
    """
    match (encoding or "identity").strip().lower():
        case "identity":
            return _Identity()
        case "gzip" | "x-gzip":
            return _Zlib("gzip")
        case "deflate":
            return _Zlib("deflate")
        case "zstd":
            return _Zstd()
        case other:
            raise EncodingUnknown(
                f"Content-Encoding {other!r} is not supported; send one of {', '.join(ENCODINGS)}, or the plain body"
            )


class _Identity:
    def feed(self, data: bytes) -> Iterator[bytes]:
        yield data

    def finish(self) -> None:
        pass


class _Zlib:
    """gzip, with any number of members; and deflate, with its zlib header or, as some clients send it, without.

    Zero bytes after a gzip member are padding, which tapes and block devices add; ``gzip`` ignores them as well.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        #: Bytes that are needed to detect the header.
        self._telling = 4 if name == "gzip" else 2
        self._stream: Any = None
        self._begin = b""
        self._taken = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._stream is None:
                data = self._begun(data)
                if self._stream is None:
                    return
            stream = self._stream
            try:
                piece = stream.decompress(data, PIECE)
                while piece or stream.unconsumed_tail:
                    if piece:
                        yield piece
                    piece = stream.decompress(stream.unconsumed_tail, PIECE)
            except _INFLATE_ERRORS as error:
                raise _broken(self._name, self._taken, str(error)) from error
            self._taken += len(data) - len(stream.unused_data)
            if not stream.eof:
                return
            self._stream = None
            data = stream.unused_data

    def finish(self) -> None:
        if self._stream is not None or self._begin or not self._taken:
            raise _cut_short(self._name, self._taken + len(self._begin))

    def _begun(self, data: bytes) -> bytes:
        """Start a stream once the header is detected; return the bytes to feed to it."""
        if self._taken and self._name == "deflate":
            raise _broken(self._name, self._taken, "there is more behind its end")
        if self._taken and not self._begin:
            data = self._without_padding(data)
        data = self._begin + data
        if len(data) < self._telling:
            self._begin = data
            return b""
        self._begin = b""
        self._stream = self._gunzip(data) if self._name == "gzip" else self._deframe(data)
        return data

    def _without_padding(self, data: bytes) -> bytes:
        rest = data.lstrip(b"\0")
        self._taken += len(data) - len(rest)
        return rest

    def _gunzip(self, data: bytes) -> Any:
        if data[:2] != b"\x1f\x8b":
            raise _broken("gzip", self._taken, "it does not begin with the gzip signature 1f 8b")
        # isal 1.9 mishandles a header with a checksum or several fields that is split across chunks.
        is_simple = data[3] & ~_IS_TEXT in _ONE_FIELD_OR_NONE
        return (_inflate if is_simple else zlib.decompressobj)(wbits=zlib.MAX_WBITS | 16)

    def _deframe(self, data: bytes) -> Any:
        framed = data[0] & 0x0F == 8 and int.from_bytes(data[:2]) % 31 == 0  # noqa: PLR2004 - RFC 1950, 2.2
        return _inflate(wbits=zlib.MAX_WBITS if framed else -zlib.MAX_WBITS)


class _Zstd:
    def __init__(self) -> None:
        self._stream: ZstdDecompressor | None = None
        self._taken = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data:
            stream = self._stream = self._stream or ZstdDecompressor(options=_ZSTD_OPTIONS)
            try:
                piece = stream.decompress(data, PIECE)
                yield piece
                while not stream.eof and not stream.needs_input:
                    yield stream.decompress(b"", PIECE)
            except ZstdError as error:
                raise _broken("zstd", self._taken, str(error)) from error
            self._taken += len(data) - (len(stream.unused_data) if stream.eof else 0)
            if not stream.eof:
                return
            self._stream = None
            data = stream.unused_data

    def finish(self) -> None:
        if self._stream is not None or not self._taken:
            raise _cut_short("zstd", self._taken)


def _broken(name: str, offset: int, why: str) -> UploadBroken:
    detail = f"the body is not valid {name}: {why}"
    return UploadBroken(
        f"{detail} (near byte {offset} of the encoded body); nothing of it was kept",
        flaws=[Flaw(detail=detail, keyword=name)],
    )


def _cut_short(name: str, taken: int) -> UploadBroken:
    detail = f"the {name} body ends in the middle, after {taken} bytes" if taken else f"the {name} body is empty"
    return UploadBroken(
        f"{detail}; nothing of it was kept: send it again, whole", flaws=[Flaw(detail=detail, keyword=name)]
    )
