import os
from datetime import UTC, datetime, timedelta

import pytest

from headwater.lake.store import LocalStore
from lake_builders import files_in

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def store(tmp_path):
    return LocalStore(tmp_path / "lake")


def put(store, path, *, age=HOUR, content=b"x"):
    """A file of an age at a path."""
    file = store.root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    stamp = (NOW - age).timestamp()
    os.utime(file, (stamp, stamp))
    return path


def test_a_kept_file_is_at_its_place_with_its_folders_and_no_longer_staged(store):
    store.stage("x").write_bytes(b"content")
    store.keep(store.stage("x"), "streams/s/task=t/x.parquet")
    assert files_in(store) == ["streams/s/task=t/x.parquet"]
    assert (store.root / "streams/s/task=t/x.parquet").read_bytes() == b"content"


def test_a_file_is_kept_in_a_folder_that_is_there_already(store):
    for name in "xy":
        store.stage(name).write_bytes(b"")
        store.keep(store.stage(name), f"streams/s/task=t/{name}.parquet")
    assert files_in(store) == ["streams/s/task=t/x.parquet", "streams/s/task=t/y.parquet"]


def test_a_file_that_was_never_staged_cannot_be_kept(store):
    with pytest.raises(FileNotFoundError):
        store.keep(store.stage("x"), "streams/s/x.parquet")


def test_a_staged_file_is_not_among_the_kept(store):
    store.stage("x").write_bytes(b"")
    assert files_in(store) == ["staging/x"]


def test_a_path_is_located_below_the_root(store):
    assert store.locate("streams/s/x.parquet") == f"{store.root}/streams/s/x.parquet"


def test_a_relative_root_is_located_from_wherever_a_reader_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = LocalStore(tmp_path.relative_to(tmp_path) / "lake")
    assert store.locate("x") == f"{tmp_path.resolve()}/lake/x"


def test_a_directory_can_be_used_again_with_what_is_in_it(store):
    put(store, "streams/s/x.parquet")
    assert files_in(LocalStore(store.root)) == ["streams/s/x.parquet"]


def test_a_deleted_file_is_gone_and_its_neighbour_stays(store):
    put(store, "streams/s/x.parquet")
    put(store, "streams/s/y.parquet")
    store.delete("streams/s/x.parquet")
    assert files_in(store) == ["streams/s/y.parquet"]


def test_deleting_twice_is_fine(store):
    put(store, "streams/s/x.parquet")
    store.delete("streams/s/x.parquet")
    assert store.delete("streams/s/x.parquet") is None


@pytest.mark.parametrize(("question", "folder"), [("garbage", "staging"), ("kept", "streams/s/task=t")])
def test_files_are_listed_from_an_age_on(store, question, folder):
    for age in (0, 1, 2, 3):
        put(store, f"{folder}/{age}", age=age * HOUR)
    assert sorted(getattr(store, question)(before=NOW - 2 * HOUR)) == [f"{folder}/2", f"{folder}/3"]


def test_garbage_is_what_is_staged_and_kept_is_what_is_not(store):
    put(store, "staging/x")
    put(store, "streams/s/y")
    put(store, "streams/s/task=t/z")
    assert list(store.garbage(before=NOW)) == ["staging/x"]
    assert sorted(store.kept(before=NOW)) == ["streams/s/task=t/z", "streams/s/y"]


def test_an_empty_store_lists_nothing(store):
    assert [*store.garbage(before=NOW), *store.kept(before=NOW)] == []


def test_a_file_that_goes_while_it_is_listed_is_left_out(store):
    (store.root / "staging/gone").symlink_to(store.root / "nowhere")  # found in the folder, but not when looked at
    put(store, "staging/x")
    assert list(store.garbage(before=NOW)) == ["staging/x"]


@pytest.mark.parametrize("name", ["a*", "a?", "a[b]", "**/lake"])
def test_a_root_that_readers_would_take_for_a_pattern_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match="pattern"):
        LocalStore(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_check_leaves_nothing(store):
    store.check()
    assert files_in(store) == []


def test_a_check_fails_where_files_cannot_be_written(store):
    (store.root / "staging").rmdir()
    with pytest.raises(OSError, match="staging"):
        store.check()
