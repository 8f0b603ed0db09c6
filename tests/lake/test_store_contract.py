"""What a store of the lake does, whatever it is: a directory, SeaweedFS, or moto's S3."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from secrets import token_bytes

import pytest

from headwater.lake.object_store import MOST_AT_ONCE, ObjectStore, connected
from headwater.lake.scratch import scratch_folder
from headwater.lake.store import LocalStore

PATH = "streams/s/task=t/x.parquet"
NOW = datetime.now(UTC)


@pytest.fixture(params=["directory", "seaweedfs", "moto"])
def kind(request, monkeypatch) -> str:
    if request.param != "directory":
        s3 = request.getfixturevalue(request.param)
        for name, value in s3.environment.items():
            monkeypatch.setenv(name, value)
    return request.param


@pytest.fixture
def url(kind, request) -> str:
    return "" if kind == "directory" else request.getfixturevalue(kind).url()


@contextmanager
def opened(url: str, folder: Path):
    """The lake as a process of one node sees it."""
    if not url:
        yield LocalStore(folder)
        return
    with scratch_folder(folder / "held") as held:
        store = ObjectStore(connected(url), folder, held, most_cached=1 << 30)
        store.prepare()
        yield store
        store.close()


@pytest.fixture
def store(url, tmp_path):
    with opened(url, tmp_path / "node") as made:
        yield made


@pytest.fixture
def other(url, tmp_path):
    """Another node: a directory is shared, and so is a bucket."""
    with opened(url, tmp_path / ("other" if url else "node")) as made:
        yield made


def put(store, path: str, content: bytes) -> str:
    staged = store.stage("staged")
    staged.write_bytes(content)
    store.keep(staged, path)
    return path


def read(store, path: str) -> bytes:
    return b"".join(bytes(block) for block in store.blocks(path))


def test_a_kept_file_is_read_by_all_and_no_longer_staged(store, other):
    put(store, PATH, b"content")
    assert read(store, PATH) == read(other, PATH) == b"content"
    assert list(store.staging.iterdir()) == []


def test_a_file_is_located_while_it_is_held(store, other):
    put(store, PATH, b"content")
    for one in (store, other):
        with one.reading([PATH]):
            assert Path(one.locate(PATH)).read_bytes() == b"content"
            assert Path(one.locate(PATH)).is_relative_to(one.root)


@pytest.mark.parametrize("size", [0, 1, 3 << 20, MOST_AT_ONCE + 1])
def test_a_file_of_any_size_is_kept(store, other, size):
    content = token_bytes(size)
    put(store, PATH, content)
    assert read(other, PATH) == content
    assert other.status(PATH)[2] == size


def test_many_files_are_held_together(store, other):
    paths = [put(store, f"streams/s/{number}", str(number).encode()) for number in range(50)]
    with other.reading(paths):
        assert [Path(other.locate(path)).read_bytes() for path in paths] == [str(n).encode() for n in range(50)]


def test_a_file_that_is_missing_is_told_as_such(store):
    for question in (store.status, lambda path: list(store.blocks(path))):
        with pytest.raises(FileNotFoundError):
            question("streams/s/nothing")


def test_the_status_stays_the_same_while_nothing_changes(store):
    put(store, PATH, b"content")
    first = store.status(PATH)
    with store.reading([PATH]), store.reading([PATH]):
        assert store.status(PATH) == first
    assert store.status(PATH) == first


def test_a_file_that_is_deleted_is_gone_for_those_who_have_no_copy(store, other):
    put(store, PATH, b"content")
    put(store, "streams/s/other", b"other")
    store.delete(PATH)
    for one in (store, other):
        with pytest.raises(FileNotFoundError):
            one.status(PATH)
    assert read(other, "streams/s/other") == b"other"


def test_deleting_twice_is_fine(store):
    put(store, PATH, b"content")
    store.delete(PATH)
    store.delete(PATH)


def test_files_are_deleted_together_also_those_that_are_gone(store, other):
    paths = [put(store, f"streams/s/{number}", b"x") for number in range(30)]
    store.delete(paths[0])
    assert store.delete_all(paths) == paths
    for path in paths:
        with pytest.raises(FileNotFoundError):
            other.status(path)


def test_a_file_of_many_threads_is_read_by_all(store, other):
    content = token_bytes(1 << 20)
    put(store, PATH, content)
    together = threading.Barrier(8)

    def both(_: int) -> bool:
        together.wait()
        return read(other, PATH) == content

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(both, range(8)))


def test_what_is_staged_and_left_is_garbage_of_its_node(store):
    store.stage("left").write_bytes(b"x")
    assert list(store.garbage(before=NOW + timedelta(hours=1))) == ["staging/left"]
    assert list(store.garbage(before=NOW - timedelta(hours=1))) == []
    store.discard_staged("staging/left")
    assert list(store.staging.iterdir()) == []


def test_a_check_leaves_nothing_staged(store):
    store.check()
    assert list(store.staging.iterdir()) == []
