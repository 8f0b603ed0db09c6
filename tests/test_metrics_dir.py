import os
import subprocess
import sys
import tempfile
import time

import pytest

from headwater.metrics_dir import counts


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Where folders for temporary files are made."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def _age(folder, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(folder, (then, then))


def test_the_folder_is_gone_in_the_end(folder):
    with counts() as made:
        assert made.parent == folder
        (made / "counter_1.db").write_bytes(b"x")
    assert list(folder.iterdir()) == []


def test_a_folder_that_a_killed_server_left_behind_is_deleted_by_the_next(folder):
    code = "import os; from headwater.metrics_dir import counts\nwith counts(): os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "TMPDIR": str(folder)}, check=False)
    (left,) = folder.iterdir()
    (left / "counter_1.db").write_bytes(b"x")
    _age(left, 3600)
    with counts() as made:
        assert list(folder.iterdir()) == [made]


def test_the_folder_of_a_server_that_runs_stays(folder):
    with counts() as first:
        _age(first, 3600)
        with counts() as second:
            assert set(folder.iterdir()) == {first, second}


def test_a_folder_that_was_just_made_and_is_not_held_yet_stays(folder):
    (folder / "headwater-metrics-new").mkdir()
    with counts() as made:
        assert set(folder.iterdir()) == {folder / "headwater-metrics-new", made}


def test_other_things_stay(folder):
    (folder / "headwater-metrics-file").write_text("not a folder")
    (folder / "other").mkdir()
    for each in folder.iterdir():
        _age(each, 3600)
    with counts():
        assert (folder / "other").exists()
        assert (folder / "headwater-metrics-file").exists()
