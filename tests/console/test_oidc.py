from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from joserfc.jwk import RSAKey

from headwater.app import create_app
from headwater.catalog import audit, keys
from headwater.catalog.audit import Wanted
from headwater.console import sessions
from headwater.settings import Settings
from oidc_server import CLIENT, SECRET, OidcServer


@pytest.fixture(scope="module")
def keys_of_provider():
    return OidcServer()


@pytest.fixture
def provider(keys_of_provider):
    keys_of_provider.key = keys_of_provider.own_key
    keys_of_provider.person = {"sub": "42", "email": "anna@example.org", "groups": ["crawls"]}
    keys_of_provider.claims = {}
    return keys_of_provider


@pytest.fixture
def settings(settings, provider):
    more = {
        "oidc_issuer": provider.issuer,
        "oidc_client_id": CLIENT,
        "oidc_client_secret": SECRET,
        "oidc_scopes": ("ops=admin", "crawls=write"),
        "public_url": "http://headwater.test",
    }
    return Settings(**{**{name: getattr(settings, name) for name in settings.model_fields_set}, **more})


async def _to_provider(stranger, after: str = "/console/streams") -> httpx.Response:
    begun = await stranger.client.get("/console/oidc", params={"next": after})
    assert begun.status_code == 303, begun.text
    async with httpx.AsyncClient() as elsewhere:
        return await elsewhere.get(begun.headers["location"])


async def _signed_in(stranger) -> httpx.Response:
    back = urlsplit((await _to_provider(stranger)).headers["location"])
    return await stranger.client.get(f"{back.path}?{back.query}")


async def test_somebody_signs_in_with_the_scope_of_a_claim(stranger, say):
    assert "Sign in with your organization" in say(await stranger.open("/console/sign-in"))
    answer = await _signed_in(stranger)
    assert (answer.status_code, answer.headers["location"]) == (303, "/console/streams")
    said = say(await stranger.open("/console/"))
    assert "anna@example.org write" in said
    assert "needs" in say(await stranger.open("/console/keys", status=403))
    (entry, *_) = await stranger.services.db.read(audit.page, Wanted(action="sign_in"), before=None, limit=1)
    assert entry.name == "anna@example.org"


async def test_somebody_who_comes_again_is_the_same_with_what_the_claim_says_now(stranger, provider):
    await _signed_in(stranger)
    provider.person |= {"groups": ["crawls", "ops"]}
    await _signed_in(stranger)
    found = [key for key in await stranger.services.db.read(keys.listed) if key.name == "anna@example.org"]
    assert [key.scopes for key in found] == [("admin",)]
    assert found[0].expires_at - stranger.services.clock() <= sessions.IDLE
    assert found[0].expires_at - stranger.services.clock() > sessions.IDLE - timedelta(minutes=5)


async def test_the_key_of_a_person_is_no_secret_that_anybody_could_send(stranger, provider):
    await _signed_in(stranger)
    for secret in (f"{provider.issuer}\n42", f"oidc{provider.issuer}\n42"):
        assert await stranger.services.db.read(keys.find, secret, stranger.services.clock()) is None


async def test_a_revoked_person_stays_out(stranger, say):
    await _signed_in(stranger)
    (key,) = [key for key in await stranger.services.db.read(keys.listed) if key.name == "anna@example.org"]
    await stranger.services.db.write(keys.revoke, key.fid, at=stranger.services.clock())
    assert (await stranger.client.get("/console/")).status_code == 303
    answer = await _signed_in(stranger)
    assert answer.status_code == 401
    assert "was revoked" in say(answer.text)


async def test_who_has_no_value_of_the_table_is_refused(stranger, provider, say):
    provider.person |= {"groups": ["cooks"]}
    answer = await _signed_in(stranger)
    assert answer.status_code == 401
    assert "anna@example.org has no access" in say(answer.text)
    assert (await stranger.client.get("/console/")).status_code == 303


@pytest.mark.parametrize(
    "wrong",
    [
        {"aud": "another"},
        {"iss": "https://evil.example"},
        {"nonce": "replayed"},
        {"exp": 1_000_000_000},
        {"exp": None},
        {"iat": 9_000_000_000},
    ],
    ids=str,
)
async def test_an_id_token_that_is_not_for_this_sign_in_is_refused(stranger, provider, wrong, say):
    provider.claims = wrong
    answer = await _signed_in(stranger)
    assert answer.status_code == 401
    assert "is not valid" in say(answer.text)
    assert "headwater_session" not in answer.headers.get("set-cookie", "")


async def test_an_id_token_that_another_key_has_signed_is_refused(stranger, provider, say):
    provider.key = RSAKey.generate_key(2048, {"kid": "one"})
    assert "is not valid" in say((await _signed_in(stranger)).text)


async def test_a_sign_in_that_another_browser_began_is_refused(stranger, say):
    back = urlsplit((await _to_provider(stranger)).headers["location"])
    stranger.client.cookies.clear()
    answer = await stranger.client.get(f"{back.path}?{back.query}")
    assert "was not begun in this browser" in say(answer.text)
    await _to_provider(stranger)
    code = parse_qs(back.query)["code"][0]
    answer = await stranger.client.get("/console/oidc/callback", params={"code": code, "state": "guessed"})
    assert "was not begun in this browser" in say(answer.text)


async def test_a_code_works_once(stranger):
    back = urlsplit((await _to_provider(stranger)).headers["location"])
    cookies = dict(stranger.client.cookies)
    assert (await stranger.client.get(f"{back.path}?{back.query}")).status_code == 303
    stranger.client.cookies.clear()
    cookie = {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}
    assert (await stranger.client.get(f"{back.path}?{back.query}", headers=cookie)).status_code == 401


async def test_a_provider_that_does_not_answer_is_said_to_and_keys_still_work(settings, say):
    gone = OidcServer()
    gone.close()
    values = {name: getattr(settings, name) for name in settings.model_fields_set} | {"oidc_issuer": gone.issuer}
    app = create_app(Settings(**values))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://headwater.test") as client,
    ):
        answer = await client.get("/console/oidc")
        assert answer.status_code == 503
        assert "does not answer" in say(answer.text)
        assert (await client.get("/console/sign-in")).status_code == 200


@pytest.mark.parametrize(
    "wrong",
    [
        {"oidc_issuer": "http://login.example.org"},
        {"oidc_scopes": ()},
        {"oidc_scopes": ("ops=root",)},
        {"oidc_client_id": None},
    ],
    ids=str,
)
def test_settings_that_do_not_go_together_are_refused(wrong):
    values = {"oidc_issuer": "https://x.example", "oidc_client_id": "hw", "oidc_scopes": ("*=read",)}
    with pytest.raises(ValueError, match="oidc_"):
        Settings(**{**values, **wrong})
