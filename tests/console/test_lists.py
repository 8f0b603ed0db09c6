"""Lists of streams, crawlers and Externals: filtered and sorted by their URL, page by page."""

import re

import pytest

from headwater.console import listing


def links(page: str, kind: str) -> list[str]:
    return re.findall(rf'<td class="lead"><a href="/console/{kind}/(?:\w+)">([^<]*)</a>', page)


@pytest.fixture
async def shops(a_shop):
    """Three crawlers, each with a stream and an External of its name; the second has brought most documents."""
    found = []
    for name, count in (("Beta", 2), ("alpha", 3), ("Gamma", 1)):
        shop = await a_shop(name, external={"meta": {"name": name}})
        await shop.api.patch(f"/streams/{shop.stream}", json={"meta": {"name": name}})
        await shop.run(b"".join(b'{"id": "%d"}\n' % number for number in range(count)))
        found.append(shop)
    return found


@pytest.mark.usefixtures("shops")
@pytest.mark.parametrize("kind", ["streams", "crawlers", "externals"])
async def test_a_list_is_sorted_by_its_url_page_by_page(browser, kind, monkeypatch):
    assert links(await browser.open(f"/console/{kind}"), kind) == ["Gamma", "alpha", "Beta"]
    for module in ("streams", "crawlers", "externals"):
        monkeypatch.setattr(f"headwater.console.pages.{module}.ROWS", 2)
    monkeypatch.setattr(listing.rows_of, "__kwdefaults__", {"rows": 2})
    first = await browser.open(f"/console/{kind}?sort=name")
    assert links(first, kind) == ["alpha", "Beta"]
    following = re.search(r'href="([^"]*)" rel="next"', first)[1].replace("&amp;", "&")
    assert links(await browser.open(following), kind) == ["Gamma"]
    assert 'rel="next"' not in await browser.open(following)


@pytest.mark.usefixtures("shops")
@pytest.mark.parametrize("kind", ["streams", "crawlers", "externals", "runs"])
async def test_the_head_of_a_column_says_how_the_list_is_sorted_and_turns_it_round(browser, kind):
    page = await browser.open(f"/console/{kind}")
    heads = re.findall(r"<th[^>]*><a href=\"([^\"]+)\">", page)
    assert heads
    for head in heads:
        sorted_so = await browser.open(head.replace("&amp;", "&"))
        (direction, back) = re.search(r'<th[^>]* aria-sort="(\w+)"><a href="([^"]+)"', sorted_so).groups()
        turned = await browser.open(back.replace("&amp;", "&"))
        (other,) = re.findall(r'aria-sort="(\w+)"', turned)
        assert {direction, other} == {"ascending", "descending"}


async def test_lists_are_filtered_by_name_latest_run_and_external(browser, shops, say):
    for kind in ("streams", "crawlers", "externals"):
        assert links(await browser.open(f"/console/{kind}?q=ALPH"), kind) == ["alpha"]
        assert "Show all" in say(await browser.open(f"/console/{kind}?q=nobody"))
    await shops[0].run(b'{"id": "x"}\n', code=500)
    for kind in ("streams", "crawlers"):
        assert links(await browser.open(f"/console/{kind}?state=failed"), kind) == ["Beta"]
        assert links(await browser.open(f"/console/{kind}?state=nonsense&sort=nonsense"), kind)[0] == "Gamma"
    only = await browser.open(f"/console/crawlers?external={shops[2].external}")
    assert links(only, "crawlers") == ["Gamma"]
    assert "of Gamma" in say(only)


@pytest.mark.usefixtures("shops")
async def test_what_is_no_place_in_a_list_begins_at_its_start(browser):
    fid = "0" * 32
    for kind, sort in (("streams", "most"), ("streams", "latest"), ("crawlers", "next"), ("externals", "name")):
        for value in ("x", "9" * 30, "0001-01-01T00:00:00+23:00", "2026-01-01T00:00:00", "%00"):
            page = await browser.open(f"/console/{kind}?sort={sort}&after={fid}.{value}")
            assert links(page, kind) or sort == "name"
    assert len(links(await browser.open("/console/streams?after=nonsense"), "streams")) == 3


@pytest.mark.usefixtures("shops")
async def test_a_stream_of_the_list_says_how_large_it_is(browser, say):
    said = say(await browser.open("/console/streams?sort=largest"))
    assert re.search(r"alpha \d+ \d+ B", said)
