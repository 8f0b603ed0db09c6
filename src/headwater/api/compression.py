"""Response compression: negotiation (RFC 9110, 12.5.3) and streaming compressors."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from enum import StrEnum
from typing import Any, Protocol, cast

from isal import isal_zlib

if sys.version_info >= (3, 14):
    from compression.zstd import ZstdCompressor
else:
    from backports.zstd import ZstdCompressor

_GZIP_LEVEL = 2
_ZSTD_LEVEL = 2
_GZIP_WBITS = 31

_MEMBER = re.compile(
    r"[ \t]*(?P<name>[!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*"
    r"(?:;[ \t]*[qQ]=(?P<weight>0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*)?"
)
#: A historic alias (RFC 9110, 8.4.1.3).
_ALIASES = {"x-gzip": "gzip"}


class Encoding(StrEnum):
    """Content encodings of responses, in order of preference among equal quality values."""

    ZSTD = "zstd"
    GZIP = "gzip"
    IDENTITY = "identity"

    @property
    def headers(self) -> dict[str, str]:
        """Headers of a response that was subject to negotiation."""
        vary = {"Vary": "Accept-Encoding"}
        return vary if self is Encoding.IDENTITY else {"Content-Encoding": self.value} | vary


def negotiated(accepted: str | None) -> Encoding:
    """Return the encoding for an ``Accept-Encoding`` header, multiple headers joined by commas.

    Malformed parts are ignored. If no supported encoding is accepted, the response is not encoded, even if the
    client rejects identity: that serves it better than an error.
    """
    weights: dict[str, float] = {}
    for member in (accepted or "").split(","):
        if found := _MEMBER.fullmatch(member):
            name = found["name"].lower()
            weights[_ALIASES.get(name, name)] = float(found["weight"] or 1)
    best = max(Encoding, key=lambda encoding: weights.get(encoding, weights.get("*", 0)))
    return best if weights.get(best, weights.get("*", 0)) else Encoding.IDENTITY


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


async def encoded(pieces: AsyncIterator[bytes], encoding: Encoding) -> AsyncIterator[bytes]:
    """Yield the pieces of a response compressed, in threads; no piece is empty."""
    if encoding is Encoding.IDENTITY:
        async for piece in pieces:
            if piece:
                yield piece
        return
    compressor = _compressor(encoding)
    async for piece in pieces:
        if packed := await asyncio.to_thread(compressor.compress, piece):
            yield packed
    yield await asyncio.to_thread(compressor.flush)


def _compressor(encoding: Encoding) -> _Compressor:
    if encoding is Encoding.GZIP:
        # Any: the library's stubs are incomplete.
        return cast("Any", isal_zlib).compressobj(level=_GZIP_LEVEL, wbits=_GZIP_WBITS)
    return ZstdCompressor(level=_ZSTD_LEVEL)
