import os
import subprocess
import sys

import pytest

from headwater import data_lock
from headwater.data_lock import DataInUse
from headwater.settings import Settings


def _settings(folder, **given) -> Settings:
    return Settings(data=folder / "data", **given)


def test_a_second_server_on_a_data_directory_is_refused_in_words_that_name_the_first(tmp_path):
    with data_lock.held(_settings(tmp_path)), pytest.raises(DataInUse) as refused, data_lock.held(_settings(tmp_path)):
        pass
    said = str(refused.value)
    assert f"process {os.getpid()}" in said
    assert str(tmp_path / "data") in said
    assert "HEADWATER_SHARED_DATA=true" in said


def test_the_directory_is_free_once_its_server_has_ended(tmp_path):
    for _ in range(2):
        with data_lock.held(_settings(tmp_path)):
            pass


def test_a_server_that_was_killed_holds_nothing(tmp_path):
    script = (
        "import os, pathlib, signal; from headwater import data_lock; from headwater.settings import Settings\n"
        f"with data_lock.held(Settings(data=pathlib.Path({str(tmp_path / 'data')!r}))):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode < 0
    with data_lock.held(_settings(tmp_path)):
        pass


@pytest.mark.parametrize(
    "given", [{"shared_data": True}, {"database_url": "postgresql+psycopg://x/y"}], ids=["shared", "PostgreSQL"]
)
def test_servers_that_are_meant_to_share_a_directory_do(tmp_path, given):
    settings = _settings(tmp_path, **given)
    with data_lock.held(settings), data_lock.held(settings):
        pass


def test_another_directory_is_another_lock(tmp_path):
    with data_lock.held(_settings(tmp_path / "one")), data_lock.held(_settings(tmp_path / "other")):
        pass


def test_a_directory_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "data").touch()
    with pytest.raises(DataInUse, match="cannot be used"), data_lock.held(_settings(tmp_path)):
        pass
