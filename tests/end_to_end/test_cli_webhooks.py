"""``headwater webhooks`` against a served Headwater, and a receiver that is really called."""

import json

import pytest

from end_to_end.command_line import CommandLine, set_up
from end_to_end.conftest import Served, wait_for
from end_to_end.receiver import Receiver


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    environment = {"HEADWATER_WEBHOOK_PRIVATE_ADDRESSES": "true", "HEADWATER_WEBHOOK_BACKOFF": "0.1"}
    served = Served(tmp_path_factory.mktemp("served") / "data", **environment)
    served.start()
    yield served
    served.stop()


@pytest.fixture
def cli(served, tmp_path) -> CommandLine:
    with served.client() as client:
        for each in client.get("/webhooks?limit=1000").json()["payload"]:
            client.delete(f"/webhooks/{each['fid']}").raise_for_status()
    return CommandLine(served, tmp_path)


@pytest.fixture
def receiver():
    started = Receiver()
    yield started
    started.shutdown()
    started.server_close()


def test_a_webhook_is_created_tested_listed_and_deleted(cli, receiver):
    crawler = set_up(cli)
    url = f"http://127.0.0.1:{receiver.server_port}/hook"
    words = ["--name", "Chat", "--type", "task.done", "-t", "stream.*", "--stream", "Books", "--crawler", "Shop"]
    made = json.loads(cli("webhooks", "create", url, *words).stdout)
    assert (made["types"], made["stream"], made["crawler"]) == (
        ["task.done", "stream.*"],
        crawler["stream"],
        crawler["fid"],
    )
    receiver.secrets["/hook"] = made.pop("secret")
    assert cli.answer("webhooks", "show", "Chat") == made
    assert cli.answer("webhooks", "list") == [made]
    assert cli("webhooks", "test", "Chat").stdout.startswith("Delivered: 200 after ")
    receiver.answers["/hook"] = lambda _sent: 500
    failed = cli("webhooks", "test", "Chat")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr == "headwater: the test did not arrive: the answer was 500 Internal Server Error\n"
    as_json = cli("webhooks", "test", made["fid"], "--json")
    assert (as_json.returncode, json.loads(as_json.stdout)["state"]) == (1, "failed")
    assert [each["state"] for each in cli.answer("webhooks", "deliveries", "Chat")] == ["failed", "failed", "delivered"]
    refused = cli("webhooks", "delete", "Chat")
    assert (refused.returncode, refused.stderr) == (2, "headwater: nobody can be asked here, so say --yes\n")
    assert cli("webhooks", "delete", "Chat", "--yes").stdout == f"Webhook {made['fid']} (Chat) is deleted.\n"
    assert cli("webhooks", "show", "Chat").returncode == 3


def test_on_a_terminal_the_secret_and_the_last_error_are_shown(cli, receiver):
    url = f"http://127.0.0.1:{receiver.server_port}/hook"
    with cli.terminal("webhooks", "create", url, "--name", "Chat", columns=140) as terminal:
        assert terminal.end() == 0
    assert "(Chat) is created." in terminal.text
    secret = terminal.text.partition("which is not shown again: ")[2].split()[0]
    receiver.secrets["/hook"] = secret
    receiver.answers["/hook"] = lambda _sent: 404
    cli("webhooks", "test", "Chat")
    with cli.terminal("webhooks", "deliveries", "Chat", columns=140) as terminal:
        assert terminal.end() == 0
    assert "the answer was 404 Not Found" in terminal.text
    assert receiver.received["/hook"][0][1]["type"] == "webhook.test"
    with cli.terminal("webhooks", "list", columns=140) as terminal:
        assert terminal.end() == 0
    assert "(all)" in terminal.text


def test_what_failed_is_replayed(cli, receiver):
    receiver.answers["/hook"] = lambda _sent: 500
    made = json.loads(
        cli("webhooks", "create", f"http://127.0.0.1:{receiver.server_port}/hook", "-t", "stream.created").stdout
    )
    receiver.secrets["/hook"] = made["secret"]
    cli("streams", "create", "More books")
    (failed,) = wait_for(lambda: cli.answer("webhooks", "deliveries", made["fid"], "--state", "failed"))
    assert len(failed["attempts"]) == 2
    receiver.answers.clear()
    ran = cli("webhooks", "replay", failed["id"])
    assert ran.stdout == f"Delivery {failed['id']} (stream.created) is sent again.\n"
    wait_for(lambda: cli.answer("webhooks", "deliveries", made["fid"], "--state", "delivered"))
    assert cli("webhooks", "replay", "0" * 32).returncode == 3
