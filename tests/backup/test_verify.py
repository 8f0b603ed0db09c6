"""Catalog and lake against each other."""

import asyncio
import os
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from headwater.backup import verify
from headwater.backup.verify import ASIDE, STATE, Pace, Verification, repair
from headwater.catalog import inspection, tables


@pytest.fixture
def verified(world, tmp_path):
    """Verify, and return the report."""

    def run(*, resume: bool = False):
        return Verification(world.db, world.store, tmp_path, pace=Pace(None), at=world.at + timedelta(days=9999)).run(
            resume=resume
        )

    return run


def _kinds(report) -> list[str]:
    return [finding.kind for finding in report.findings]


async def _with_files(world, count: int = 1) -> list[Path]:
    world.as_files = True
    crawler = await world.crawler()
    for number in range(count):
        await world.done(crawler, [{"id": f"{number}-{each}"} for each in range(3)])
    return [Path(world.store.locate(file.path)) for file in world.db.read_blocking(inspection.files)]


async def test_what_is_sound_has_no_findings(world, verified):
    crawler = await world.crawler()
    first = await world.done(crawler, [{"id": "a"}, {"no": "id"}, {"id": 7}])
    await world.done(crawler, [{"id": "a", "n": 2}])
    await world.delete(first)
    await world.restore(first)
    await world.compact()
    report = verified()
    assert report.findings == []
    assert (report.files, report.documents) == (2, 4)
    assert report.as_json()["sound"] is True


async def test_a_flipped_bit_and_a_missing_file_are_found_and_marked(world, verified, tmp_path):
    flipped, missing, _ = await _with_files(world, 3)
    data = bytearray(flipped.read_bytes())
    data[10] ^= 1
    flipped.write_bytes(data)
    kept = missing.read_bytes()
    missing.unlink()
    report = verified()
    assert _kinds(report) == ["file-damaged", "file-missing"]
    assert [file.is_damaged for file in world.db.read_blocking(inspection.files)] == [False, False, False]
    repaired = await _repaired(world, tmp_path, report)
    assert [finding.kind for finding in repaired] == ["file-damaged", "file-missing"]
    assert [file.is_damaged for file in world.db.read_blocking(inspection.files)] == [True, True, False]
    missing.write_bytes(kept)
    report = verified()
    assert _kinds(report) == ["file-damaged", "file-intact"]
    await _repaired(world, tmp_path, report)
    assert [file.is_damaged for file in world.db.read_blocking(inspection.files)] == [True, False, False]


async def _repaired(world, data: Path, report):
    return await asyncio.to_thread(repair, world.db, world.store, data, report, at=world.at)


async def test_a_file_that_no_row_names_is_kept_aside_once_it_is_old(world, verified, tmp_path):
    (named,) = await _with_files(world)
    stranger = named.with_name("stranger.parquet")
    stranger.write_bytes(b"precious")
    now = world.at.timestamp()
    os.utime(stranger, (now, now))
    report = verified()
    assert [(each.kind, Path(each.where).name) for each in report.findings] == [("file-unnamed", "stranger.parquet")]
    await _repaired(world, tmp_path, report)
    (aside,) = (tmp_path / ASIDE).rglob("stranger.parquet")
    assert (aside.read_bytes(), stranger.exists(), named.exists()) == (b"precious", False, True)
    assert verified().findings == []


async def test_a_document_that_is_broken_or_has_another_id_is_found(world, verified, monkeypatch):
    await _with_files(world)
    monkeypatch.setattr(verify, "document_id", lambda _document, _field: "another")
    assert _kinds(verified()) == ["id-wrong"] * 3


async def test_a_catalog_that_contradicts_itself_is_found(world, verified):
    world.as_files = False
    crawler = await world.crawler()
    await world.done(crawler, [{"id": "a"}])
    assert verified().findings == []
    await world.db.write(lambda tx: tx.execute(update(tables.segments).values(layer=99, path="inlined/lost")) and None)
    await world.db.write(lambda tx: tx.execute(update(tables.streams).values(stream_version=5)) and None)
    assert sorted(_kinds(verified())) == ["rows-missing", "segment-misplaced", "versions-missing"]


async def test_an_interrupted_verification_goes_on_where_it_was(world, verified, tmp_path, monkeypatch):
    files = await _with_files(world, 4)
    files[0].unlink()
    monkeypatch.setattr(verify, "_EVERY", 1)
    seen = []

    def digest(path):
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(path)
        return real(path)

    real = verify.file_digest
    monkeypatch.setattr(verify, "file_digest", digest)
    with pytest.raises(KeyboardInterrupt):
        verified()
    assert (tmp_path / STATE).exists()
    monkeypatch.setattr(verify, "file_digest", real)
    report = verified(resume=True)
    assert (report.files, report.skipped, _kinds(report)) == (4, 3, ["file-missing"])
    assert not (tmp_path / STATE).exists()


def test_the_pace_is_kept():
    now, slept = [0.0], []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    pace = Pace(100, clock=lambda: now[0], sleep=sleep)
    for _ in range(3):
        pace.spend(50)
    assert sum(slept) == pytest.approx(1.5)


async def test_a_folded_file_with_documents_of_a_purged_run_is_sound(world, verified):
    crawler = await world.crawler()
    tasks = [await world.done(crawler, [{"id": f"{each}", "run": run} for each in range(3)]) for run in range(4)]
    await world.fold()
    await world.delete(tasks[0])
    await world.purge()
    report = verified()
    assert report.findings == []
    assert (report.files, report.documents) == (1, 9)
