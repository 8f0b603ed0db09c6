from datetime import timedelta

import httpx
import pytest

from builders import AT
from headwater.lifecycle.ec.client import Again, EcClient, Target
from headwater.lifecycle.retry_after import MOST_PATIENCE, retry_after


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [
        ("", 0),
        ("20", 20),
        ("1.5", 1.5),
        ("0", 0),
        ("00020", 20),
        ("-5", 0),
        ("3601", MOST_PATIENCE),
        ("31536000", MOST_PATIENCE),
        ("9" * 5000, MOST_PATIENCE),
        ("inf", 0),
        ("nan", 0),
        ("1e9", 0),
        ("٣", 0),
        ("²", 0),
        ("Sun, 01 Mar 2026 12:00:30 GMT", 30),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0),
        ("Mon, 01 Mar 2027 12:00:00 GMT", MOST_PATIENCE),
        ("Sun, 99 Mar 99999999999999999999 12:00:30 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 -2359", MOST_PATIENCE),
        ("soon", 0),
    ],
)
def test_an_answer_may_ask_for_an_hour_at_most(asked, seconds):
    headers = [("Retry-After", asked.encode())]
    assert retry_after(httpx.Response(503, headers=headers), at=AT) == seconds


def test_a_date_counts_from_that_of_the_answer_where_no_clock_is_given():
    date = {"Retry-After": "Sun, 01 Mar 2026 12:00:30 GMT"}
    assert retry_after(httpx.Response(503, headers={"Date": "Sun, 01 Mar 2026 12:00:10 GMT", **date})) == 20
    assert retry_after(httpx.Response(503, headers=date)) == 0


@pytest.mark.parametrize("asked", ["31536000", "9" * 400, "9" * 5000])
@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_crawler_that_asks_for_a_year_is_tried_within_an_hour(asked, status):
    answer = httpx.Response(status, headers={"Retry-After": asked})
    ec_client = EcClient(httpx.MockTransport(lambda _: answer))
    outcome = await ec_client.start(Target(endpoint="http://ec.test", headers={}, version=1), {})
    await ec_client.close()
    assert isinstance(outcome, Again)
    assert timedelta(seconds=outcome.after) == timedelta(hours=1)
