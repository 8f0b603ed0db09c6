from datetime import UTC, datetime, timedelta

import pytest

from headwater.console.formats import in_zone, many, number, relative, short, size, span, when

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_numbers_are_grouped_and_shortened_only_where_long():
    assert [number(1204), number(None), short(1310), short(2_104_332), short(250_000)] == [
        "1,204",
        "–",
        "1,310",
        "2.1 M",
        "250 k",
    ]
    assert [many(1, "run"), many(2, "run")] == ["1 run", "2 runs"]


def test_sizes_have_the_unit_that_fits():
    assert [size(0), size(999), size(1_500_000_000), size(123_400)] == ["0 B", "999 B", "1.5 GB", "123 kB"]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (0.117, "117 ms"), (59, "59 s"), (840, "14 min"), (7500, "2 h 5 min"), (200_000, "2 d 7 h")],
)
def test_spans_have_two_units_at_most(seconds, said):
    assert span(seconds) == said


@pytest.mark.parametrize(
    ("ago", "said"), [(0, "now"), (50, "50 s ago"), (-720, "in 12 min"), (7200, "2 h ago"), (260_000, "3 d ago")]
)
def test_times_are_told_from_now(ago, said):
    assert relative(NOW - timedelta(seconds=ago), NOW) == said


def test_a_time_has_the_exact_one_where_one_points():
    shown = when(NOW - timedelta(hours=2), NOW)
    assert shown == (
        '<time datetime="2026-03-01T10:00:00+00:00" data-form="relative" title="2026-03-01 10:00:00 UTC">2 h ago</time>'
    )


def test_a_time_of_a_schedule_is_told_in_the_schedules_zone():
    assert in_zone(NOW, "America/New_York") == (
        '<time datetime="2026-03-01T12:00:00+00:00" data-form="kept" title="2026-03-01 12:00:00 UTC">'
        "Sun 01 Mar 07:00</time>"
    )
