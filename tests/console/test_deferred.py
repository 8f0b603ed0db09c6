import asyncio
import html
import re

import pytest

from headwater.console.deferred import DeferredResults
from headwater.domain.errors import NotFound


class Work:
    """Takes until it is told to end, and counts how often it was begun."""

    def __init__(self) -> None:
        self.may_end = asyncio.Event()
        self.begun = 0

    async def __call__(self) -> str:
        self.begun += 1
        await self.may_end.wait()
        return "found"


async def test_what_is_ready_soon_comes_at_once():
    results, work = DeferredResults(patience=60), Work()
    work.may_end.set()
    assert await results.result("page", work, waits=False) == "found"


async def test_what_takes_longer_is_begun_once_and_waited_for_by_the_request_that_comes_back():
    results, work = DeferredResults(patience=0), Work()
    assert await results.result("page", work, waits=False) is None
    assert await results.result("page", work, waits=False) is None
    back = asyncio.ensure_future(results.result("page", work, waits=True))
    await asyncio.sleep(0)
    work.may_end.set()
    assert (await back, work.begun) == ("found", 1)


async def test_a_result_is_given_once_and_others_are_not_mixed_up():
    results, work, other = DeferredResults(patience=0), Work(), Work()
    assert await results.result("page", work, waits=False) is None
    work.may_end.set()
    other.may_end.set()
    await results.result("other", other, waits=True)
    assert await results.result("page", work, waits=True) == "found"
    assert await results.result("page", work, waits=True) == "found"
    assert (work.begun, other.begun) == (2, 1)


async def test_a_result_that_nobody_came_back_for_is_not_shown_as_the_present():
    results, work = DeferredResults(patience=0), Work()
    assert await results.result("page", work, waits=False) is None
    work.may_end.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await results.result("page", work, waits=False)
    assert work.begun == 2


async def test_an_error_reaches_the_request_that_comes_back():
    may_fail = asyncio.Event()

    async def fail() -> str:
        await may_fail.wait()
        raise NotFound("there is no such thing")

    results = DeferredResults(patience=0)
    assert await results.result("page", fail, waits=False) is None
    may_fail.set()
    with pytest.raises(NotFound):
        await results.result("page", fail, waits=True)


async def test_a_dialog_comes_without_its_numbers_and_asks_for_them(browser, a_shop, say):
    shop = await a_shop()
    task = await shop.run(b'{"id": "a", "n": 1}\n')
    browser.app.state.console.deferred.patience = 0
    for place in (f"runs/{task}/undo", f"streams/{shop.stream}/undo?run={task}", f"runs/undo?run={task}"):
        first = await browser.client.get(f"/console/{place}", headers={"HX-Request": "true"})
        assert "Counting the documents" in first.text
        assert 'method="post"' not in first.text
        rest = html.unescape(re.search(r'hx-get="([^"]+)"', first.text)[1])
        whole = await browser.client.get(rest, headers={"HX-Request": "true"})
        assert "− 1 documents disappear" in say(whole.text)
        assert 'method="post"' in whole.text


async def test_a_page_comes_without_what_takes_long_and_says_how_to_get_it(browser, a_shop):
    shop = await a_shop()
    task = await shop.run(b'{"id": "a", "n": 1}\n')
    browser.app.state.console.deferred.patience = 0
    for place in (
        f"streams/{shop.stream}?where=n%3D1",
        f"runs/{task}",
        f"runs/{task}/documents",
        f"streams/{shop.stream}/bisect?where=n%3D1",
    ):
        page = await browser.open(f"/console/{place}")
        assert 'class="pending"' in page
        waiting = f"/console/{place}{'&' if '?' in place else '?'}wait=yes"
        assert f'content="0; url={waiting.replace("&", "&amp;")}"' in page
        whole = await browser.open(waiting)
        assert 'class="pending"' not in whole
        assert "wait=yes" not in whole
        by_script = await browser.client.get(f"/console/{place}", headers={"HX-Request": "true"})
        assert 'class="pending"' not in by_script.text
        assert '<div id="tab">' in by_script.text
