import errno
import os
import random
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from headwater.domain.errors import SegmentDamaged, Unavailable
from headwater.lake import current
from headwater.lake.erase import write_without
from headwater.lake.integrity import CLOCK_TICK_NS, DigestFile, Skipped, Verifier, digest_of
from headwater.lake.merge import concatenate, merge
from headwater.lake.segment import PackedDamaged, pack, unpack
from lake_builders import FaultyStore, Lake, a_batch, files_in, flip, seen, stored, text_of, write

#: Bits that are flipped; set the variable to 10000 for the thorough run.
FLIPS = int(os.environ.get("BIT_FLIPS", "200"))


@pytest.fixture
def lake(tmp_path):
    made = Lake(tmp_path, store=FaultyStore(tmp_path / "lake"))
    yield made
    made.engine.close()


def rows(count=300, version=0):
    return [(f"sku-{number:04}", text_of(f'"{number} {version} {"x" * (number % 50)}"')) for number in range(count)]


def file_of(lake, segment):
    return Path(lake.store.locate(segment.path))


def age(file):
    """Wait until the status of a file is old enough to be relied upon."""
    while time.time_ns() - file.stat().st_ctime_ns <= CLOCK_TICK_NS:
        time.sleep(0.01)


READS = {
    "a page": lambda lake, segments: lake.page(segments, after=None, limit=10),
    "one document": lambda lake, segments: lake.one(segments, "sku-0007"),
    "one that is not there": lambda lake, segments: lake.one(segments, "sku-0007a"),
    "an export": lambda lake, segments: lake.exported(segments),
    "a count": lambda lake, segments: lake.count(segments),
    "arrivals": lambda lake, segments: lake.arrivals(segments[0], limit=1000),
    "versions": lambda lake, segments: current.versions_of(lake.engine, seen(segments), "sku-0007"),
}


def test_no_flipped_bit_of_a_file_is_answered(lake):
    segment = write(lake.store, rows())
    file, rng = file_of(lake, segment), random.Random(14)
    for number in range(FLIPS):
        bit = rng.randrange(file.stat().st_size * 8)
        flip(file, bit)
        read = list(READS.values())[number % len(READS)]
        with pytest.raises(SegmentDamaged, match="digest"):
            read(lake, [segment])
        flip(file, bit)
    assert {one.id: one.text for one in lake.exported([segment])} == dict(rows())


def test_no_flipped_bit_of_packed_rows_is_unpacked():
    packed, rng = pack([a_batch(rows(40))], "inlined/a"), random.Random(14)
    for _ in range(FLIPS):
        bit = rng.randrange(len(packed) * 8)
        damaged = bytearray(packed)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(PackedDamaged):
            unpack(bytes(damaged), "inlined/a")
    assert unpack(packed, "inlined/a").to_pylist() == a_batch(rows(40)).to_pylist()


def test_packed_rows_of_another_segment_are_not_taken_for_its_own():
    with pytest.raises(PackedDamaged, match="digest"):
        unpack(pack([a_batch(rows(2))], "inlined/a"), "inlined/b")


def test_rows_that_were_packed_without_a_digest_stay_readable():
    batch = a_batch(rows(3))
    assert unpack(batch.serialize().to_pybytes(), "inlined/a").equals(batch)


@pytest.mark.parametrize("packed", [b"", b"HWR2", b"x" * 50, b"\xff\xff\xff\xff\xff\xff"])
def test_what_are_no_packed_rows_is_said(packed):
    with pytest.raises(PackedDamaged):
        unpack(packed, "inlined/a")


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_a_missing_a_short_and_a_swapped_file_are_damaged(lake, read):
    segment, other = write(lake.store, rows()), write(lake.store, rows(version=1))
    file, kept = file_of(lake, segment), file_of(lake, segment).read_bytes()
    with file.open("r+b") as opened:
        opened.truncate(len(kept) - 1)
    with pytest.raises(SegmentDamaged, match=f"{len(kept) - 1} bytes instead of {len(kept)}"):
        read(lake, [segment])
    # A whole, sound file of another segment, of the same size as far as the catalog knows.
    shutil.copy(file_of(lake, other), file)
    with pytest.raises(SegmentDamaged, match="digest"):
        read(lake, [replace(segment, size=file.stat().st_size)])
    file.unlink()
    with pytest.raises(SegmentDamaged, match="missing"):
        read(lake, [segment])
    file.write_bytes(kept)
    assert {one.id: one.text for one in lake.exported([segment])} == dict(rows())


def test_the_error_names_segment_task_file_and_the_way_out(lake):
    segment = write(lake.store, rows(3))
    file_of(lake, segment).unlink()
    with pytest.raises(SegmentDamaged) as raised:
        lake.one([segment], "sku-0001")
    assert raised.value.members == {"segment": segment.fid, "task": segment.task}
    for told in (segment.fid, segment.task, segment.path, "backup", "skip_damaged=true"):
        assert told in raised.value.detail
    assert raised.value.retry_after == 60


def test_a_file_from_before_digests_is_read_and_its_damage_is_named(lake):
    segment = replace(write(lake.store, rows()), digest=None, size=None)
    file = file_of(lake, segment)
    assert len(lake.exported([segment])) == 300
    kept = file.read_bytes()
    file.write_bytes(kept[: len(kept) // 2])
    with pytest.raises(SegmentDamaged, match="cannot be decoded"):
        lake.exported([segment])
    file.unlink()
    with pytest.raises(SegmentDamaged, match="missing"):
        lake.one([segment], "sku-0001")


def test_a_file_is_verified_once_until_it_changes_or_the_time_is_over(lake):
    now = [0.0]
    verifier = Verifier(lake.store, valid_for=60, clock=lambda: now[0])
    segment = write(lake.store, rows(3))
    age(file_of(lake, segment))
    for _ in range(3):
        verifier.require([stored(segment)])
    assert lake.store.read == [segment.path]
    now[0] = 60
    verifier.require([stored(segment)])
    assert lake.store.read == [segment.path] * 2
    verifier.require([stored(segment)], anew=True)
    assert lake.store.read == [segment.path] * 3


def test_a_write_that_sets_the_former_time_back_is_seen(lake):
    segment = write(lake.store, rows())
    file = file_of(lake, segment)
    age(file)
    lake.engine.require_intact([stored(segment)])
    before = file.stat()
    flip(file, 8 * (before.st_size // 2))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(SegmentDamaged):
        lake.one([segment], "sku-0001")


def test_a_file_that_has_only_just_changed_is_not_relied_upon(lake):
    segment = write(lake.store, rows(3))
    changed = file_of(lake, segment).stat().st_ctime_ns
    verifier = Verifier(lake.store, wall_clock=lambda: changed + 1_000_000)
    verifier.require([stored(segment)])
    verifier.require([stored(segment)])
    assert lake.store.read == [segment.path] * 2


def test_damage_and_repair_are_reported(lake):
    found, repaired = [], []
    verifier = Verifier(
        lake.store, on_damage=lambda one, fault: found.append((one.fid, fault)), on_repair=repaired.append
    )
    segment = write(lake.store, rows(3))
    file = file_of(lake, segment)
    flip(file, 100)
    with pytest.raises(SegmentDamaged):
        verifier.require([stored(segment)])
    assert found == [(segment.fid, "its file does not have the digest that it was written with")]
    flip(file, 100)
    verifier.require([stored(segment)])
    assert repaired == []
    known = replace(segment, damaged_at=segment.created_at)
    verifier.require([stored(known)])
    assert [file.fid for file in repaired] == [known.fid]


def test_the_rest_is_read_without_what_is_damaged(lake):
    segments = [write(lake.store, rows(3, version), layer=version + 1) for version in range(3)]
    file_of(lake, segments[2]).unlink()
    flip(file_of(lake, segments[0]), 99)
    skipped = Skipped()
    assert lake.engine.intact(seen(segments), skipped).segments == [segments[1]]
    assert [file.fid for file in skipped] == [segments[0].fid, segments[2].fid]
    assert len(skipped) == 2


def test_an_old_file_that_cannot_be_decoded_is_left_out_too(lake):
    segment = replace(write(lake.store, rows(3)), digest=None, size=None)
    file_of(lake, segment).write_bytes(b"PAR1 no file PAR1")
    skipped = Skipped()
    assert not lake.engine.intact(seen([segment]), skipped)
    assert [file.fid for file in skipped] == [segment.fid]


def test_a_disk_that_cannot_be_read_for_now_is_no_damage(lake):
    segment = write(lake.store, rows(3))
    lake.store.fault = OSError(errno.EMFILE, "Too many open files")
    with pytest.raises(Unavailable, match="Too many open files") as raised:
        lake.one([segment], "sku-0001")
    assert raised.type is Unavailable
    lake.store.fault = OSError(errno.EIO, "Input/output error")
    with pytest.raises(SegmentDamaged, match="Input/output error"):
        lake.one([segment], "sku-0001")


@pytest.mark.parametrize("write_anew", [merge, concatenate])
def test_nothing_is_merged_from_a_damaged_file_though_it_was_verified_before(lake, write_anew):
    segments = [write(lake.store, rows(3, version), layer=version) for version in range(2)]
    lake.store.is_frozen = True
    age(file_of(lake, segments[1]))
    lake.exported(segments)
    before = files_in(lake.store)
    flip(file_of(lake, segments[1]), 8 * 300)
    with pytest.raises(SegmentDamaged):
        write_anew(lake.engine, lake.store, segments, "streams/x.parquet", staged_as="x")
    assert files_in(lake.store) == before


def test_nothing_is_erased_from_a_damaged_file(lake):
    segment = write(lake.store, rows(3))
    before = files_in(lake.store)
    flip(file_of(lake, segment), 8 * 300)
    with pytest.raises(SegmentDamaged):
        write_without(lake.engine, lake.store, stored(segment), "sku-0001", "streams/x.parquet", staged_as="x")
    assert files_in(lake.store) == before


def test_a_query_verifies_every_file_that_it_reads(lake):
    segment = write(lake.store, rows(3))
    flip(file_of(lake, segment), 8 * 300)
    for query in ("SELECT doc FROM rows_of(files)", "SELECT text_hash FROM hashes_of(files)"):
        with pytest.raises(SegmentDamaged):
            lake.engine.rows(query, {}, reads={"files": [stored(segment)]})


def test_a_digest_file_takes_the_digest_of_all_that_is_written(tmp_path):
    file = DigestFile(tmp_path / "x")
    for piece in (b"abc", memoryview(b"def"), pa.py_buffer(b"ghi")):
        assert file.write(piece) == 3
    file.close()
    assert (tmp_path / "x").read_bytes() == b"abcdefghi"
    assert (file.digest, file.size) == (digest_of(b"abcdefghi"), 9)
