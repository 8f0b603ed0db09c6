from datetime import timedelta

import pytest

from headwater.catalog import keys, objects
from headwater.catalog.keys import Scope
from headwater.catalog.objects import NOTIFICATIONS
from headwater.lifecycle.expectations import miss_due


@pytest.fixture
async def key(browser):
    made, _ = await browser.key(Scope.READ, name="night shift")
    return made


async def _now(browser, key):
    return await browser.services.db.read(keys.get, key.fid)


async def test_the_expiry_of_a_key_is_set_changed_and_removed(browser, key, say):
    path = f"/console/keys/{key.fid}/expiry"
    assert "Expiry of the key night shift" in say(await browser.open(path))
    await browser.send(path, expires="2126-01-31T12:00")
    assert f"{(await _now(browser, key)).expires_at:%Y-%m-%d %H:%M %Z}" == "2126-01-31 12:00 UTC"
    assert 'value="2126-01-31T12:00"' in await browser.open(path)
    await browser.send(path, expires="")
    assert (await _now(browser, key)).expires_at is None


async def test_an_expiry_that_is_over_or_none_is_refused(browser, key, say):
    path = f"/console/keys/{key.fid}/expiry"
    yesterday = browser.services.clock() - timedelta(days=1)
    for wrong, why in ((f"{yesterday:%Y-%m-%dT%H:%M}", "this moment is over"), ("soon", "is no date with a time")):
        assert why in say((await browser.send(path, status=400, expires=wrong)).text)
    assert (await _now(browser, key)).expires_at is None


async def test_an_expired_key_is_said_to_be(browser, key, say):
    past = browser.services.clock() - timedelta(minutes=1)
    values = {"expires_at": past, "version": 2}
    await browser.services.db.write(lambda tx: keys.save(tx, key, keys.Key(**{**vars(key), **values})))
    assert "expired" in say(await browser.open("/console/keys"))


async def test_a_notification_is_created_disabled_and_deleted(browser, say):
    assert "There is none yet" in say(await browser.open("/console/notifications"))
    url = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#crawls"
    form = {"name": "Night shift", "url": url, "event": "task.failed", "max_shrink": "30", "group": "600"}
    await browser.send("/console/notifications", **form)
    said = say(page := await browser.open("/console/notifications"))
    assert "Night shift" in said
    assert "task.failed, 30 % fewer documents" in said
    assert "TIiajkdnlazkcOXrIdevi7FQ" not in page
    (made,) = await browser.services.db.read(objects.page, NOTIFICATIONS, where={}, after=None, limit=9)
    assert (made.events, made.group_seconds, made.conditions.max_shrink) == (("task.failed",), 600, 0.3)
    path = f"/console/notifications/{made.fid}"
    await browser.send(f"{path}/enabled")
    changed = await browser.services.db.read(objects.get, NOTIFICATIONS, made.fid)
    assert (changed.enabled, changed.group_seconds, changed.sealed_url) == (False, 600, made.sealed_url)
    assert "Nothing more is told to slack://" in say(await browser.open(f"{path}/delete"))
    await browser.send(f"{path}/delete", typed="delete")
    assert "There is none yet" in say(await browser.open("/console/notifications"))


async def test_a_notification_that_makes_no_sense_is_refused(browser, say):
    refused = await browser.send("/console/notifications", status=400, url="nowhere", event="task.failed")
    assert "Apprise" in say(refused.text)
    url = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#crawls"
    refused = await browser.send("/console/notifications", status=400, url=url, max_rejected="lots")
    assert "is no percentage" in say(refused.text)


async def test_who_may_only_read_changes_no_notification(stranger):
    _, secret = await stranger.key(Scope.READ)
    await stranger.sign_in(secret)
    assert "needs scope admin" in await stranger.open("/console/notifications")
    await stranger.send("/console/notifications", status=403, url="slack://a/b/c")


async def test_missed_runs_need_somebody(browser, a_shop, say):
    shop = await a_shop(expect={"every": 60, "grace": 0})
    await browser.services.db.write(miss_due, shop.fid, at=browser.services.clock() + timedelta(hours=1))
    home = say(await browser.open("/console/"))
    assert "missed Northern shop" in home
    assert "no run ended well that was expected at" in home
    page = say(await browser.open(f"/console/crawlers/{shop.fid}"))
    assert "No run ended well that was expected" in page
    assert "a good run every 1 min" in page
    await shop.run(b'{"id": "a"}\n')
    assert "missed" not in say(await browser.open("/console/"))
