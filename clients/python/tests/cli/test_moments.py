from datetime import UTC, datetime, timedelta

import pytest
import typer

from headwater_client.cli.moments import moment


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("90s", timedelta(seconds=90)),
        ("30m", timedelta(minutes=30)),
        ("12h", timedelta(hours=12)),
        (" 7 D ", timedelta(days=7)),
        ("2w", timedelta(weeks=2)),
    ],
)
def test_a_moment_may_be_so_long_ago(text, ago):
    assert abs(datetime.now(UTC) - ago - moment(text)) < timedelta(seconds=60)


def test_a_moment_may_be_a_date_or_a_time():
    assert moment("2026-03-01T12:00Z") == datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert moment("2026-03-01T12:00:00.5+02:00") == datetime(2026, 3, 1, 10, 0, 0, 500_000, tzinfo=UTC)
    assert moment("2026-03-01") == datetime(2026, 3, 1).astimezone()


@pytest.mark.parametrize("text", ["yesterday", "12", "-3h", "999999w", "", "12y"])
def test_what_is_no_moment_is_told_with_what_would_be(text):
    with pytest.raises(typer.BadParameter, match="write 12h"):
        moment(text)
