import re

from sqlalchemy import update

from headwater.catalog import audit, settled, tables
from headwater.catalog.audit import Wanted


async def _two_shops(a_shop):
    north, south = await a_shop("Northern shop"), await a_shop("Southern shop")
    return north, south, [await shop.run(b'{"id": 1, "n": 1}\n{"id": 2}\n') for shop in (north, south)]


async def test_runs_of_several_streams_are_undone_together_each_in_a_version_of_its_own(browser, a_shop, say):
    north, south, runs = await _two_shops(a_shop)
    more = await north.run(b'{"id": 1, "n": 2}\n')
    listed = await browser.open("/console/runs")
    assert all(f'name="run" value="{fid}"' in listed for fid in [*runs, more])
    query = "&".join(f"run={fid}" for fid in [*runs, more])
    asked = say(await browser.open(f"/console/runs/undo?{query}"))
    assert "Undo 3 runs of 2 streams?" in asked
    assert asked.count("− 2 documents disappear") == 2
    assert "without 2 runs" in asked
    undone = await browser.send("/console/runs/undo", run=[*runs, more], list="state=done&other=x")
    assert undone.headers["location"].startswith("/console/runs?state=done&undone=")
    assert (await north.docs(), await south.docs()) == ({}, {})
    page = await browser.open(undone.headers["location"])
    assert "Undone 3 runs: 2 of Books , 1 of Books ." in say(page)
    entries = await browser.services.db.read(audit.page, Wanted(action="revert_stream"), before=None, limit=9)
    assert {entry.object_fid for entry in entries} == {north.stream, south.stream}
    back = re.findall(r'name="undone" value="([^"]+)"', page)
    restored = await browser.send("/console/runs/restore", undone=back, list="state=done")
    assert restored.headers["location"] == "/console/runs?state=done"
    assert "3 runs are back at their places" in say(await browser.open("/console/runs?state=done"))
    assert [len(await shop.docs()) for shop in (north, south)] == [2, 2]
    assert "Undone" not in say(await browser.open(undone.headers["location"]))


async def test_a_stream_that_refuses_does_not_keep_others_from_their_undo(browser, a_shop, say):
    north, south, runs = await _two_shops(a_shop)
    await browser.services.db.write(_settle, north.stream, browser.services.clock())
    asked = say(await browser.open(f"/console/runs/undo?run={runs[0]}&run={runs[1]}"))
    assert "is settled" in asked
    assert asked.count("− 2 documents disappear") == 1
    undone = await browser.send("/console/runs/undo", run=runs)
    said = say(await browser.open(undone.headers["location"]))
    assert "Books stays as it is: " in said
    assert "Undone 1 run" in said
    assert (len(await north.docs()), await south.docs()) == (2, {})


async def test_choosing_no_run_or_one_that_there_is_not_changes_nothing(browser, a_shop, say):
    north, _, _ = await _two_shops(a_shop)
    assert "no run is chosen" in say(await browser.open("/console/runs/undo", status=400))
    assert "there is no task" in say((await browser.send("/console/runs/undo", run="0" * 32, status=404)).text)
    assert len(await north.docs()) == 2


def _settle(tx, stream, at):
    settled.settle(tx, stream, until=at)
    tx.execute(update(tables.streams).where(tables.streams.c.fid == stream).values(purged_version=1))
