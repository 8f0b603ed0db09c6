import re
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.domain.download_name import LONGEST, attachment

ENDING = "-v12.csv"
FORM = re.compile(
    r"attachment; filename=\"(?P<plain>[A-Za-z0-9._-]+)\"(; filename\*=UTF-8''(?P<whole>[A-Za-z0-9._~%-]+))?"
)


def _names(header):
    """The ASCII file name, and the one that a browser takes."""
    found = FORM.fullmatch(header)
    return found["plain"], unquote(found["whole"] or found["plain"], errors="strict")


@pytest.mark.parametrize(
    ("name", "plain", "whole"),
    [
        ("Books", "Books", "Books"),
        ("Kitchen shop (2026)", "Kitchen-shop-2026", "Kitchen-shop-2026"),
        ("Ünsere Bücher", "nsere-B-cher", "Ünsere-Bücher"),
        ("本の流れ", "fid", "本の流れ"),
        ("", "fid", "fid"),
        ("..", "fid", "fid"),
        ("../../etc/passwd", "etc-passwd", "etc-passwd"),
        ('a"; filename="b', "a-filename-b", "a-filename-b"),
        ("a\r\nSet-Cookie: x=1", "a-Set-Cookie-x-1", "a-Set-Cookie-x-1"),
        ("a\u202egpj.exe\u200b", "a-gpj.exe", "a-gpj.exe"),
        ("50% off", "50-off", "50-off"),
        ("x" * 500, "x" * LONGEST, "x" * LONGEST),
        ("-" * 500, "fid", "fid"),
    ],
)
def test_a_stream_gives_its_name_to_the_file(name, plain, whole):
    assert _names(attachment(name, "fid", ENDING)) == (plain + ENDING, whole + ENDING)


@given(name=st.text(max_size=700))
def test_whatever_a_stream_is_called_the_file_name_is_bounded_and_keeps_its_ending(name):
    header = attachment(name, "fid", ENDING)
    for found in _names(header):
        assert found.endswith(ENDING)
        assert len(found.encode()) <= LONGEST + len(ENDING)
        assert not set(found) & set('/\\:*?"<>|\r\n\0 ')
    assert header.isascii()
    assert len(header) < 1000
