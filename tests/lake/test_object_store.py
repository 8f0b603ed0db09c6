"""What an object store adds to the contract: no path is used twice, and each is on record before something is there."""

import errno
from collections.abc import Iterator
from pathlib import Path

import obstore
import pytest
from obstore.store import MemoryStore

from headwater.lake.object_store import MARKER, MOST_AT_ONCE, ObjectStore, connected
from headwater.lake.scratch import scratch_folder

PATH = "streams/s/task=t/x.parquet"


class Bucket:
    """A bucket in memory, and what was intended to be put there."""

    def __init__(self, folder: Path) -> None:
        self.client = MemoryStore()
        self.intended: list[tuple[str, list[str]]] = []
        self._scratch = scratch_folder(folder / "held")
        self.store = ObjectStore(
            self.client, folder, self._scratch.__enter__(), most_cached=1 << 30, intends=self._intends, name="s3://lake"
        )

    def _intends(self, path: str) -> None:
        self.intended.append((path, self.paths()))

    def paths(self) -> list[str]:
        return sorted(found["path"] for page in obstore.list(self.client) for found in page)

    def put(self, content: bytes, path: str = PATH) -> None:
        self.store.stage("staged").write_bytes(content)
        self.store.keep(self.store.stage("staged"), path)

    def close(self) -> None:
        self.store.close()
        self._scratch.__exit__(None, None, None)


@pytest.fixture
def bucket(tmp_path) -> Iterator[Bucket]:
    made = Bucket(tmp_path / "cache")
    yield made
    made.close()


def test_a_path_is_on_record_before_anything_is_put_there(bucket):
    bucket.put(b"content")
    assert bucket.intended == [(PATH, [])]
    assert bucket.paths() == [PATH]


def test_nothing_is_put_if_it_cannot_be_recorded(bucket, monkeypatch):
    def fail(_path: str) -> None:
        raise OSError(errno.EIO, "no record")

    monkeypatch.setattr(bucket.store, "_intends", fail)
    with pytest.raises(OSError, match="no record"):
        bucket.put(b"content")
    assert bucket.paths() == []


@pytest.mark.parametrize("size", [10, MOST_AT_ONCE + 10])
def test_a_put_that_is_repeated_is_fine_and_another_file_at_its_path_is_refused(bucket, size):
    content = b"x" * size
    bucket.put(content)
    bucket.put(content)
    for different in (b"y" + content[1:], content[1:], content + b"x"):
        with pytest.raises(FileExistsError, match="another object"):
            bucket.put(different)
    assert obstore.get(bucket.client, PATH).bytes() == content


def test_what_was_put_is_in_the_cache_and_is_not_fetched(bucket):
    bucket.put(b"content")
    assert bucket.store.status(PATH)[2] == len(b"content")
    assert bucket.store.cache.counts.misses == 0


def test_what_is_damaged_in_the_cache_is_fetched_again(bucket):
    bucket.put(b"content")
    with bucket.store.reading([PATH]):
        Path(bucket.store.locate(PATH)).write_bytes(b"damaged")
        assert bucket.store.renew(PATH)
        assert Path(bucket.store.locate(PATH)).read_bytes() == b"content"
    assert b"".join(map(bytes, bucket.store.blocks(PATH))) == b"content"


def test_nothing_is_listed(bucket, monkeypatch):
    bucket.put(b"content")
    monkeypatch.setattr(obstore, "list", None)
    assert list(bucket.store.kept(before=None)) == []
    bucket.store.delete_all([PATH])


def test_a_check_asks_the_store(bucket):
    with pytest.raises(FileNotFoundError):
        bucket.store.check()
    bucket.store.prepare()
    bucket.store.prepare()
    bucket.store.check()
    assert bucket.paths() == [MARKER]


def test_a_store_that_does_not_answer_is_no_file_that_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("headwater.lake.object_store._RETRY", {"max_retries": 0})
    with scratch_folder(tmp_path / "held") as held:
        store = ObjectStore(connected("s3://lake/x"), tmp_path, held, most_cached=1 << 30, name="s3://lake/x")
        for question in (store.check, store.prepare, lambda: store.status(PATH), lambda: store.delete(PATH)):
            with pytest.raises(OSError, match="s3://lake/x does not answer") as raised:
                question()
            assert raised.value.errno == errno.EHOSTUNREACH
        assert store.delete_all([PATH]) == []
        store.close()


def test_a_folder_that_readers_would_take_for_a_pattern_is_refused(tmp_path):
    with pytest.raises(ValueError, match="pattern"):
        ObjectStore(MemoryStore(), tmp_path / "a*", tmp_path, most_cached=1)
