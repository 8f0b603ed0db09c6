import os
import stat

from headwater.app import create_app
from headwater.catalog import keys
from headwater.settings import Settings


async def test_the_first_start_makes_an_admin_key_that_only_the_owner_can_read(tmp_path, capsys):
    settings = Settings(data=tmp_path / "data")
    for _ in range(2):
        app = create_app(settings)
        async with app.router.lifespan_context(app):
            secret = (settings.data / "admin.key").read_text().strip()
            key = await app.state.services.db.read(keys.find, secret, app.state.services.clock())
            assert key.scopes == ("admin",)
    # Standard output is no terminal here, and may be a log: it names the file.
    said = capsys.readouterr().out
    assert secret not in said
    assert said.count(str(settings.data / "admin.key")) == 1


async def test_only_the_owner_can_read_what_a_server_keeps(tmp_path):
    before = os.umask(0o022)
    try:
        settings = Settings(data=tmp_path / "data")
        app = create_app(settings)
        async with app.router.lifespan_context(app):
            store = app.state.services.store
            store.stage("x").write_bytes(b"x")
            store.keep(store.stage("x"), "streams/s/task=t/x.parquet")
            assert _open_to_others(settings.data) == []
    finally:
        os.umask(before)


def _open_to_others(folder):
    return [str(path) for path in [folder, *folder.rglob("*")] if stat.S_IMODE(path.stat().st_mode) & 0o077]
