"""Nothing that an EC was sent in confidence stays with what it answers, wherever that is kept or logged."""

import base64
import json
from urllib.parse import quote

import httpx
import pytest
from sqlalchemy import select
from structlog.testing import capture_logs

from builders import AT, an_external
from headwater.catalog import objects, tables
from headwater.catalog.objects import EXTERNALS
from headwater.catalog.vault import Vault
from headwater.domain.errors import LoginUnfinished, LoginUnusable
from headwater.domain.external import CredentialType
from headwater.domain.parameter import Parameter, ParameterType
from headwater.domain.redaction import REDACTED
from headwater.lifecycle import oauth
from headwater.lifecycle.ec.client import EcClient
from headwater.lifecycle.ec.dispatcher import Dispatcher
from headwater.lifecycle.webhooks.client import WebhookClient

PIN = 'pin "ä" 4711'
PASSWORD = "hunter2&more"
HEADER = "Bearer k3y-of-the-ec"
PARAMETERS = (Parameter(name="pin", type=ParameterType.PASSWORD), Parameter(name="shop", type=ParameterType.STRING))


@pytest.fixture
async def ec_client(ecs):
    made = EcClient(ecs.transport())
    yield made
    await made.close()


async def _begun(world):
    external = an_external(
        endpoint="http://user:p4ssw0rd@ec.test/",
        credential=CredentialType.BASIC,
        headers=world.vault.seal_headers({"X-Key": HEADER}, {}),
        parameters=PARAMETERS,
    )
    crawler = await world.crawler(
        external=external,
        sealed_credential=world.vault.seal({"user": "jo@shop.test", "password": PASSWORD}),
        credential_type="basic",
        params=Vault.seal_passwords(world.vault, PARAMETERS, {"pin": PIN, "shop": "Books & more"}),
    )
    return await world.task(crawler)


def _secrets(world, task):
    token = world.vault.task_token(task.fid, task.attempt)
    return [PIN, PASSWORD, "jo@shop.test", HEADER, "k3y-of-the-ec", token, "p4ssw0rd"]


async def _kept(world):
    """All that the catalog holds, as one text."""

    def read(tx):
        rows = [tx.execute(select(table)).all() for table in tables.metadata.sorted_tables]
        return json.dumps([[list(map(str, row)) for row in some] for some in rows], ensure_ascii=False)

    return await world.db.read(read)


async def _turn(world, ec_client):
    dispatcher = Dispatcher(world.db, ec_client, vault=world.vault, public_url="https://be", clock=world.clock)
    with capture_logs() as logged:
        await dispatcher.turn(at=world.at)
        await dispatcher.idle()
    return str(logged)


def _fastapi(request):
    sent = json.loads(request.content)
    quoted = {"detail": [{"type": "missing", "loc": ["body", "x"], "input": sent, "ctx": dict(request.headers)}]}
    return httpx.Response(422, json=quoted)


def _status(code):
    def answer(request):
        said = {"message": f"got {request.content.decode()}", "detail": {"headers": str(request.headers.raw)}}
        return httpx.Response(200, json={"success": True, "payload": {"status": {"code": code, **said}}})

    return answer


ANSWERS = {
    "422 as FastAPI": _fastapi,
    "taken": _status(102),
    "failed at once": _status(500),
    "HTML": lambda request: httpx.Response(400, text=f"<pre>{quote(request.content.decode())}</pre>"),
    "text": lambda request: httpx.Response(500, content=request.content),
    "Base64": lambda request: httpx.Response(400, content=base64.b64encode(b"::" + request.content)),
    "not JSON": lambda request: httpx.Response(200, content=b"!" + request.content),
    "wrong types": lambda request: httpx.Response(200, json={"payload": request.content.decode()}),
    "reason": lambda _: httpx.Response(400, extensions={"reason_phrase": f"no {PASSWORD} {HEADER}".encode()}),
    "redirect": lambda request: httpx.Response(
        307, headers={"Location": f"https://{request.url.host}/?pin={quote(PIN)}&p={quote(PASSWORD)}"}
    ),
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_what_an_ec_echoes_of_a_start_is_kept_and_logged_without_secrets(world, ecs, ec_client, name):
    ecs.answer(ANSWERS[name])
    task = await _begun(world)
    logged = await _turn(world, ec_client)
    assert len(ecs.asked) == 1
    now = await world.now(task)
    # The password of its URL stands where its developer wrote it.
    kept = (await _kept(world)).replace("http://user:p4ssw0rd@ec.test/", "")
    for secret in _secrets(world, task):
        for form in {secret, json.dumps(secret)[1:-1], quote(secret)}:
            assert form not in kept + logged + repr((now.message, now.detail)), form
    if name == "422 as FastAPI":
        (fault,) = now.detail["answer"]["detail"]
        assert fault["loc"] == ["body", "x"]
        assert fault["input"]["params"] == {"pin": REDACTED, "shop": "Books & more"}
        assert fault["input"]["credential"] == {"user": REDACTED, "password": REDACTED}
        assert fault["input"]["fid"] == task.fid
        assert fault["ctx"]["x-key"] == REDACTED


@pytest.mark.parametrize("path", ["refused", "broken"])
async def test_what_an_ec_answers_about_a_login_is_told_without_secrets(world, ecs, ec_client, path):

    uuid = "5b0c1c52-5a39-4b6c-9d3f-0d6a3c1f7e21"
    external = await world.db.write(
        objects.add,
        EXTERNALS,
        an_external(
            credential=CredentialType.OAUTH,
            oauth="http://ec.test/oauth",
            endpoint="http://ec.test",
            headers=world.vault.seal_headers({"X-Key": HEADER}, {}),
        ),
    )
    echo = f"no {HEADER} for {quote(uuid)} in {json.dumps(HEADER)}"
    ecs.answer(
        httpx.Response(400, json={"detail": echo})
        if path == "refused"
        else httpx.Response(302, headers={"Location": f"https://other.test/{quote(HEADER)}?{uuid}"})
    )
    with pytest.raises((LoginUnfinished, LoginUnusable)) as caught, capture_logs() as logged:
        await oauth.fetch(world.db, ec_client, external.fid, uuid, version=None, vault=world.vault, clock=world.clock)
    assert (REDACTED in str(caught.value.detail)) == (path == "refused")
    for secret in (HEADER, "k3y-of-the-ec", uuid):
        assert secret not in str(caught.value.detail) + str(logged)
    assert ecs.asked[0].headers["X-Key"] == HEADER


async def test_names_that_an_ec_gives_with_a_token_are_kept_without_secrets(world, ecs, ec_client):

    uuid = "5b0c1c52-5a39-4b6c-9d3f-0d6a3c1f7e21"
    fields = {"credential": CredentialType.OAUTH, "oauth": "http://ec.test/oauth", "endpoint": "http://ec.test"}
    headers = world.vault.seal_headers({"X-Key": HEADER}, {})
    external = await world.db.write(objects.add, EXTERNALS, an_external(**fields, headers=headers))
    ecs.answer(httpx.Response(200, json={"token": "t0ken", "user": f"jo {HEADER}", "reported_name": f"Jo {uuid}"}))
    found, _ = await oauth.fetch(
        world.db, ec_client, external.fid, uuid, version=None, vault=world.vault, clock=world.clock
    )
    assert (found.user, found.reported_name) == (f"jo {REDACTED}", f"Jo {REDACTED}")
    assert world.vault.unseal(found.sealed)["given"]["user"] == f"jo {HEADER}"


async def test_what_a_receiver_echoes_is_kept_without_signature_and_without_secrets_of_the_url():
    signature = "v1,bGlrZSBhIHNpZ25hdHVyZSB0aGF0IGlzIGdvb2Q="

    def echo(request):
        return httpx.Response(400, text=f"{request.url} {dict(request.headers)} {request.content.decode()}")

    webhook_client = WebhookClient(is_private_allowed=True, transport=httpx.MockTransport(echo))
    outcome = await webhook_client.send(
        "https://jo:p4ssw0rd@hook.test/x?token=a%2Fb-c-d",
        {"webhook-id": "d1", "webhook-signature": signature},
        '{"type":"task.done"}',
        at=AT,
    )
    await webhook_client.close()
    for secret in (signature[3:], "p4ssw0rd", "a%2Fb-c-d", "a/b-c-d"):
        assert secret not in outcome.answer + outcome.error
    assert '{"type":"task.done"}' in outcome.answer
    assert "d1" in outcome.answer
