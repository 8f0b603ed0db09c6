from datetime import UTC, datetime, timedelta

import pytest

from headwater.domain.expectation import Expectation

MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC)
NIGHTLY = Expectation(cron="0 3 * * *", timezone="UTC", grace=3600)
HOURLY = Expectation(every=3600, grace=60)


def _at(hours: float, days: int = 0) -> datetime:
    return MIDNIGHT + timedelta(days=days, hours=hours)


@pytest.mark.parametrize(
    ("expectation", "after", "deadline"),
    [
        (NIGHTLY, _at(0), _at(4)),
        # A run that ends a second early is not the one of tonight.
        (NIGHTLY, _at(2.99), _at(4)),
        (NIGHTLY, _at(3), _at(4, days=1)),
        (NIGHTLY, _at(3.5), _at(4, days=1)),
        (HOURLY, _at(0.5), _at(1.5) + timedelta(minutes=1)),
        # The local clock counts: 3:00 in Berlin is 2:00 UTC in winter.
        (Expectation(cron="0 3 * * *", timezone="Europe/Berlin", grace=0), _at(0), _at(2)),
    ],
)
def test_a_deadline_is_the_next_time_with_its_grace(expectation, after, deadline):
    assert expectation.deadline(after=after) == deadline


@pytest.mark.parametrize(
    ("at", "following"),
    [
        (_at(4), _at(4, days=1)),
        # An outage: what was missed meanwhile is not told again.
        (_at(12, days=5), _at(4, days=6)),
        # Within the grace of another night.
        (_at(3.5, days=2), _at(4, days=2)),
    ],
)
def test_after_a_miss_the_next_time_in_the_future_counts(at, following):
    assert NIGHTLY.deadline_after_miss(_at(4), at=at) == following


def test_an_interval_is_missed_once_until_a_good_run():
    assert HOURLY.deadline_after_miss(_at(1), at=_at(2)) is None
