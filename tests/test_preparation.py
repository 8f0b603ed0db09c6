import pytest
from sqlalchemy import create_engine, text

from builders import SECRET
from headwater.catalog import migrate
from headwater.preparation import NotReady, prepare_catalog, secret_key, write_private
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
