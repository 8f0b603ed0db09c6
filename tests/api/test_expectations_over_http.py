import pytest

EXPECT = {"cron": "0 3 * * *", "timezone": "Europe/Berlin", "grace": 3600}


async def test_an_expectation_is_kept_changed_and_removed(api, made):
    crawler = await made.crawler(expect=EXPECT)
    path = f"/crawlers/{crawler['fid']}"
    assert crawler["expect"] == EXPECT | {"every": None}
    assert crawler["expected_by"][14:19] == "00:00"
    assert crawler["missed_since"] is None
    changed = await api.patch(path, json={"expect": {"cron": None, "timezone": None, "every": 60}})
    assert changed.json()["payload"]["expect"] == {"cron": None, "timezone": None, "every": 60, "grace": 3600}
    same = await api.patch(path, json={"meta": {"name": "x"}})
    assert same.json()["payload"]["expected_by"] == changed.json()["payload"]["expected_by"]
    gone = await api.patch(path, json={"expect": None})
    assert (gone.json()["payload"]["expect"], gone.json()["payload"]["expected_by"]) == (None, None)


@pytest.mark.parametrize(
    "expect",
    [
        {"cron": "0 3 * * *"},
        {"grace": 60},
        {"cron": "0 3 * * *", "every": 60, "grace": 60},
        {"cron": "3", "grace": 60},
        {"cron": "0 3 * * *", "timezone": "Nowhere", "grace": 60},
        {"every": 0, "grace": 60},
        {"every": 60, "grace": -1},
        {"every": 60, "grace": 60, "jitter": 3},
    ],
)
async def test_an_expectation_that_is_wrong_is_refused(api, made, expect, assert_problem):
    crawler = await made.crawler()
    problem = assert_problem(
        await api.patch(f"/crawlers/{crawler['fid']}", json={"expect": expect}), 400, "request-invalid"
    )
    assert problem["errors"][0]["pointer"].startswith("/expect")
