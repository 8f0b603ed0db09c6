import json
import os
import stat
import sys

import pytest

from headwater_client.cli.errors import CliError
from headwater_client.cli.logins import Logins, kept_at

if sys.platform != "linux":
    pytest.skip("elsewhere the configuration lies elsewhere", allow_module_level=True)


def _mode(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_there_are_none_at_first():
    assert Logins.read() == Logins(present=None, keys={})


def test_only_the_user_can_read_what_is_kept(config):
    former = os.umask(0)
    try:
        file = Logins(present="http://a", keys={"http://a": "hw_1"}).write()
    finally:
        os.umask(former)
    assert file == kept_at() == config / "headwater" / "login.json"
    assert (_mode(file), _mode(file.parent)) == (0o600, 0o700)
    assert Logins.read() == Logins(present="http://a", keys={"http://a": "hw_1"})


def test_a_file_that_others_could_read_is_replaced_by_one_that_they_cannot():
    file = Logins(present="http://a", keys={"http://a": "hw_1"}).write()
    file.chmod(0o644)
    file.parent.chmod(0o755)
    Logins(present="http://a", keys={"http://a": "hw_2"}).write()
    assert (_mode(file), _mode(file.parent)) == (0o600, 0o700)


def test_what_cannot_be_kept_leaves_what_was(monkeypatch):
    file = Logins(present="http://a", keys={"http://a": "hw_1"}).write()

    def full(_handle):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        Logins(present="http://a", keys={"http://a": "hw_2"}).write()
    assert Logins.read().keys == {"http://a": "hw_1"}
    assert [each.name for each in file.parent.iterdir()] == ["login.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", json.dumps({"url": "x", "keys": 1})])
def test_a_broken_file_is_told(text):
    file = Logins(present="http://a").write()
    file.write_text(text)
    with pytest.raises(CliError, match="delete it, and log in again"):
        Logins.read()
