"""The background scrub: all files, evenly over its period, across restarts."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from builders import read_events
from headwater.backup.scrub import LEASE, Scrub
from headwater.catalog import events, inspection, scrub_progress
from headwater.catalog.stats import collect
from lake_builders import flip
from lakes import needs_directory

pytestmark = needs_directory

PERIOD = timedelta(days=10)


@pytest.fixture
def new_scrub(world, tmp_path):
    """Return a scrub, as a server has one after its start."""
    return lambda: Scrub(world.db, world.store, tmp_path, period=PERIOD, clock=lambda: world.at, share=1.0)


async def _with_files(world, count: int) -> list[Path]:
    world.as_files = True
    crawler = await world.crawler()
    for number in range(count):
        await world.done(crawler, [{"id": f"{number}-{each}"} for each in range(3)])
    return [Path(world.store.locate(file.path)) for file in world.db.read_blocking(inspection.files)]


def _progress(world):
    return world.db.read_blocking(scrub_progress.find)


async def _go(scrub: Scrub) -> None:
    while await scrub.turn():
        pass


async def test_files_are_verified_evenly_over_the_period_and_again_in_the_next(world, new_scrub):
    await _with_files(world, 5)
    began, seen = world.at, []
    for day in range(12):
        world.at = began + timedelta(days=day, seconds=1)
        await _go(new_scrub())  # a restart each day
        seen.append(_progress(world).files)
    # The last file is due on the eighth day, and the next pass begins on the tenth.
    assert seen == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6]
    found = world.db.read_blocking(collect).scrub
    assert (found.findings, found.checked) == (0, 1)
    assert found.last_pass_at == began + timedelta(days=8, seconds=1)


async def test_damage_is_marked_and_told_once_and_a_repair_is_seen(world, new_scrub):
    flipped, missing, sound = await _with_files(world, 3)
    whole = flipped.read_bytes()
    flip(flipped, 80)
    missing.unlink()
    began = world.at
    for day in (0, 9, 21, 29):
        world.at = began + timedelta(days=day)
        await _go(new_scrub())
    told = [
        event for event in await read_events(world.db, events.after, 0, limit=1000) if event.type == "segment.damaged"
    ]
    assert [event.data["path"] for event in told] == [_path(world, flipped), _path(world, missing)]
    assert all(event.stream and event.task for event in told)
    assert [file.is_damaged for file in world.db.read_blocking(inspection.files)] == [True, True, False]
    assert world.db.read_blocking(collect).damaged_segments == 2
    assert _progress(world).findings == 4
    assert sound.exists()
    flipped.write_bytes(whole)
    for day in (32, 41):
        world.at = began + timedelta(days=day)
        await _go(new_scrub())
    assert [file.is_damaged for file in world.db.read_blocking(inspection.files)] == [False, True, False]


def _path(world, file: Path) -> str:
    return file.relative_to(world.store.root).as_posix()


async def test_an_empty_lake_is_complete_at_once_and_idle_is_one_read(world, new_scrub, monkeypatch):
    scrub = new_scrub()
    await _go(scrub)
    assert _progress(world).last_pass_at == world.at
    monkeypatch.setattr(world.db, "write", None)
    assert not await scrub.turn()


async def test_one_process_checks_at_a_time_and_another_goes_on_if_it_dies(world, new_scrub):
    await _with_files(world, 1)
    await world.db.write(scrub_progress.begin, None, at=world.at)
    seen = _progress(world)
    assert await world.db.write(scrub_progress.claim, seen, limit=9, at=world.at, until=world.at + LEASE)
    assert not await new_scrub().turn()
    world.at += LEASE
    assert await new_scrub().turn()
    assert _progress(world).files == 1


async def test_it_stops_within_a_batch_of_documents(world, new_scrub):
    await _with_files(world, 1)
    scrub = new_scrub()
    await scrub.turn()
    scrub._share = 1e-9  # noqa: SLF001 - it would rest for years after the first documents
    running = asyncio.create_task(scrub.turn())
    await asyncio.sleep(0.2)
    running.cancel()
    async with asyncio.timeout(5):
        with pytest.raises(asyncio.CancelledError):
            await running
        # The thread has ended: the next one need not wait for it.
        await asyncio.get_running_loop().shutdown_default_executor()
    assert _progress(world).files == 0
