"""The settings of the item pipeline for Scrapy, and what it makes of items and statistics."""

from datetime import UTC, datetime

import pytest
from scrapy import Field, Item
from scrapy.exceptions import NotConfigured
from scrapy.settings import Settings

from headwater_client.scrapy.options import DONE_REASONS, Options
from headwater_client.scrapy.values import CHARACTERS, STATISTICS, document_of, statistics_of

GIVEN = {"HEADWATER_URL": "http://headwater.test", "HEADWATER_KEY": "k", "HEADWATER_CRAWLER": "Nightly"}


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch):
    for name in (*GIVEN, "HEADWATER_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)


def _options(**settings) -> Options:
    return Options.of(Settings(settings))


def test_a_crawler_and_where_headwater_is_are_enough():
    options = _options(**GIVEN)
    assert (options.url, options.key, options.crawler) == ("http://headwater.test", "k", "Nightly")
    assert (options.endpoint, options.params, options.on_open_task) == (None, {}, "fail")
    assert (options.status_seconds, options.done_reasons) == (60, frozenset(DONE_REASONS))


def test_a_setting_is_asked_before_the_environment(monkeypatch):
    for name in GIVEN:
        monkeypatch.setenv(name, f"{name} of the environment")
    options = _options(HEADWATER_CRAWLER="Nightly")
    assert (options.url, options.crawler) == ("HEADWATER_URL of the environment", "Nightly")


def test_an_empty_setting_switches_the_pipeline_off(monkeypatch):
    monkeypatch.setenv("HEADWATER_CRAWLER", "Nightly")
    with pytest.raises(NotConfigured, match="nothing is uploaded"):
        _options(HEADWATER_CRAWLER="")


def test_an_endpoint_is_enough():
    assert _options(HEADWATER_ENDPOINT="http://headwater.test/actions/tasks/f.t").crawler is None


def test_settings_of_a_command_line_are_read_as_what_they_are():
    options = _options(
        **GIVEN,
        HEADWATER_PARAMS='{"shop": "north"}',
        HEADWATER_DONE_REASONS="finished,caught_up",
        HEADWATER_STATUS_SECONDS="0",
        HEADWATER_MAX_BYTES="1000",
        HEADWATER_PATIENCE="5",
        HEADWATER_LENIENT="1",
    )
    assert options.params == {"shop": "north"}
    assert options.done_reasons == {"finished", "caught_up"}
    assert options.status_seconds == 0
    assert options.writing == {"max_bytes": 1000, "max_seconds": 5.0, "retry_for": 5.0, "lenient": True}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"HEADWATER_KEY": ""}, "HEADWATER_URL and HEADWATER_KEY must be set"),
        ({"HEADWATER_ON_OPEN_TASK": "ask"}, '"fail" or "stop", and not \'ask\''),
    ],
)
def test_what_is_missing_or_wrong_is_told(settings, said):
    with pytest.raises(ValueError, match=said):
        _options(**GIVEN | settings)


def test_an_item_has_the_fields_that_are_set():
    class Row(Item):
        id, text = Field(), Field()

    assert document_of(Row(id="a")) == {"id": "a"}


def test_what_is_no_item_is_refused():
    with pytest.raises(TypeError):
        document_of(object())


def test_statistics_become_json_and_are_bounded():
    stats = {"at": datetime(2026, 1, 31, tzinfo=UTC), "rate": float("nan"), "none": None, "reason": "x" * 5000}
    told = statistics_of(stats)
    assert told == {"at": "2026-01-31T00:00:00+00:00", "rate": "nan", "none": None, "reason": "x" * CHARACTERS}
    assert len(statistics_of({str(number): number for number in range(1000)})) == STATISTICS


def test_a_statistic_may_be_called_anything_and_hold_anything():
    stats = {404: 3, "b\0": "x\0", None: object, ("a", 1): float("inf"), "a\ud800": 10**5000}
    assert statistics_of(stats) == {
        "('a', 1)": "inf",
        "404": 3,
        "None": "<class 'object'>",
        "a\ufffd": "an integer of 16610 bits",
        "b\ufffd": "x\ufffd",
    }
