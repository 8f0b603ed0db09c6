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
            key = await app.state.parts.db.read(keys.find, secret)
            assert key.scopes == ("admin",)
    assert capsys.readouterr().out.count(secret) == 1
    for name in ("admin.key", "secret.key"):
        assert stat.S_IMODE((settings.data / name).stat().st_mode) == 0o600
