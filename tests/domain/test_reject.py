from dataclasses import replace

import pytest

from builders import AT
from headwater.domain.reject import LONGEST_TEXT, Reject, RejectKind, kept_of, mentions


def test_a_line_is_kept_up_to_64_kib_and_not_cut_within_a_character():
    assert kept_of(b"x" * LONGEST_TEXT) == b"x" * LONGEST_TEXT
    assert kept_of(b"x" * (LONGEST_TEXT + 1)) == b"x" * LONGEST_TEXT
    for before in range(4):
        kept = kept_of(b"x" * (LONGEST_TEXT - 4 + before) + "😀".encode() * 3)
        assert kept.decode().strip("x") in {"", "😀"}
        assert len(kept) >= LONGEST_TEXT - 3


def test_bytes_that_are_no_text_are_kept_as_they_are():
    line = b"\xff" * (LONGEST_TEXT + 5)
    assert kept_of(line) == line[:LONGEST_TEXT]


def test_text_that_is_not_utf8_is_told_from_text_that_is():
    reject = Reject(
        task="t",
        attempt=1,
        seq=1,
        upload=1,
        at=AT,
        kind=RejectKind.BROKEN,
        line=1,
        offset=0,
        flaws=[],
        doc_id=None,
        raw="é".encode(),
        size=2,
        arrived=0,
    )
    assert (reject.text, reject.is_whole) == ("é", True)
    latin = replace(reject, raw=b"\xe9", size=7)
    assert (latin.text, latin.is_whole) == (None, False)


@pytest.mark.parametrize(
    ("raw", "doc_id"),
    [
        (b'{"id": "sku-1", ', "sku-1"),
        (b'{"id": 12', "12"),
        (b'{"id": "\\u00fc"', "ü"),
        ('{"id": "ü"'.encode(), "ü"),
        (b'{"id": "a\\"b"', 'a"b'),
        (b"sku-1", "sku-1"),
    ],
)
def test_an_id_is_found_however_it_is_written(raw, doc_id):
    assert mentions(raw, doc_id)


@pytest.mark.parametrize(("raw", "doc_id"), [(b'{"id": "sku-10"', "sku-1"), (b"112", "12"), (b"", "a")])
def test_a_part_of_a_longer_word_is_no_id(raw, doc_id):
    assert not mentions(raw, doc_id)
