"""Documents, bodies and the ways to write, cut and encode them, for tests."""

import gzip
import json
import sys
import zlib
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from hypothesis import strategies as st

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()

#: Any JSON value.
VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
#: Any JSON object.
DOCUMENTS = st.dictionaries(st.text(max_size=5), VALUES, max_size=5)


def line_of(document: Any) -> bytes:
    """A document as one line, with its LF."""
    return json.dumps(document, ensure_ascii=False).encode() + b"\n"


@st.composite
def spellings(draw: st.DrawFn, value: Any) -> str:
    """One of the many ways to write a JSON value: key order, white space, escapes, forms of numbers."""
    gap = draw(st.sampled_from(["", " ", "\t", "\n "]))
    match value:
        case dict():
            keys = draw(st.permutations(list(value)))
            members = [f"{draw(spellings(key))}{gap}:{gap}{draw(spellings(value[key]))}" for key in keys]
            return f"{{{gap}{f'{gap},{gap}'.join(members)}{gap}}}"
        case list():
            return f"[{gap}{f'{gap},{gap}'.join(draw(spellings(item)) for item in value)}{gap}]"
        case str():
            return draw(st.sampled_from([json.dumps(value), json.dumps(value, ensure_ascii=False), _escaped(value)]))
        case float():
            return draw(st.sampled_from([repr(value), f"{value:.17e}", f"{value:.20E}"]))
        case _:
            return json.dumps(value)


def _escaped(text: str) -> str:
    units = text.encode("utf-16-be")
    return '"' + "".join(f"\\u{units[at]:02X}{units[at + 1]:02x}" for at in range(0, len(units), 2)) + '"'


@st.composite
def cuttings(draw: st.DrawFn, data: bytes, *, most: int = 8) -> list[bytes]:
    """Data in pieces, cut anywhere; some may be empty."""
    return cut_at(data, draw(st.lists(st.integers(0, len(data)), max_size=most)))


def cut_at(data: bytes, places: list[int]) -> list[bytes]:
    """Data cut at places."""
    return [data[start:end] for start, end in pairwise([0, *sorted(places), len(data)])]


def bytewise(data: bytes) -> Iterator[bytes]:
    """Data in pieces of one byte."""
    return (data[at : at + 1] for at in range(len(data)))


def raw_deflated(data: bytes) -> bytes:
    """Data deflated without a frame, as some clients understand ``deflate``."""
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def zstd_compressed(data: bytes) -> bytes:
    """Data as a Zstandard frame with a checksum."""
    return zstd.compress(data, options={zstd.CompressionParameter.checksum_flag: 1})


def zeros(encoding: str, size: int) -> bytes:
    """So many zero bytes, encoded: a bomb."""
    packer = zlib.compressobj(1, wbits=zlib.MAX_WBITS | 16) if encoding == "gzip" else zstd.ZstdCompressor(1)
    block = bytes(1 << 24)
    return b"".join([*(packer.compress(block) for _ in range(size >> 24)), packer.flush()])


def halves(data: bytes) -> tuple[bytes, bytes]:
    """Data in two."""
    return data[: len(data) // 2], data[len(data) // 2 :]


#: Ways to encode a body: the name of the encoding, and how.
ENCODINGS = {
    "plain": ("identity", bytes),
    "gzip": ("gzip", gzip.compress),
    "gzip in two members": ("gzip", lambda data: b"".join(map(gzip.compress, halves(data)))),
    "deflate": ("deflate", zlib.compress),
    "deflate without frame": ("deflate", raw_deflated),
    "zstd": ("zstd", zstd_compressed),
    "zstd in two frames": ("zstd", lambda data: b"".join(map(zstd_compressed, halves(data)))),
}
