from datetime import UTC, datetime

import pytest

from headwater.domain.log_line import LONGEST_TEXT, LogLevel, LogLine, level_of, parsed, stored

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("raw", "level", "text"),
    [
        (b"page 1 of 20\r", LogLevel.INFO, "page 1 of 20"),
        (b'{"text": "gone", "level": "ERROR"}', LogLevel.ERROR, "gone"),
        (b'{"text": "gone", "level": 30}', LogLevel.WARNING, "gone"),
        # JSON, but no line of a log: text.
        (b'{"message": "gone"}', LogLevel.INFO, '{"message": "gone"}'),
        (b'{"text": 3}', LogLevel.INFO, '{"text": 3}'),
        (b"{broken", LogLevel.INFO, "{broken"),
        (b"f\xffr", LogLevel.INFO, "f\ufffdr"),
        (b'{"text": "nul \\u0000 and half \\ud800"}', LogLevel.INFO, '{"text": "nul \\u0000 and half \\ud800"}'),
        (b'{"text": "nul \\u0000"}', LogLevel.INFO, "nul \ufffd"),
    ],
)
def test_a_line_is_text_or_json_with_a_text(raw, level, text):
    line = parsed(raw, at=AT)
    assert (line.at, line.level, line.text) == (AT, level, text)


@pytest.mark.parametrize("raw", [b"", b"  \r", b"\t"])
def test_an_empty_line_is_none(raw):
    assert parsed(raw, at=AT) is None


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ('"2026-03-01T10:00:00+02:00"', datetime(2026, 3, 1, 8, tzinfo=UTC)),
        ('"2026-03-01T10:00:00"', datetime(2026, 3, 1, 10, tzinfo=UTC)),
        ("1772359200.5", datetime(2026, 3, 1, 10, 0, 0, 500_000, tzinfo=UTC)),
        ('"yesterday"', AT),
        ("1e300", AT),
        ("null", AT),
    ],
)
def test_a_lines_moment_is_its_own_where_it_can_be_read(at, expected):
    assert parsed(b'{"text": "x", "at": %b}' % at.encode(), at=AT).at == expected


def test_a_long_line_is_cut_and_long_fields_are_left_out():
    assert parsed(b"x" * (LONGEST_TEXT + 1), at=AT).text == "x" * (LONGEST_TEXT - 2) + " …"
    assert parsed(b'{"text": "x", "body": "%b"}' % (b"y" * LONGEST_TEXT), at=AT).fields == {"truncated": True}


def test_what_is_stored_is_read_as_it_was():
    line = parsed(b'{"text": "gone", "level": "warn", "status": 404, "at": "2026-03-01T10:00:00Z"}', at=AT)
    assert stored(line.encoded(), otherwise=AT) == line
    assert line.fields == {"status": 404}


def test_a_line_that_a_crash_has_damaged_is_text():
    broken = b'{"at":"2026-03-01T{"at":"2026-03-01T10:00:00Z","level":"info","text":"x"}\n'
    assert stored(broken, otherwise=AT).text.startswith('{"at":"2026-03-01T{')


@pytest.mark.parametrize(
    ("value", "level"),
    [
        ("fatal", "critical"),
        ("Warn", "warning"),
        (" info ", "info"),
        ("loud", "info"),
        (5, "debug"),
        (99, "critical"),
        (None, "info"),
        (True, "info"),
    ],
)
def test_levels_go_by_several_names(value, level):
    assert level_of(value) == level


def test_lines_are_compared_by_level():
    line = LogLine(at=AT, level=LogLevel.WARNING, text="")
    assert [line.is_at_least(level) for level in LogLevel] == [True, True, True, False, False]
