import json
import re

import pytest


def lines(*docs: dict) -> bytes:
    return b"".join(json.dumps(doc).encode() + b"\n" for doc in docs)


@pytest.fixture
async def crawled(a_shop):
    """A good run, a bad one that sets a price to 0, and a good one of one document."""
    shop = await a_shop()
    good = await shop.run(lines({"id": "a", "price": 12.5}, {"id": "b", "price": 8}))
    bad = await shop.run(lines({"id": "a", "price": 0}, {"id": "b", "price": 0}, {"id": "c", "price": 0}))
    last = await shop.run(lines({"id": "b", "price": 9}))
    return shop, good, bad, last


async def test_a_run_says_which_fields_changed_from_what_to_what(browser, crawled, say):
    _, _, bad, _ = crawled
    said = say(await browser.open(f"/console/runs/{bad}"))
    assert "price 2" in said  # in two documents
    assert "12.5 → 0" in said
    assert "From all 2 changed documents" in said
    added = say(await browser.open(f"/console/runs/{bad}?op=added"))
    assert "Documents added c" in added


async def test_undoing_says_before_what_it_does_and_offers_the_way_back(browser, crawled, say):
    shop, _, bad, _ = crawled
    asked = say(await browser.open(f"/console/runs/{bad}/undo"))
    assert "− 1 documents disappear" in asked
    assert "~ 1 documents show an older version again" in asked
    assert "= 1 documents stay as they are" in asked
    assert set(await shop.docs()) == {"a", "b", "c"}  # looking has changed nothing
    undone = await browser.send(f"/console/runs/{bad}/undo")
    assert {doc["id"]: doc["price"] for doc in (await shop.docs()).values()} == {"a": 12.5, "b": 9}
    page = say(await browser.open(undone.headers["location"]))
    assert "the stream shows nothing of this run" in page
    assert "+ 1 documents come back" in say(await browser.open(f"/console/runs/{bad}/restore"))
    await browser.send(f"/console/runs/{bad}/restore")
    assert (await shop.docs())["a"]["price"] == 0


async def test_from_documents_that_are_wrong_to_the_stream_without_the_runs_that_brought_them(browser, crawled, say):
    shop, _, bad, _ = crawled
    base = f"/console/streams/{shop.stream}"
    assert "Which run broke this?" not in say(await browser.open(base))
    page = await browser.open(f"{base}?where=price%3D0")
    assert f'href="{base}/bisect?where=price%3D0"' in page
    page = await browser.open(f"{base}/bisect?where=price%3D0")
    said = say(page)
    assert "First: upload in version 2" in said
    assert "+3 came to be like that. 2 are now." in said
    assert "+3" in said
    assert "−1" in said
    assert re.findall(r'name="without" value="(\w+)"', page) == [bad]
    assert "Without 1 run:" in say(await browser.open(f"{base}?without={bad}"))
    assert "No document of this stream is or was ever like that." in say(await browser.open(f"{base}/bisect?q=nobody"))
    assert "First: upload in version 3" in say(await browser.open(f"{base}/bisect?id=b&where=price%3D9"))
    assert "has no operator" in say(await browser.open(f"{base}/bisect?where=price", status=400))
    assert "Say what is wrong" in say(await browser.open(f"{base}/bisect"))


async def test_a_stream_without_a_run_is_seen_before_anything_is_changed(browser, crawled, say):
    shop, _, bad, _ = crawled
    page = await browser.open(f"/console/streams/{shop.stream}?without={bad}")
    assert "Without 1 run: ~ 1 show an older version, − 1 disappear, = 1 stay." in say(page).replace(
        "~1", "~ 1"
    ).replace("−1", "− 1").replace("=1", "= 1")
    assert re.search(r'class="is-changed-cell" title="now: 0"[^>]*><span class="v-number">12.5<', page)
    assert "− gone" in say(page)
    assert (await shop.docs())["a"]["price"] == 0
    older = say(await browser.open(f"/console/streams/{shop.stream}/differences?without={bad}&show=older"))
    assert "price 0 12.5" in older
    gone = say(await browser.open(f"/console/streams/{shop.stream}/differences?without={bad}&show=gone"))
    assert " c " in gone


async def test_several_runs_are_undone_in_one_version_and_restored_from_the_next_page(browser, crawled, say):
    shop, good, bad, _ = crawled
    asked = await browser.open(f"/console/streams/{shop.stream}/undo?run={good}&run={bad}")
    assert "Undo these 2 runs" in say(asked)
    undone = await browser.send(f"/console/streams/{shop.stream}/undo", run=[good, bad])
    assert set(await shop.docs()) == {"b"}
    place = undone.headers["location"]
    assert "Undone 2 runs" in say(await browser.open(place))
    version = place.partition("undone=")[2]
    await browser.send(f"/console/streams/{shop.stream}/restore", undone=version)
    assert set(await shop.docs()) == {"a", "b", "c"}


async def test_conditions_are_built_into_the_url(browser, crawled, say):
    shop, *_ = crawled
    place = f"/console/streams/{shop.stream}"
    built = await browser.client.get(f"{place}?field=price&operator=%3E&value=5")
    assert built.headers["location"] == f"{place}?where=price%3E5"
    page = say(await browser.open(built.headers["location"]))
    assert "price>5" in page
    text = await browser.client.get(f"{place}?where=price%3E5&field=my+name&operator=%3D&value=de")
    assert text.headers["location"] == f"{place}?where=price%3E5&where=%22my+name%22%3D%22de%22"
    assert "has no operator" in say(await browser.open(f"{place}?where=nonsense"))


async def test_a_stream_is_shown_as_it_was(browser, crawled, say):
    shop, *_ = crawled
    page = await browser.open(f"/console/streams/{shop.stream}?as_of=1")
    assert "as it stood at version 1" in say(page)
    assert ">12.5<" in page


async def test_what_is_exported_is_what_is_on_the_screen(browser, crawled):
    shop, _, bad, _ = crawled
    place = f"/console/streams/{shop.stream}/export"
    answer = await browser.client.get(place, params={"without": bad, "where": "price>10", "format": "ndjson"})
    assert [json.loads(line) for line in answer.text.splitlines()] == [{"id": "a", "price": 12.5}]
    assert re.fullmatch(r'attachment; filename="Books-v\d+\.ndjson"', answer.headers["content-disposition"])


async def test_a_document_tells_since_when_each_field_is_so_and_why_a_version_does_not_show(browser, crawled, say):
    shop, good, bad, last = crawled
    page = say(await browser.open(f"/console/streams/{shop.stream}/document?id=b"))
    assert page.count("covered by a newer version") == 2
    assert "price 0 → 9" in page
    await browser.send(f"/console/runs/{last}/undo")
    undone = say(await browser.open(f"/console/streams/{shop.stream}/document?id=b"))
    assert "run undone" in undone
    html = await browser.open(f"/console/streams/{shop.stream}/document?id=b")
    since = re.findall(r'class="blame".*?/console/runs/([0-9a-f]{32})', html)
    assert since == [good, bad]  # the id has been so since the first run, the price since the second


async def test_erasing_needs_the_word(browser, crawled, say):
    shop, *_ = crawled
    place = f"/console/streams/{shop.stream}/document/erase"
    assert "Nothing brings them back" in say(await browser.open(f"{place}?id=a"))
    refused = await browser.send(place, id="a", typed="yes", status=400)
    assert "was not typed" in say(refused.text)
    assert "a" in await shop.docs()
    await browser.send(place, id="a", typed="erase")
    assert "a" not in await shop.docs()
    assert "keeps no version" in say(await browser.open(f"/console/streams/{shop.stream}/document?id=a"))


async def test_a_withheld_run_is_published_by_hand(browser, a_shop, say):
    shop = await a_shop(gates={"min_docs": 2})
    task = await shop.run(lines({"id": "a"}))
    assert await shop.docs() == {}
    assert "withheld" in say(await browser.open("/console/"))
    asked = say(await browser.open(f"/console/runs/{task}/publish"))
    assert "at least 2 are wanted" in asked
    await browser.send(f"/console/runs/{task}/publish")
    assert set(await shop.docs()) == {"a"}


async def test_rejected_lines_are_shown_with_the_reason_and_replayed(browser, a_shop, say):
    schema = {"properties": {"price": {"type": "number"}}}
    shop = await a_shop(external={"docIdField": "id", "schema": schema})
    task = await shop.run(lines({"id": "a", "price": 1}, {"id": "b", "price": "free"}), lenient=True)
    page = say(await browser.open(f"/console/runs/{task}/rejected"))
    assert '"free" is not of type "number"' in page
    await browser.send(f"/console/externals/{shop.external}/schema", schema="{}", version="1")
    replayed = await browser.send(f"/console/runs/{task}/replay")
    assert "1 line is a document now" in say(await browser.open(replayed.headers["location"]))
    assert set(await shop.docs()) == {"a", "b"}


async def test_a_run_is_stopped_and_retried(browser, a_shop, say):
    shop = await a_shop()
    task = await shop.run(lines({"id": "a"}), code=None)
    assert "It ends with 410 now. The 1 documents" in say(await browser.open(f"/console/runs/{task}/stop"))
    await browser.send(f"/console/runs/{task}/stop")
    assert "stopped" in say(await browser.open(f"/console/runs/{task}"))
    assert "Attempt 2 begins" in say(await browser.open(f"/console/runs/{task}/retry"))
    await browser.send(f"/console/runs/{task}/retry")
    assert "attempt 2" in say(await browser.open(f"/console/runs/{task}"))


async def test_runs_are_filtered_by_the_url(browser, crawled, a_shop, say):
    shop, *_ = crawled
    other = await a_shop("Southern shop")
    await other.run(lines({"id": "x"}), code=500, message="503 from the shop")
    failed = say(await browser.open("/console/runs?state=failed"))
    assert "503 from the shop" in failed
    assert "Northern shop" not in failed
    assert "No run is like that" in say(await browser.open(f"/console/runs?state=failed&crawler={shop.fid}"))


async def test_new_runs_announce_themselves(browser, crawled, say):
    shop, good, *_ = crawled
    assert "2 new runs" in say(await browser.open(f"/console/newer-runs?than={good}&stream={shop.stream}"))
    assert say(await browser.open(f"/console/newer-runs?than={'f' * 32}")) == ""


async def test_pictures_are_loaded_where_somebody_asks_for_them_and_nowhere_else(browser, a_shop):
    shop = await a_shop()
    images = ["https://shop.example/a.jpg?w=40", "HTTP://shop.example/b.PNG", 'https://shop.example/"onerror=x.png']
    docs = [{"id": str(number), "image": image, "gallery": [image]} for number, image in enumerate(images)]
    await shop.run(lines(*docs, {"id": "3", "image": "javascript:alert(1).png", "gallery": []}))
    path = f"/console/streams/{shop.stream}"
    plain = await browser.client.get(path)
    assert ('<img class="thumb"' in plain.text, "https:" in plain.headers["content-security-policy"]) == (False, False)
    asked = await browser.client.get(f"{path}?pictures=yes")
    assert "img-src 'self' data: https: http:;" in asked.headers["content-security-policy"]
    found = re.findall(r'<img class="thumb" src="([^"]*)"', asked.text)
    assert sorted(set(found)) == ["HTTP://shop.example/b.PNG", "https://shop.example/a.jpg?w=40"]
    assert len(found) == 4


async def test_a_list_of_runs_is_sorted_and_goes_on_after_a_run(browser, a_shop):
    shop = await a_shop()
    by_docs = {}
    for count in (2, 3, 1):
        by_docs[count] = await shop.run(lines(*({"id": number} for number in range(count))))

    async def listed(query: str) -> list[str]:
        return re.findall(r'name="run" value="([0-9a-f]+)"', await browser.open(f"/console/runs?{query}"))

    assert await listed("sort=most") == [by_docs[3], by_docs[2], by_docs[1]]
    assert await listed("sort=fewest") == [by_docs[1], by_docs[2], by_docs[3]]
    assert await listed("sort=oldest&state=done") == [by_docs[2], by_docs[3], by_docs[1]]
    assert await listed(f"sort=most&after={by_docs[2]}") == [by_docs[1]]
    assert set(await listed("sort=longest")) == set(by_docs.values())
    assert await listed("sort=anything") == [by_docs[1], by_docs[3], by_docs[2]]
