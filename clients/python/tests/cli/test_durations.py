import pytest

from headwater_client.cli.durations import seconds
from headwater_client.cli.errors import CliError


@pytest.mark.parametrize(
    ("text", "is_in_seconds"), [("90", 90), ("15m", 900), ("6h", 21600), ("30D", 30 * 86400), ("1w", 604800)]
)
def test_a_duration_is_a_number_with_its_unit(text, is_in_seconds):
    assert seconds(text, "--every") == is_in_seconds


@pytest.mark.parametrize("text", ["", "h", "1.5h", "-1", "1y"])
def test_what_is_no_duration_is_told_with_its_option(text):
    with pytest.raises(CliError, match=r"--every '.*' is no duration"):
        seconds(text, "--every")
