"""Copies of files on the disk of a node: bounded, least recently used first, and safe with several processes."""

import errno
import multiprocessing
import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from headwater.lake.scratch import scratch_folder
from headwater.lake.segment_cache import SegmentCache

KIB = 1 << 10


class Origin:
    """Where files are fetched from: each holds its own path, again and again."""

    def __init__(self, size: int = KIB) -> None:
        self.size = size
        self.fetched: list[str] = []
        self.fault: OSError | None = None
        self.wait = threading.Event()
        self.wait.set()

    def content(self, path: str) -> bytes:
        return (path.encode() * self.size)[: self.size]

    def fetch(self, path: str, target: Path) -> None:
        self.fetched.append(path)
        self.wait.wait(10)
        if self.fault is not None:
            target.write_bytes(b"half")
            raise self.fault
        if path.endswith("missing"):
            raise FileNotFoundError(errno.ENOENT, "no such object")
        target.write_bytes(self.content(path))


@contextmanager
def cache_in(folder: Path, origin: Origin, *, most: int = 1 << 20, **options):
    with scratch_folder(folder / "held") as held:
        cache = SegmentCache(folder, held, origin.fetch, most_bytes=most, **options)
        yield cache
        cache.close()


@pytest.fixture
def origin() -> Origin:
    return Origin()


@pytest.fixture
def cache(tmp_path, origin):
    with cache_in(tmp_path, origin) as made:
        yield made


def read(cache, path: str) -> bytes:
    with cache.reading([path]):
        return cache.locate(path).read_bytes()


def test_a_file_is_fetched_once(cache, origin):
    for _ in range(3):
        assert read(cache, "a/b") == origin.content("a/b")
    assert origin.fetched == ["a/b"]
    assert (cache.counts.hits, cache.counts.misses, cache.counts.fetched) == (2, 1, KIB)


def test_threads_that_want_one_file_fetch_it_once(cache, origin):
    origin.wait.clear()
    with ThreadPoolExecutor(8) as threads:
        reads = [threads.submit(read, cache, "a") for _ in range(8)]
        time.sleep(0.1)
        origin.wait.set()
        assert {one.result() for one in reads} == {origin.content("a")}
    assert origin.fetched == ["a"]


def test_files_are_fetched_at_the_same_time(cache, origin):
    origin.wait.clear()
    with ThreadPoolExecutor(1) as threads:

        def hold() -> None:
            with cache.reading([str(number) for number in range(8)]):
                pass

        held = threads.submit(hold)
        until = time.monotonic() + 10
        while len(origin.fetched) < 8 and time.monotonic() < until:
            time.sleep(0.01)
        assert len(origin.fetched) == 8
        origin.wait.set()
        held.result()


def test_a_fetch_that_fails_leaves_nothing_and_is_tried_again(cache, origin, tmp_path):
    origin.fault = OSError(errno.EHOSTUNREACH, "away")
    with pytest.raises(OSError, match="away"), cache.reading(["a", "b"]):
        pass
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == []
    origin.fault = None
    assert read(cache, "a") == origin.content("a")


def test_one_missing_file_among_others_is_told_as_such(cache):
    with pytest.raises(FileNotFoundError), cache.reading(["a", "missing", "b"]):
        pass
    assert read(cache, "a")


def test_the_least_recently_used_go_first_and_the_bound_holds(tmp_path, origin):
    with cache_in(tmp_path, origin, most=20 * KIB, clock=iter(range(0, 10**9, 100)).__next__) as cache:
        for number in range(16):
            read(cache, f"f{number}")
            time.sleep(0.002)
        for _ in range(2):
            read(cache, "f0")
            time.sleep(0.002)
        for number in range(16, 40):
            read(cache, f"f{number}")
            read(cache, "f0")
            time.sleep(0.002)
            assert cache.size() <= 20 * KIB
        origin.fetched.clear()
        read(cache, "f0")
        read(cache, "f39")
        assert origin.fetched == []
        read(cache, "f1")
        assert origin.fetched == ["f1"]


def test_a_file_that_is_held_stays_readable_when_it_is_evicted(tmp_path, origin):
    with cache_in(tmp_path, origin, most=4 * KIB) as cache, cache.reading(["first"]):
        place = cache.locate("first")
        for number in range(20):
            read(cache, f"f{number}")
        assert not (tmp_path / "files/first").exists()
        assert place.read_bytes() == origin.content("first")


def test_a_read_of_more_than_the_cache_may_hold_works(tmp_path, origin):
    names = [f"f{number}" for number in range(20)]
    with cache_in(tmp_path, origin, most=4 * KIB) as cache:
        with cache.reading(names):
            assert [cache.locate(name).read_bytes() for name in names] == [origin.content(name) for name in names]
        assert cache.size() <= 4 * KIB


def test_it_shrinks_when_the_disk_gets_full(tmp_path, origin):
    with cache_in(tmp_path, origin, reserve=1 << 60) as cache:
        read(cache, "a")
        assert cache.size() == 0


def test_the_copies_of_a_process_that_was_killed_are_cleaned_up(tmp_path, origin):
    left = tmp_path / "held/dead"
    left.mkdir(parents=True)
    (left / "x").write_bytes(b"x")
    with cache_in(tmp_path, origin):
        assert not left.exists()


def test_a_damaged_copy_is_replaced_under_those_who_hold_it(cache, origin):
    with cache.reading(["a"]):
        cache.locate("a").write_bytes(b"damaged")
        cache.renew("a")
        assert cache.locate("a").read_bytes() == origin.content("a")


def test_a_disk_that_takes_nothing_says_nothing_of_the_file(tmp_path, origin):
    cache = SegmentCache(tmp_path, tmp_path / "nowhere", origin.fetch, most_bytes=1 << 20)
    (tmp_path / "files/a").write_bytes(b"x")
    with pytest.raises(OSError, match="cannot be written") as raised, cache.reading(["a"]):
        pass
    assert raised.value.errno == errno.ENOSPC
    cache.close()


def _many_reads(folder: Path, seed: int) -> int:
    origin = Origin(size=16 * KIB)
    dice = random.Random(seed)
    wrong = 0
    with cache_in(folder, origin, most=256 * KIB) as cache:
        for _ in range(300):
            names = [f"f{dice.randrange(60)}" for _ in range(4)]
            with cache.reading(names):
                if dice.random() < 0.1:
                    time.sleep(0.001)
                wrong += sum(cache.locate(name).read_bytes() != origin.content(name) for name in names)
    return wrong


def test_processes_that_evict_each_others_copies_read_what_they_asked_for(tmp_path):
    context = multiprocessing.get_context("spawn")
    with context.Pool(3) as processes:
        assert processes.starmap(_many_reads, [(tmp_path, seed) for seed in range(3)]) == [0, 0, 0]
    assert sum(os.stat(file).st_size for file in (tmp_path / "files").iterdir()) <= 256 * KIB  # noqa: PTH116
    assert list((tmp_path / "held").iterdir()) == []
