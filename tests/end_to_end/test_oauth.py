"""Logins by OAuth at a real EC, and the command line for them."""

import json
import threading
from datetime import UTC, datetime, timedelta

import pytest

from end_to_end.command_line import CommandLine
from end_to_end.conftest import made, wait_for
from end_to_end.crawler_server import CrawlerServer


@pytest.fixture
def ec():
    server = CrawlerServer()
    yield server
    server.close()


def _gives(*, seconds: float = 3600, **given) -> tuple[int, dict]:
    expiry = datetime.now(UTC) + timedelta(seconds=seconds)
    return 200, {"user": "jo", "token": "s3cret", "expiry": expiry.isoformat(), "issued": None} | given


def _registered(client, ec: CrawlerServer) -> dict:
    oauth = {"endpoint": ec.url, "credential": "oauth", "oauth": f"{ec.url}/oauth", "docIdField": "id"}
    return made(client, "/externals", {"meta": {"name": "Mailbox"}, "oauthParameters": {"subdomain": "acme"}} | oauth)


def _begun(client, external: dict) -> dict:
    return client.get(f"/externals/{external['fid']}/oauth").json()["payload"]


def test_a_token_comes_to_its_ec_and_nowhere_else_and_is_cleared_after_a_restart(serve, ec):
    served = serve(HEADWATER_LOG_LEVEL="debug", HEADWATER_NOTICE_BACKOFF="0.2,0.2")
    with served.client() as client:
        external = _registered(client, ec)
        begun = _begun(client, external)
        path = f"/actions/externals/{external['fid']}/oauth/token"
        assert client.post(path, json={"uuid": begun["uuid"]}).status_code == 409
        ec.on_token = lambda _uuid: _gives()
        kept = made(client, path, {"uuid": begun["uuid"]})
        stream = made(client, "/streams")
        links = [{"from": {"type": "streams", "fid": stream["fid"]}}]
        body = {"meta": {"links": links}, "credential": {"fid": kept["fid"]}}
        crawler = made(client, f"/actions/externals/{external['fid']}/crawler", body)
        made(client, f"/actions/crawlers/{crawler['fid']}/task")
        wait_for(lambda: ec.starts)
        assert ec.starts[0]["credential"]["token"] == "s3cret"
        assert ec.logins[-1] == ("GET", {"uuid": [begun["uuid"]], "subdomain": ["acme"]})
        port = ec.port
        ec.close()
        assert client.post(path, json={"uuid": begun["uuid"]}).status_code == 503
        client.delete(f"/crawlers/{crawler['fid']}?cascade=true").raise_for_status()
        client.delete(f"/externals/{external['fid']}/oauth/credentials/{kept['fid']}").raise_for_status()
    served.kill()
    again = CrawlerServer(port)
    served.start()
    try:
        # The one that is down was told of it some times; its claim may have to run out.
        wait_for(lambda: ("DELETE", {"uuid": [begun["uuid"]], "subdomain": ["acme"]}) in again.logins, seconds=90)
    finally:
        again.close()
    log = served.log.read_text()
    assert "credential.fetched" in log
    assert "s3cret" not in log
    assert begun["uuid"] not in log
    stored = b"".join(file.read_bytes() for file in served.data.glob("catalog.sqlite*"))
    assert b"s3cret" not in stored
    assert begun["uuid"].encode() not in stored


def test_an_ec_that_takes_its_time_holds_up_nobody(serve, ec):
    served = serve()
    released = threading.Event()

    def late(_uuid: str) -> tuple[int, dict]:
        released.wait(20)
        return _gives()

    ec.on_token = late
    answers = []
    with served.client() as client, served.client() as other:
        external = _registered(client, ec)
        begun = _begun(client, external)
        path = f"/actions/externals/{external['fid']}/oauth/token"
        asking = threading.Thread(target=lambda: answers.append(client.post(path, json={"uuid": begun["uuid"]})))
        asking.start()
        wait_for(lambda: ec.logins)
        assert other.patch(f"/externals/{external['fid']}", json={"meta": {"image": "a.png"}}).status_code == 200
        assert not answers
        released.set()
        asking.join()
    assert answers[0].status_code == 201


@pytest.fixture
def cli(serve, tmp_path) -> CommandLine:
    return CommandLine(serve(), tmp_path)


def test_a_person_logs_in_on_the_command_line_and_sets_up_a_crawler(cli, ec):
    with cli.served.client() as client:
        external = _registered(client, ec)
    ran = cli("crawlers", "create", "Jo", "-e", "Mailbox", "--new-stream", "Mails")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "--credential-fid FID; 'headwater externals login" in ran.stderr
    ran = cli("externals", "login", "Mailbox", "--wait", "0")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert f"Log in at {ec.url}/oauth/login?uuid=" in ran.stderr
    assert "nobody has logged in" in ran.stderr
    with cli.terminal("externals", "login", "Mailbox", columns=400) as terminal:
        terminal.answer("Then press Enter", "")
        terminal.expect("nobody has logged in")
        ec.on_token = lambda _uuid: _gives(reported_name="Jo Miller")
        terminal.answer("Then press Enter", "")
        terminal.expect("(Jo Miller, expires at ")
        assert terminal.end() == 0
    ec.on_token = lambda _uuid: _gives(seconds=-60)
    expired = json.loads(cli("externals", "login", "Mailbox", "--reset", "--json").stdout)
    assert expired["expired"]
    with cli.terminal("crawlers", "create", "Jo", "-e", "Mailbox", "--new-stream", "Mails", columns=120) as terminal:
        terminal.expect("expired at")
        terminal.answer("Credential [1]", "3")
        terminal.answer("Credential [1]", "2")
        assert terminal.end() == 0
    named = cli.answer("crawlers", "show", "Jo")["credential"]["fid"]
    listed = cli.answer("externals", "credentials", "Mailbox")
    assert [one["fid"] for one in listed] == [expired["fid"], named]
    ec.on_token = lambda _uuid: _gives()
    renewed = json.loads(cli("externals", "login", "Mailbox", "--renew", expired["fid"], "--json").stdout)
    assert (renewed["fid"], renewed["expired"]) == (expired["fid"], False)
    words = ("crawlers", "create", "Too", "-e", external["fid"], "--new-stream", "B")
    ran = cli(*words, "--credential-fid", renewed["fid"])
    assert ran.returncode == 0, ran.stderr
    ran = cli("externals", "forget", "Mailbox", named)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "is named by crawler" in ran.stderr
    with cli.served.client() as client:
        crawler = client.get("/crawlers?name=Jo").json()["payload"][0]
        client.delete(f"/crawlers/{crawler['fid']}").raise_for_status()
    assert cli("externals", "forget", "Mailbox", named).stdout == f"Credential {named} is forgotten.\n"
