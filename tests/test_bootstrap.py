import io
import stat
import sys
from datetime import UTC, datetime

import pytest
from sqlalchemy import create_engine, text

from builders import SECRET
from headwater.bootstrap import NotReady, announce, make_private, prepare, prepare_catalog, secret_key, write_private
from headwater.catalog.core import migrate
from headwater.settings import Settings


def test_an_embedded_catalog_is_migrated_at_the_start(tmp_path):
    settings = Settings(data=tmp_path / "data")
    prepare_catalog(settings)
    assert migrate.present(settings.catalog_url) == migrate.newest()


def test_another_catalog_is_not_migrated_unasked(tmp_path):
    settings = Settings(data=tmp_path, database_url=f"sqlite:///{tmp_path / 'x.sqlite'}", secret_key=SECRET)
    with pytest.raises(NotReady, match="run 'headwater migrate'"):
        prepare_catalog(settings)


def test_a_catalog_of_a_newer_headwater_is_left_alone(tmp_path):
    settings = Settings(data=tmp_path)
    prepare_catalog(settings)

    engine = create_engine(settings.catalog_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(NotReady, match="newer Headwater"):
        prepare_catalog(settings)


def test_the_secret_key_of_an_embedded_server_is_made_once(tmp_path):
    settings = Settings(data=tmp_path)
    first = secret_key(settings)
    assert len(first) >= 32
    assert secret_key(settings) == first
    assert secret_key(Settings(data=tmp_path, secret_key=SECRET)) == SECRET


def test_a_server_on_another_catalog_needs_a_secret_key(tmp_path):
    settings = Settings(data=tmp_path, database_url="postgresql+psycopg://x/y")
    with pytest.raises(NotReady, match="HEADWATER_SECRET_KEY"):
        secret_key(settings)


def test_a_private_file_is_not_written_over(tmp_path):
    write_private(tmp_path / "k", "one")
    with pytest.raises(FileExistsError):
        write_private(tmp_path / "k", "two")
    assert (tmp_path / "k").read_text() == "one\n"
    assert [file.name for file in tmp_path.iterdir()] == ["k"]


def _mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    ("before", "after", "of_file"), [(0o755, 0o700, 0o600), (0o770, 0o700, 0o600), (0o750, 0o750, 0o640)]
)
def test_a_data_directory_that_is_open_to_others_is_closed(tmp_path, before, after, of_file):
    data = tmp_path / "data"
    data.mkdir()
    (data / "catalog.sqlite").touch()
    (data / "catalog.sqlite").chmod(0o640)
    data.chmod(before)
    make_private(data)
    assert (_mode(data), _mode(data / "catalog.sqlite")) == (after, of_file)


class Terminal(io.StringIO):
    """A standard output that somebody looks at."""

    def isatty(self):
        return True


class Broken(io.StringIO):
    """A standard output whose reader is gone."""

    def write(self, _text):
        raise BrokenPipeError


def test_the_address_is_told_in_words_on_a_terminal(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdout", Terminal())
    announce(Settings(data=tmp_path / "data", port=9000))
    assert sys.stdout.getvalue() == f"Headwater: http://127.0.0.1:9000, data in {tmp_path / 'data'}\n"


def test_the_admin_key_is_printed_on_a_terminal(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdout", Terminal())
    prepare(Settings(data=tmp_path / "data"), at=datetime.now(UTC))
    assert (tmp_path / "data/admin.key").read_text().strip() in sys.stdout.getvalue()


@pytest.mark.parametrize("stdout", [Broken(), None])
def test_a_start_does_not_need_a_standard_output(tmp_path, monkeypatch, stdout):
    monkeypatch.setattr(sys, "stdout", stdout)
    prepare(Settings(data=tmp_path / "data"), at=datetime.now(UTC))
    assert (tmp_path / "data/admin.key").exists()
