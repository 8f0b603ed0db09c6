import re

import pytest

from headwater.catalog import audit
from headwater.catalog.audit import Wanted
from headwater.catalog.keys import Scope
from headwater.console.rendering import POLICY
from headwater.console.site import LINKS, routes
from headwater.domain.task import Origin

#: What only an admin may see.
ADMINS = ("/console/keys", "/console/audit")
PLACES = ("", "streams", "runs", "crawlers", "externals", "webhooks", "keys", "audit", "system", "jump?q=x")


async def test_browsers_are_led_to_the_console_and_programs_told_the_links(api):
    led = await api.get("/", headers={"Accept": "text/html,application/xhtml+xml"})
    assert (led.status_code, led.headers["location"]) == (303, "/console/")
    told = await api.get("/")
    assert told.json()["payload"]["links"] == LINKS
    for name in LINKS.keys() - {"events", "console"}:
        assert (await api.get(LINKS[name])).status_code == 200


@pytest.mark.parametrize("place", PLACES)
async def test_every_list_says_what_would_be_there(browser, say, place):
    page = await browser.open(f"/console/{place}")
    assert len(say(page)) > 100
    assert "Traceback" not in page


async def test_pages_run_nothing_that_stands_in_them(browser):
    for place in (*PLACES, "../docs"):
        answer = await browser.client.get(f"/console/{place}".replace("/console/../", "/"))
        assert answer.headers.get_list("content-security-policy") == [POLICY]
        assert "unsafe" not in POLICY
        assert not re.findall(r"<script(?![^>]*\bsrc=)|\sstyle=|\son[a-z]+=|javascript:", answer.text)
        for url in re.findall(r'(?:src|href)="([^"]*)"', answer.text):
            assert not re.match(r"[a-z]+:|//", url), url


async def test_the_files_of_pages_are_kept_by_browsers_as_long_as_they_are_the_same(browser):
    page = await browser.open("/console/")
    for url in re.findall(r'"(/console/static/[^"]+)"', page):
        answer = await browser.client.get(url)
        assert answer.status_code == 200, url
        assert "immutable" in answer.headers["cache-control"]
    other = re.sub(r"static/[0-9a-f]{12}/", "static/000000000000/", url)
    assert (await browser.client.get(other)).headers["cache-control"] == "no-cache"
    assert (await browser.client.get("/console/static/0/../../pyproject.toml")).status_code == 404
    assert (await browser.client.get("/console/static/0/nothing.js")).status_code == 404


async def test_there_is_a_page_for_what_there_is_not(browser, say):
    assert "nothing here" in say(await browser.open("/console/nowhere", status=404))
    place = f"/console/runs/{'0' * 32}"
    page = await browser.open(place, status=404)
    assert "there is no task" in say(page)
    # What went wrong, the request by which the log has it, and what can be done next.
    assert re.search(r"request \w{16}", say(page))
    assert f'href="{place}">Load again' in page


async def test_a_form_without_the_sessions_token_changes_nothing(browser, say):
    for fields in ({}, {"csrf": "x"}, {"csrf": ""}):
        answer = await browser.client.post("/console/streams", data={"name": "Books", **fields})
        assert answer.status_code == 403
        assert "Nothing was changed" in say(answer.text)
    foreign = await browser.client.post(
        "/console/streams", data={"name": "Books", "csrf": browser.csrf}, headers={"Sec-Fetch-Site": "same-site"}
    )
    assert foreign.status_code == 403
    assert "A stream is the collection" in say(await browser.open("/console/streams"))


async def test_what_somebody_does_is_audited_with_the_keys_name(browser):
    made = await browser.send("/console/streams", name="Books")
    fid = made.headers["location"].rpartition("/")[2]
    (entry,) = await browser.services.db.read(audit.page, Wanted(object_fid=fid), before=None, limit=5)
    assert (entry.name, entry.origin, entry.action) == ("anna", Origin.CONSOLE, "create_stream")


async def test_a_key_that_may_read_sees_why_it_may_not_change(stranger, a_shop, say):
    shop = await a_shop()
    task = await shop.run(b'{"id": "a"}\n')
    _, secret = await stranger.key(Scope.READ)
    await stranger.client.post("/console/sign-in", data={"key": secret})
    page = await stranger.open(f"/console/runs/{task}")
    assert "needs scope write" in page
    csrf = re.search(r'data-csrf="([^"]+)"', page)[1]
    refused = await stranger.client.post(f"/console/runs/{task}/undo", data={"csrf": csrf})
    assert refused.status_code == 403
    assert "this needs write" in say(refused.text)
    for place in ADMINS:
        assert "this needs admin" in say(await stranger.open(place, status=403))
    assert await shop.docs() == {"a": {"id": "a"}}


def test_every_change_of_a_page_needs_more_than_a_look():
    # A form posts; what is opened by a link changes nothing.
    for route in routes():
        methods = getattr(route, "methods", None) or set()
        assert not {"GET", "POST"} <= methods or route.path in {"/console/sign-in", "/console/enter"}, route.path
