"""Texts of crawlers never run, and never hide anything."""

import json
import re

import pytest

from console_places import Places, unseen
from headwater.catalog.keys import Scope

SCRIPT = "<script>alert(1)</script>"
IMAGE = "<img src=x onerror=alert(1)>"
TURNED = "abc\u202egnp.exe"
QUOTES = "'\"><b>"
NAME = f"{SCRIPT}{QUOTES}{TURNED}{'w' * 500}"


def _doc(**more) -> dict:
    return {
        "id": SCRIPT,
        IMAGE: QUOTES,
        "turned": TURNED,
        "long": "x" * 40_000,
        "word": "w" * 500,
        "deep": {SCRIPT: [IMAGE]},
    } | more


@pytest.fixture
async def places(browser, a_shop):
    """Objects whose texts are all hostile."""
    schema = {"docIdField": "id", "meta": {"name": NAME}, "schema": {"properties": {"price": {"type": "number"}}}}
    gates = {"min_docs": 1}
    shop = await a_shop(NAME, external=schema, gates=gates)
    api = shop.api
    await api.patch(f"/streams/{shop.stream}", json={"meta": {"name": NAME, "description": NAME}})
    other = await a_shop(NAME, external=schema)
    await api.patch(f"/streams/{other.stream}", json={"meta": {"name": NAME}})
    undone = await shop.run(_line(_doc(turned="")))
    await shop.run(_line(_doc()))
    bad = await shop.run(_line(_doc(turned=SCRIPT, **{IMAGE: IMAGE})))
    assert (await api.delete(f"/tasks/{undone}")).is_success
    withheld = await shop.run(b"", code=200)
    detail = {"traceback": f"{SCRIPT}\n{TURNED}", SCRIPT: IMAGE}
    rejected = _line({"id": IMAGE, "price": SCRIPT}, {"id": "w" * 500, "price": TURNED})
    failed = await shop.run(
        _line(_doc()) + rejected, lenient=True, code=500, message=f"{SCRIPT} {TURNED} {'w' * 500}", detail=detail
    )
    running = await shop.run(_line(_doc()), code=None)
    logged = [
        {"level": "error", "text": f"{SCRIPT} {TURNED} {IMAGE}", SCRIPT: IMAGE, "turned": TURNED},
        {"level": "info", "text": "w" * 5_000, "field": "w" * 500},
    ]
    assert (await api.post(f"/actions/tasks/{running}/log", content=_line(*logged))).status_code == 202
    webhook = {"url": "https://hooks.example.org/hw", "meta": {"name": NAME}}
    news = {"url": "jsons://nobody.invalid/", "events": ["task.failed"], "enabled": False, "meta": {"name": NAME}}
    key, _ = await browser.key(Scope.READ, name=NAME)
    return Places(
        stream=shop.stream,
        document=SCRIPT,
        where=f"turned={json.dumps(SCRIPT)}",
        crawler=shop.fid,
        gated=shop.fid,
        name="script",
        external=shop.external,
        bad=bad,
        undone=undone,
        failed=failed,
        lenient=failed,
        running=running,
        withheld=withheld,
        other=await other.run(_line(_doc())),
        webhook=(await api.post("/webhooks", json=webhook)).json()["payload"]["fid"],
        notification=(await api.post("/notifications", json=news)).json()["payload"]["fid"],
        key=key.fid,
    )


def _line(*docs: dict) -> bytes:
    return b"".join(json.dumps(doc).encode() + b"\n" for doc in docs)


def _urls(places: Places) -> list[str]:
    stream = f"/console/streams/{places.stream}"
    return [
        *places.by_name().values(),
        f"/console/runs?crawler={places.crawler}&stream={places.stream}",
        f"/console/audit?action={SCRIPT}&object_fid={SCRIPT}",
        f"/console/crawlers?q={SCRIPT}",
        f"/console/runs/{places.running}/log?q={SCRIPT}",
        f"{stream}?q={SCRIPT}&where=turned={json.dumps(SCRIPT)}&column={SCRIPT}&without={places.bad}",
        f"{stream}/bisect?id={SCRIPT}&where=turned={json.dumps(SCRIPT)}",
    ]


async def test_no_text_becomes_markup_turns_what_follows_or_makes_a_page_large(browser, places):
    assert unseen(places.by_name().values()) == set()
    for place in _urls(places):
        page = await browser.open(place)
        assert SCRIPT not in page, place
        assert "<img src=x" not in page, place
        assert not re.search(r"<b>\s*abc", page), place
        outside = re.sub(r'value="[^"]*"|<textarea.*?</textarea>', "", page, flags=re.DOTALL)
        assert "\u202e" not in outside, place
        assert len(page.encode()) < 100_000, place


async def test_a_document_is_given_as_it_was_uploaded_and_as_text(browser, a_shop):
    shop = await a_shop()
    line = b'{"id": "a",  "html": "<script>alert(1)</script>"}'
    await shop.run(line + b"\n")
    answer = await browser.client.get(f"/console/streams/{shop.stream}/document/text", params={"id": "a"})
    assert answer.content.strip() == line
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.headers["x-content-type-options"] == "nosniff"
