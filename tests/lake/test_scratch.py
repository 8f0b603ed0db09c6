import signal
import subprocess
import sys

from headwater.lake.scratch import scratch_folder

#: Holds a scratch folder with a file in it, and says where, until it is killed.
_HOLDING = """
import sys, time
from pathlib import Path
from headwater.lake.scratch import scratch_folder
with scratch_folder(Path(sys.argv[1])) as folder:
    (folder / "spilled.tmp").write_bytes(b"x" * 1000)
    print(folder.name, flush=True)
    time.sleep(600)
"""


def _holder(root):
    process = subprocess.Popen([sys.executable, "-c", _HOLDING, str(root)], stdout=subprocess.PIPE, text=True)
    return process, process.stdout.readline().strip()


def _kill(process):
    with process:
        process.send_signal(signal.SIGKILL)


def test_a_folder_lasts_as_long_as_it_is_used(tmp_path):
    with scratch_folder(tmp_path / "spill") as folder:
        assert folder.is_dir()
    assert list((tmp_path / "spill").iterdir()) == []


def test_what_a_killed_process_left_is_deleted_and_what_a_living_one_has_stays(tmp_path):
    (killed, abandoned), (living, used) = _holder(tmp_path), _holder(tmp_path)
    _kill(killed)
    with scratch_folder(tmp_path) as folder:
        assert {found.name for found in tmp_path.iterdir()} == {used, folder.name}
        assert (tmp_path / used / "spilled.tmp").exists()
    assert not (tmp_path / abandoned).exists()
    _kill(living)


def test_files_of_a_version_without_folders_are_deleted(tmp_path):
    (tmp_path / "none-12.parquet").touch()
    (tmp_path / "duckdb_temp_storage-0.tmp").touch()
    with scratch_folder(tmp_path) as folder:
        assert list(tmp_path.iterdir()) == [folder]


def test_where_no_folder_can_be_made_there_is_a_path_nevertheless(tmp_path):
    (tmp_path / "spill").touch()
    with scratch_folder(tmp_path / "spill") as folder:
        assert not folder.exists()


def test_a_link_to_a_folder_elsewhere_is_not_followed(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").touch()
    root = tmp_path / "spill"
    root.mkdir()
    (root / "link").symlink_to(elsewhere)
    with scratch_folder(root):
        pass
    assert (elsewhere / "kept").exists()
