from datetime import timedelta

import pytest

from headwater.catalog import audit, keys, sign_in_links
from headwater.catalog.audit import Wanted
from headwater.catalog.keys import Scope
from headwater.console import sessions
from headwater.console.sessions import Session
from headwater.domain.task import Origin


async def test_who_is_not_signed_in_is_asked_to_and_led_back(stranger):
    answer = await stranger.client.get("/console/runs?state=failed")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/console/sign-in?next=%2Fconsole%2Fruns%3Fstate%3Dfailed"
    _, secret = await stranger.key(Scope.READ)
    form = {"key": secret, "next": "/console/runs?state=failed"}
    entered = await stranger.client.post("/console/sign-in", data=form)
    assert entered.headers["location"] == "/console/runs?state=failed"


@pytest.mark.parametrize("place", ["https://evil.example/", "//evil.example", "/console/sign-out", "/console/\\evil"])
async def test_nobody_is_led_elsewhere_after_signing_in(stranger, place):
    _, secret = await stranger.key(Scope.READ)
    entered = await stranger.client.post("/console/sign-in", data={"key": secret, "next": place})
    assert entered.headers["location"] == "/console/"


async def test_the_cookie_is_for_the_console_alone_and_hidden_from_scripts(stranger):
    _, secret = await stranger.key(Scope.READ)
    cookie = (await stranger.client.post("/console/sign-in", data={"key": secret})).headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Path=/console" in cookie
    assert "Secure" not in cookie
    assert secret not in cookie


async def test_behind_tls_the_cookie_is_for_https(stranger):
    _, secret = await stranger.key(Scope.READ)
    answer = await stranger.client.post("https://headwater.test/console/sign-in", data={"key": secret})
    assert "Secure" in answer.headers["set-cookie"]


async def test_a_wrong_key_signs_nobody_in(stranger, say):
    answer = await stranger.client.post("/console/sign-in", data={"key": "hw_wrong"})
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers
    assert "unknown or revoked" in say(answer.text)


async def test_another_site_signs_nobody_in(stranger):
    _, secret = await stranger.key(Scope.ADMIN)
    answer = await stranger.client.post(
        "/console/sign-in", data={"key": secret}, headers={"Sec-Fetch-Site": "cross-site"}
    )
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


async def test_a_revoked_key_ends_its_sessions_at_once(stranger):
    key, secret = await stranger.key(Scope.ADMIN)
    await stranger.sign_in(secret)
    await stranger.open("/console/")
    await stranger.services.db.write(keys.revoke, key.fid, at=stranger.services.clock())
    assert (await stranger.client.get("/console/")).headers["location"] == "/console/sign-in"
    refused = await stranger.client.post("/console/streams", data={"csrf": stranger.csrf, "name": "x"})
    assert refused.headers["location"] == "/console/sign-in"


async def test_signing_out_ends_the_session(browser):
    answer = await browser.send("/console/sign-out")
    assert answer.headers["location"] == "/console/sign-in"
    assert (await browser.client.get("/console/")).status_code == 303


async def test_a_copy_of_the_cookie_is_worth_nothing_after_signing_out(browser):
    copied = browser.client.cookies.get(sessions.COOKIE)
    await browser.send("/console/sign-out")
    again = await browser.client.get("/console/", headers={"Cookie": f"{sessions.COOKIE}={copied}"})
    assert (again.status_code, again.headers["location"]) == (303, "/console/sign-in")


async def test_another_browser_with_the_key_stays_signed_in(stranger):
    _, secret = await stranger.key(Scope.ADMIN)
    await stranger.sign_in(secret)
    other = stranger.client.cookies.get(sessions.COOKIE)
    stranger.client.cookies.clear()
    await stranger.sign_in(secret)
    await stranger.send("/console/sign-out")
    stranger.client.cookies.clear()
    kept = await stranger.client.get("/console/", headers={"Cookie": f"{sessions.COOKIE}={other}"})
    assert kept.status_code == 200


async def test_wrong_keys_slow_an_address_down_as_they_do_in_the_api(stranger, say, monkeypatch):
    most = stranger.services.login_limiter.most
    # Time stands still: on a slow machine, more could be tried in the meantime.
    monkeypatch.setitem(vars(stranger.services.login_limiter), "clock", lambda: 1000.0)
    answers = [await stranger.client.post("/console/sign-in", data={"key": f"hw_{number}"}) for number in range(most)]
    assert {answer.status_code for answer in answers} == {401}
    refused = await stranger.client.post("/console/sign-in", data={"key": "hw_last"})
    assert refused.status_code == 429
    assert "Too many wrong keys" in say(refused.text)
    _, secret = await stranger.key(Scope.READ)
    assert (await stranger.client.post("/console/sign-in", data={"key": secret})).status_code == 429
    headers = {"Authorization": "Bearer hw_other"}
    assert (await stranger.client.get("http://headwater.test/streams", headers=headers)).status_code == 429


async def test_signing_in_is_audited_with_the_keys_name(stranger):
    key, secret = await stranger.key(Scope.READ, name="anna's laptop")
    await stranger.sign_in(secret)
    (entry, *_) = await stranger.services.db.read(audit.page, Wanted(action="sign_in"), before=None, limit=1)
    assert (entry.key, entry.name, entry.origin) == (key.fid, "anna's laptop", Origin.CONSOLE)


async def test_a_link_signs_one_browser_in_once(stranger, say):
    key, _ = await stranger.key(Scope.ADMIN)
    token = await stranger.services.db.write(sign_in_links.add, key, at=stranger.services.clock())
    assert token in await stranger.open(f"/console/enter?link={token}")  # looking at it does not use it
    entered = await stranger.client.post("/console/enter", data={"link": token})
    assert entered.headers["location"] == "/console/"
    await stranger.open("/console/")
    again = await stranger.client.post("/console/enter", data={"link": token})
    assert again.status_code == 401
    assert "used before" in say(again.text)


async def test_a_link_expires(stranger):
    key, _ = await stranger.key(Scope.ADMIN)
    long_ago = stranger.services.clock() - sign_in_links.VALID_FOR - timedelta(seconds=1)
    token = await stranger.services.db.write(sign_in_links.add, key, at=long_ago)
    assert (await stranger.client.post("/console/enter", data={"link": token})).status_code == 401


async def test_a_link_of_a_revoked_key_signs_nobody_in(stranger):
    key, _ = await stranger.key(Scope.ADMIN)
    token = await stranger.services.db.write(sign_in_links.add, key, at=stranger.services.clock())
    await stranger.services.db.write(keys.revoke, key.fid, at=stranger.services.clock())
    assert (await stranger.client.post("/console/enter", data={"link": token})).status_code == 401


async def test_a_session_that_is_not_used_ends_and_one_that_is_used_gets_another_cookie(stranger):
    services = stranger.services
    key, _ = await stranger.key(Scope.READ)
    at = services.clock()

    async def opened(session: Session):
        stranger.client.cookies.clear()
        cookie = {"Cookie": f"{sessions.COOKIE}={sessions.sealed(session, services.vault)}"}
        return await stranger.client.get("/console/", headers=cookie)

    used = Session.begin(key.fid, at=at - timedelta(hours=1))
    assert "set-cookie" in (await opened(used)).headers
    fresh = await opened(Session.begin(key.fid, at=at))
    assert (fresh.status_code, "set-cookie" in fresh.headers) == (200, False)
    assert (await opened(Session.begin(key.fid, at=at - sessions.IDLE - timedelta(minutes=1)))).status_code == 303
    old = Session.begin(key.fid, at=at - sessions.LONGEST - timedelta(minutes=1)).renewed(at)
    assert (await opened(old)).status_code == 303


async def test_a_cookie_that_is_not_ours_signs_nobody_in(stranger):
    for cookie in ("", "x", stranger.services.vault.seal({"other": 1}), stranger.services.vault.seal("text")):
        answer = await stranger.client.get("/console/", headers={"Cookie": f"{sessions.COOKIE}={cookie}"})
        assert answer.status_code == 303
