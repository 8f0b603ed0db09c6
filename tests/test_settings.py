import os

import pytest
from pydantic import ValidationError
from structlog.testing import capture_logs

from headwater.settings import RENAMED, Settings, SettingsWrong

EVERYWHERE = "0.0.0.0"  # noqa: S104 - no server is started


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch, tmp_path):
    for name in os.environ:
        if name.startswith("HEADWATER_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_without_anything_said_all_is_embedded_and_local(tmp_path):
    settings = Settings()
    assert settings.is_embedded
    assert settings.catalog_url == f"sqlite:///{tmp_path / 'headwater-data' / 'catalog.sqlite'}"
    assert (settings.host, settings.port) == ("127.0.0.1", 8080)
    assert (settings.max_upload, settings.max_document) == (4 << 30, 16 << 20)


def test_arguments_win_over_the_environment_and_that_over_the_file(monkeypatch, tmp_path):
    (tmp_path / "headwater.toml").write_text('host = "127.0.0.2"\nport = 1\nmax_document = "1MiB"\n')
    monkeypatch.setenv("HEADWATER_PORT", "2")
    settings = Settings(data=tmp_path)
    assert (settings.host, settings.port, settings.max_document) == ("127.0.0.2", 2, 1 << 20)
    assert Settings(port=3).port == 3


def test_the_file_may_be_named(monkeypatch, tmp_path):
    (tmp_path / "other.toml").write_text("port = 7\n")
    monkeypatch.setenv("HEADWATER_CONFIG", "other.toml")
    assert Settings().port == 7


@pytest.mark.parametrize(
    "wrong",
    [
        {"prot": 1},
        {"port": 70000},
        {"database_url": "mysql://x"},
        {"secret_key": "short"},
        {"max_document": "1GiB"},
        {"log_format": "xml"},
        {"lake_read_role": "arn:aws:iam::1:role/readers"},
    ],
)
def test_a_wrong_setting_is_refused(wrong):
    with pytest.raises(ValidationError):
        Settings(**wrong)


def test_the_secret_key_is_not_shown():
    assert "hunter2" not in repr(Settings(secret_key="hunter2" * 6))


def test_a_misspelt_variable_and_a_missing_file_are_told(monkeypatch):
    monkeypatch.setenv("HEADWATER_MAX_UPLOD", "1GiB")
    with pytest.raises(SettingsWrong, match="there is no setting HEADWATER_MAX_UPLOD"):
        Settings.read()
    monkeypatch.delenv("HEADWATER_MAX_UPLOD")
    monkeypatch.setenv("HEADWATER_CONFIG", "missing.toml")
    with pytest.raises(SettingsWrong, match=r"missing\.toml, which does not exist"):
        Settings.read()


def test_a_misspelt_setting_in_the_file_names_itself_and_the_one_that_may_be_meant(tmp_path):
    (tmp_path / "headwater.toml").write_text("keep_alive_time_out = 5\ncolour = 1\n")
    with pytest.raises(SettingsWrong) as caught:
        Settings.read()
    first, second = (f"there is no setting {name}, in headwater.toml" for name in ("keep_alive_time_out", "colour"))
    assert f"{first}; keep_alive_timeout may be meant" in str(caught.value)
    assert f"{second}; docs/reference/settings.md" in str(caught.value)


def test_what_is_meant_for_clients_is_no_setting_and_no_mistake(monkeypatch):
    monkeypatch.setenv("HEADWATER_URL", "https://headwater.example.org")
    monkeypatch.setenv("HEADWATER_KEY", "hw_key")
    assert Settings.read() == Settings()


def test_a_former_name_of_a_setting_works_with_a_warning(monkeypatch, tmp_path):
    monkeypatch.setenv("HEADWATER_UPLOAD_STALL", "7")
    (tmp_path / "headwater.toml").write_text("notice_pauses = [1, 2]\nwebhook_backoff = [3]\nwebhook_pauses = [4]\n")
    with capture_logs() as lines:
        settings = Settings.read()
    assert settings.upload_idle_timeout == 7
    assert settings.notice_backoff == (1, 2)
    assert settings.webhook_backoff == (3,)
    warned = {line["former_name"]: line["name"] for line in lines if line["event"] == "settings.renamed"}
    assert warned == {name: RENAMED[name] for name in ("upload_stall", "notice_pauses", "webhook_pauses")}


def test_the_present_name_of_a_setting_wins_over_the_former_one(monkeypatch):
    monkeypatch.setenv("HEADWATER_UPLOAD_STALL", "7")
    monkeypatch.setenv("HEADWATER_UPLOAD_IDLE_TIMEOUT", "8")
    assert Settings.read().upload_idle_timeout == 8


def test_a_broken_file_is_told(tmp_path):
    (tmp_path / "headwater.toml").write_text("port = [")
    with pytest.raises(SettingsWrong, match=r"the file headwater\.toml cannot be read"):
        Settings.read()


@pytest.mark.parametrize("said", ["1,5,30", "[1, 5, 30]"])
def test_pauses_are_written_with_commas_or_as_a_list(monkeypatch, said):
    monkeypatch.setenv("HEADWATER_NOTICE_BACKOFF", said)
    assert Settings.read().notice_backoff == (1, 5, 30)


@pytest.mark.parametrize(
    ("given", "reached_at"),
    [
        ({}, "http://127.0.0.1:8080"),
        ({"host": "::1", "port": 9}, "http://[::1]:9"),
        ({"public_url": "https://h.example"}, "https://h.example"),
    ],
)
def test_crawlers_reach_the_server_where_it_listens_unless_more_is_said(given, reached_at):
    assert Settings(**given).reached_at == reached_at


@pytest.mark.parametrize(
    ("given", "allowed"),
    [
        ({}, True),
        ({"host": "::1"}, True),
        ({"host": "localhost", "public_url": "http://127.0.0.1:8080"}, True),
        ({"host": EVERYWHERE}, False),
        ({"host": "10.0.0.5"}, False),
        ({"host": "headwater.example.org"}, False),
        ({"public_url": "https://headwater.example.org"}, False),
        ({"host": EVERYWHERE, "crawler_private_addresses": True}, True),
        ({"crawler_private_addresses": False}, False),
    ],
)
def test_private_crawlers_are_called_by_a_server_that_is_private_itself(given, allowed):
    assert Settings(**given).calls_private_crawlers is allowed
