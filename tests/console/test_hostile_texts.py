"""Texts of crawlers never run, and never hide anything."""

import json
import re

import pytest

SCRIPT = "<script>alert(1)</script>"
IMAGE = "<img src=x onerror=alert(1)>"
TURNED = "abc\u202egnp.exe"
QUOTES = "'\"><b>"


@pytest.fixture
async def places(a_shop):
    name = f"{SCRIPT}{QUOTES}{TURNED}"
    schema = {"docIdField": "id", "meta": {"name": name}, "schema": {"properties": {"price": {"type": "number"}}}}
    shop = await a_shop(name, external=schema)
    await shop.api.patch(f"/streams/{shop.stream}", json={"meta": {"name": name, "description": name}})
    doc = {
        "id": SCRIPT,
        IMAGE: QUOTES,
        "turned": TURNED,
        "long": "x" * 40_000,
        "word": "w" * 500,
        "deep": {SCRIPT: [IMAGE]},
    }
    bad = {"id": IMAGE, "price": SCRIPT}
    await shop.run(json.dumps(doc).encode() + b"\n")
    doc |= {"turned": SCRIPT, IMAGE: IMAGE}
    lines = json.dumps(doc).encode() + b"\n" + json.dumps(bad).encode() + b"\n"
    detail = {"traceback": f"{SCRIPT}\n{TURNED}", SCRIPT: IMAGE}
    task = await shop.run(lines, lenient=True, code=500, message=f"{SCRIPT} {TURNED}", detail=detail)
    where = json.dumps(SCRIPT)
    return [
        "/console/",
        "/console/streams",
        "/console/runs",
        "/console/crawlers",
        "/console/externals",
        "/console/audit",
        "/console/system",
        "/console/jump?q=script",
        f"/console/runs?crawler={shop.fid}&stream={shop.stream}",
        f"/console/runs/{task}",
        f"/console/runs/{task}/documents",
        f"/console/runs/{task}/rejected",
        f"/console/runs/{task}/details",
        f"/console/runs/{task}/undo",
        f"/console/streams/{shop.stream}",
        f"/console/streams/{shop.stream}?q={SCRIPT}&where=turned={where}&column={SCRIPT}&without={task}",
        f"/console/streams/{shop.stream}/differences?without={task}&show=older",
        f"/console/streams/{shop.stream}/log",
        f"/console/streams/{shop.stream}/settings",
        f"/console/streams/{shop.stream}/document?id={SCRIPT}",
        f"/console/streams/{shop.stream}/document/erase?id={SCRIPT}",
        f"/console/crawlers/{shop.fid}",
        f"/console/crawlers/{shop.fid}/edit",
        f"/console/externals/{shop.external}",
        f"/console/externals/{shop.external}/crawler",
    ]


async def test_no_text_becomes_markup_or_turns_what_follows(browser, places):
    for place in places:
        page = await browser.open(place)
        assert SCRIPT not in page, place
        assert "<img src=x" not in page, place
        assert not re.search(r"<b>\s*abc", page), place
        outside = re.sub(r'value="[^"]*"|<textarea.*?</textarea>', "", page, flags=re.DOTALL)
        assert "\u202e" not in outside, place


async def test_pages_stay_small_whatever_the_documents(browser, places):
    for place in places:
        assert len((await browser.open(place)).encode()) < 100_000, place


async def test_a_document_is_given_as_it_was_uploaded_and_as_text(browser, a_shop):
    shop = await a_shop()
    line = b'{"id": "a",  "html": "<script>alert(1)</script>"}'
    await shop.run(line + b"\n")
    answer = await browser.client.get(f"/console/streams/{shop.stream}/document/text", params={"id": "a"})
    assert answer.content.strip() == line
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.headers["x-content-type-options"] == "nosniff"
