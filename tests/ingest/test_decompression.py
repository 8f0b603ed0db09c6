import gzip
import zlib
from itertools import chain

import pytest
from backports import zstd
from hypothesis import given, settings
from hypothesis import strategies as st

from budget import examples
from documents import ENCODINGS, bytewise, cuttings, raw_deflated, zeros, zstd_compressed
from headwater.domain.errors import EncodingUnknown, UploadBroken
from headwater.ingest.decompression import decompressor

GIB = 1 << 30
DATA = b"".join(b'{"id": "sku-%d", "price": %d.5}\n' % (number, number**3) for number in range(60))
ENCODED = {name: (encoding, encode(DATA)) for name, (encoding, encode) in ENCODINGS.items()}
#: Those that are one whole, so that no part of them is whole, and that tell when they were damaged.
CHECKED = {name: ENCODED[name] for name in ("gzip", "deflate", "zstd")}


def decoded(encoding, pieces):
    taken = decompressor(encoding)
    data = b"".join(chain.from_iterable(map(taken.feed, pieces)))
    taken.finish()
    return data


def outcome(encoding, body):
    """What a body, whole or in pieces, decodes to, or that it is broken; any other error is a failure."""
    try:
        return decoded(encoding, body if isinstance(body, list) else [body])
    except UploadBroken:
        return UploadBroken


@pytest.mark.parametrize(("encoding", "body"), ENCODED.values(), ids=ENCODED)
def test_a_body_that_is_fed_whole_is_decoded(encoding, body):
    assert decoded(encoding, [body]) == DATA


@pytest.mark.parametrize(("encoding", "body"), ENCODED.values(), ids=ENCODED)
def test_a_body_that_is_fed_byte_by_byte_is_decoded(encoding, body):
    assert decoded(encoding, bytewise(body)) == DATA


@pytest.mark.parametrize("name", ENCODINGS)
@settings(deadline=None, max_examples=examples(40))
@given(data=st.data(), content=st.binary(max_size=300))
def test_a_body_that_is_cut_anywhere_is_decoded(name, data, content):
    encoding, encode = ENCODINGS[name]
    assert decoded(encoding, data.draw(cuttings(encode(content)))) == content


@pytest.mark.parametrize(("encoding", "encode"), ENCODINGS.values(), ids=ENCODINGS)
def test_a_large_body_is_decoded(encoding, encode):
    content = b"".join(b"%d\n" % (number * number) for number in range(400_000))
    body = encode(content)
    assert decoded(encoding, [body[:1000], body[1000:]]) == content


@pytest.mark.parametrize(("encoding", "encode"), ENCODINGS.values(), ids=ENCODINGS)
def test_nothing_encoded_is_decoded_to_nothing(encoding, encode):
    assert decoded(encoding, [encode(b"")]) == b""


@pytest.mark.parametrize(("encoding", "encode"), [("gzip", gzip.compress), ("zstd", zstd_compressed)])
def test_any_number_of_members_is_one_body(encoding, encode):
    parts = [b"%d\n" % number for number in range(50)]
    assert decoded(encoding, bytewise(b"".join(map(encode, parts)))) == b"".join(parts)


def test_a_frame_that_is_to_be_skipped_is_skipped():
    skippable = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"12345"
    assert decoded("zstd", [zstd_compressed(b"a") + skippable + zstd_compressed(b"b")]) == b"ab"


@pytest.mark.parametrize("flags", range(32))
def test_a_gzip_header_may_have_any_fields_and_be_cut_anywhere(flags):
    plain = gzip.compress(b"content", mtime=0)
    header = plain[:3] + bytes([flags]) + plain[4:10]
    header += b"\x05\x00extra" if flags & 4 else b""
    header += b"docs.ndjson\0" if flags & 8 else b""
    header += b"a comment\0" if flags & 16 else b""
    header += zlib.crc32(header).to_bytes(4, "little")[:2] if flags & 2 else b""
    body = header + plain[10:]
    ways = [bytewise(body), *([body[:at], body[at:]] for at in range(len(body)))]
    assert {decoded("gzip", pieces) for pieces in ways} == {b"content"}


@pytest.mark.parametrize(("encoding", "body"), CHECKED.values(), ids=CHECKED)
def test_a_body_that_is_cut_short_is_broken_wherever_it_is_cut(encoding, body):
    assert {outcome(encoding, body[:end]) for end in range(len(body))} == {UploadBroken}


def test_a_deflated_body_without_frame_that_is_cut_short_is_broken():
    body = raw_deflated(DATA)
    assert {outcome("deflate", body[:end]) for end in range(len(body))} == {UploadBroken}


@pytest.mark.parametrize("name", ["gzip in two members", "zstd in two frames"])
def test_a_body_that_is_cut_short_in_its_second_member_is_broken(name):
    encoding, body = ENCODED[name]
    second = len(ENCODINGS[name][1](DATA)) // 2 + 40
    assert {outcome(encoding, body[:end]) for end in range(second, len(body))} == {UploadBroken}


@pytest.mark.parametrize(("encoding", "body"), CHECKED.values(), ids=CHECKED)
def test_a_flipped_bit_breaks_the_body_or_does_not_matter(encoding, body):
    outcomes = {
        outcome(encoding, bytes([*body[:at], body[at] ^ 1 << bit, *body[at + 1 :]]))
        for at in range(len(body))
        for bit in range(8)
    }
    assert UploadBroken in outcomes
    assert outcomes <= {UploadBroken, DATA}


@settings(deadline=None, max_examples=examples(300))
@given(
    st.sampled_from(
        [("gzip", b"\x1f\x8b\x08"), ("deflate", b""), ("deflate", b"x\x9c"), ("zstd", b"\x28\xb5\x2f\xfd")]
    ),
    st.binary(max_size=60),
)
def test_noise_is_broken_or_decoded_and_nothing_else_happens(beginning, noise):
    encoding, signature = beginning
    assert isinstance(outcome(encoding, signature + noise), bytes | type)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
def test_an_empty_body_is_broken(encoding):
    with pytest.raises(UploadBroken, match=f"the {encoding} body is empty"):
        decoded(encoding, [])


def test_an_empty_plain_body_is_fine():
    assert decoded(None, []) == b""


ENDED = ["gzip", "gzip in two members", "deflate", "deflate without frame", "zstd"]


@pytest.mark.parametrize("garbage", [b"x", b"\n", b"garbage", b"\x03\x00", b"\x1f", b"\x1f\x8b", b"\x28", b"\0\0x"])
@pytest.mark.parametrize("name", ENDED)
def test_anything_behind_the_end_breaks_the_body(name, garbage):
    encoding, body = ENCODED[name]
    assert outcome(encoding, body + garbage) is UploadBroken
    assert outcome(encoding, [*bytewise(body + garbage)]) is UploadBroken


@pytest.mark.parametrize("padding", [1, 3, 512, 1 << 20])
@pytest.mark.parametrize("name", ENDED)
def test_zeros_behind_the_end_are_padding_in_gzip_only(name, padding):
    encoding, body = ENCODED[name]
    assert outcome(encoding, body + bytes(padding)) == (DATA if encoding == "gzip" else UploadBroken)


@settings(deadline=None, max_examples=examples(60))
@given(data=st.data(), parts=st.lists(st.tuples(st.binary(max_size=40), st.integers(0, 20)), min_size=1, max_size=4))
def test_gzip_members_may_have_padding_between_them_wherever_the_body_is_cut(data, parts):
    body = b"".join(gzip.compress(content) + bytes(zeros) for content, zeros in parts)
    assert decoded("gzip", data.draw(cuttings(body))) == b"".join(content for content, _ in parts)
    assert gzip.decompress(body) == b"".join(content for content, _ in parts)


def test_zeros_before_the_first_gzip_member_break_the_body():
    assert outcome("gzip", b"\0" + ENCODED["gzip"][1]) is UploadBroken


@pytest.mark.parametrize("padding", [b"\0", b"\0" * 600])
def test_a_member_that_is_cut_short_behind_padding_is_broken(padding):
    begin, second = ENCODED["gzip"][1] + padding, gzip.compress(b"b")
    assert {outcome("gzip", begin + second[:end]) for end in range(1, len(second))} == {UploadBroken}


@pytest.mark.parametrize("magic", range(16))
def test_skippable_frames_may_stand_anywhere_and_alone(magic):
    skippable = bytes([0x50 + magic]) + b"\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"12345"
    frame = zstd_compressed(b"a")
    assert decoded("zstd", bytewise(skippable + skippable + frame + skippable)) == b"a"
    assert decoded("zstd", [skippable]) == b""
    assert {outcome("zstd", (frame + skippable)[:end]) for end in range(len(frame) + 1, len(frame) + 13)} == {
        UploadBroken
    }


def test_a_second_deflated_stream_breaks_the_body():
    assert outcome("deflate", zlib.compress(b"a") + zlib.compress(b"b")) is UploadBroken


@pytest.mark.parametrize("said", ["gzip", "deflate", "zstd"])
@pytest.mark.parametrize("name", ["plain", *CHECKED])
def test_a_body_in_another_encoding_than_was_said_is_broken(said, name):
    encoding, body = ENCODED[name]
    assert (outcome(said, body) is UploadBroken) is (encoding != said)


def test_a_broken_body_is_told_where_and_why():
    with pytest.raises(UploadBroken, match="not valid gzip: it does not begin with the gzip signature") as caught:
        decoded("gzip", [DATA])
    assert [flaw.keyword for flaw in caught.value.flaws] == ["gzip"]
    assert "near byte 0 " in caught.value.detail


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_bomb_comes_in_small_pieces(encoding):
    bomb = zeros(encoding, GIB)
    taken = decompressor(encoding)
    sizes = [len(piece) for piece in taken.feed(bomb)]
    taken.finish()
    assert sum(sizes) == GIB
    assert max(sizes) <= 4 << 20


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_bomb_goes_no_further_than_it_is_asked(encoding):
    pieces = decompressor(encoding).feed(zeros(encoding, 1 << 26))
    assert len(next(pieces)) <= 4 << 20


@pytest.mark.parametrize(
    ("said", "encoding"),
    [
        (None, "plain"),
        ("", "plain"),
        ("identity", "plain"),
        ("GZIP", "gzip"),
        (" gzip ", "gzip"),
        ("x-gzip", "gzip"),
        ("Deflate", "deflate"),
        ("zstd", "zstd"),
    ],
)
def test_an_encoding_may_be_said_in_several_ways(said, encoding):
    assert decoded(said, [ENCODED[encoding][1]]) == DATA


@pytest.mark.parametrize("encoding", ["br", "compress", "gzip, gzip", "gzip;q=1", "utf-8", "*"])
def test_another_encoding_is_refused_with_those_that_are_understood(encoding):
    with pytest.raises(EncodingUnknown, match="gzip, deflate, zstd"):
        decompressor(encoding)


def test_a_frame_that_asks_for_more_memory_than_http_allows_is_refused():
    frame = zstd.compress(bytes(64 << 20), options={zstd.CompressionParameter.window_log: 25})
    with pytest.raises(UploadBroken, match="too much memory"):
        list(decompressor("zstd").feed(frame))
