import gzip
import random
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budget import examples
from documents import cuttings
from headwater.api.compression import Encoding, encoded, negotiated

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

DECODED = {Encoding.ZSTD: zstd.decompress, Encoding.GZIP: gzip.decompress, Encoding.IDENTITY: bytes}


async def _each(pieces):
    for piece in pieces:
        yield piece


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        (None, "identity"),
        ("", "identity"),
        ("gzip", "gzip"),
        ("zstd", "zstd"),
        ("x-gzip", "gzip"),
        ("GZip", "gzip"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip, deflate", "gzip"),
        ("br, deflate", "identity"),
        ("*", "zstd"),
        ("zstd;q=0, *", "gzip"),
        ("*;q=0.5, gzip", "gzip"),
        ("gzip;q=1.0, zstd;q=0.5", "gzip"),
        ("gzip; Q=0.2 , zstd ;q=0.201", "zstd"),
        ("gzip;q=0.001", "gzip"),
        ("identity", "identity"),
        ("identity, gzip", "gzip"),
        ("identity;q=0.5, gzip;q=0.4", "identity"),
        ("identity;q=0.5, *;q=0.4", "identity"),
        ("identity;q=0, gzip", "gzip"),
        ("gzip;q=0", "identity"),
        ("gzip;q=0, zstd;q=0.000, *", "identity"),
        ("identity;q=0, *;q=0", "identity"),
        ("identity;q=0", "identity"),
        (",, gzip,", "gzip"),
    ],
)
def test_the_encoding_that_is_liked_best_is_chosen(accepted, encoding):
    assert negotiated(accepted) == encoding


@pytest.mark.parametrize(
    "garbage",
    ["gzip zstd", "gzip;q=2", "gzip;q=-1", "gzip;q=1.5", "gzip;q=nan", "gzip;q=", "gzip;level=9", ";q=1", "\x00"],
)
def test_what_cannot_be_read_counts_for_nothing(garbage):
    assert negotiated(garbage) == "identity"
    assert negotiated(f"{garbage}, gzip") == "gzip"


@given(st.text())
def test_any_header_has_an_encoding(accepted):
    assert negotiated(accepted) in Encoding


@pytest.mark.parametrize("encoding", Encoding)
@settings(max_examples=examples(60), deadline=None)
@given(data=st.data(), repeats=st.integers(0, 2))
async def test_the_standard_tools_decode_what_was_encoded(encoding, data, repeats):
    pieces = data.draw(cuttings(data.draw(st.binary(max_size=200)) * 100**repeats))
    packed = [piece async for piece in encoded(_each(pieces), encoding)]
    assert DECODED[encoding](b"".join(packed)) == b"".join(pieces)
    assert all(packed)


@pytest.mark.parametrize("encoding", Encoding)
async def test_many_small_and_empty_pieces_make_one_whole(encoding):
    pieces = [b"", b"a", b"", b"bc"] * 500
    packed = b"".join([piece async for piece in encoded(_each(pieces), encoding)])
    assert DECODED[encoding](packed) == b"abc" * 500


@pytest.mark.parametrize("encoding", Encoding)
async def test_what_went_in_has_come_out_before_more_goes_in(encoding):
    rng, taken, given_out = random.Random(1), 0, 0

    async def source():
        nonlocal taken
        for _ in range(32):
            assert taken - given_out < 1 << 20
            taken += 1 << 18
            yield rng.randbytes(1 << 18)  # which no encoding makes smaller

    async for piece in encoded(source(), encoding):
        given_out += len(piece)
    assert given_out >= taken


async def test_an_answer_that_breaks_off_has_no_end():
    async def source():
        yield random.Random(1).randbytes(1 << 18)
        raise FileNotFoundError

    packed = []

    async def read():
        async for piece in encoded(source(), Encoding.GZIP):
            packed.append(piece)  # noqa: PERF401 - what came before the fault is what we look at

    with pytest.raises(FileNotFoundError):
        await read()
    with pytest.raises(EOFError):
        gzip.decompress(b"".join(packed))


def test_an_answer_says_how_it_is_encoded_and_that_it_could_be_otherwise():
    assert Encoding.GZIP.headers == {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
    assert Encoding.IDENTITY.headers == {"Vary": "Accept-Encoding"}
