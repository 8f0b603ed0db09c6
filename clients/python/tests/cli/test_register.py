import json

import httpx
import pytest

from headwater_client import Headwater
from headwater_client.cli.errors import CliError, ExitCode
from headwater_client.cli.register import described, registered

PARAMETER = {
    "name": "shop",
    "display_name": None,
    "description": None,
    "req": False,
    "type": "list",
    "min": None,
    "max": None,
    "regex": None,
    "options": ["north", {"value": "south", "label": None}],
    "default": None,
    "restrictions": [],
}
PRESENT = {
    "fid": "e" * 32,
    "type": "externals",
    "version": 4,
    "created_at": "2026-01-01T00:00:00Z",
    "updated_at": "2026-01-01T00:00:00Z",
    "meta": {"name": "Books", "image": "put there by the console"},
    "endpoint": None,
    "credential": None,
    "oauth": None,
    "oauthParameters": None,
    "schema": {"required": ["isbn"], "additionalProperties": False},
    "docIdField": "isbn",
    "headers": {},
    "parameters": [PARAMETER],
    "analysis": None,
}
SAME = {
    "meta": {"name": "Books"},
    "docIdField": "isbn",
    "credential": "ignore",
    "schema": {"required": ["isbn"], "additionalProperties": False},
    "parameters": [{"name": "shop", "type": "list", "options": ["north", {"value": "south"}]}],
}


def _registered(fields: dict, *present: dict):
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        if request.method == "GET":
            return httpx.Response(200, json={"payload": list(present), "next_cursor": None})
        return httpx.Response(200, json={"payload": {**PRESENT, "version": 5}})

    with Headwater("http://x", "key", transport=httpx.MockTransport(answer)) as headwater:
        external, what = registered(headwater, fields)
    return external, what, asked


def test_one_that_is_not_there_is_created():
    _, what, asked = _registered(SAME)
    assert (what, asked[-1].method, json.loads(asked[-1].content)) == ("is created", "POST", SAME)


def test_one_that_says_the_same_is_left_as_it_is():
    external, what, asked = _registered(SAME, PRESENT)
    assert (what, external.version) == ("is as the file says already", 4)
    assert [request.method for request in asked] == ["GET"]


@pytest.mark.parametrize(
    "change",
    [
        {"docIdField": None},
        {"schema": {"required": ["isbn"]}},
        {"credential": "basic"},
        {"meta": {"name": "Books", "description": "new"}},
        {"parameters": []},
        {"parameters": [{"name": "shop", "type": "list", "options": ["north", "south"], "req": True}]},
    ],
)
def test_one_that_says_something_else_is_replaced_and_keeps_what_others_wrote_into_meta(change):
    _, what, asked = _registered({**SAME, **change}, PRESENT)
    assert (what, asked[-1].method, asked[-1].headers["if-match"]) == ("is brought up to date", "PUT", '"4"')
    sent = json.loads(asked[-1].content)
    assert sent["meta"]["image"] == "put there by the console"
    assert {name: sent[name] for name in change if name != "meta"} == {
        name: value for name, value in change.items() if name != "meta"
    }


def test_of_two_with_the_name_it_is_not_known_which_is_meant():
    with pytest.raises(CliError, match="several Externals are called 'Books'") as caught:
        _registered(SAME, PRESENT, PRESENT)
    assert caught.value.code == ExitCode.USAGE


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "is not JSON"),
        ("[]", "holds no JSON object"),
        ("{}", "has no meta.name"),
        ('{"meta": {"name": ""}}', "has no meta.name"),
        ('{"meta": "Books"}', "has no meta.name"),
    ],
)
def test_a_file_that_describes_no_external_is_told(tmp_path, text, says):
    (tmp_path / "external.json").write_text(text)
    with pytest.raises(CliError, match=says):
        described(str(tmp_path / "external.json"))


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(CliError, match="cannot be read: No such file"):
        described(str(tmp_path / "external.json"))


def test_an_external_does_not_turn_from_push_to_a_server():
    with pytest.raises(CliError, match="has no server, and scripts upload for it") as caught:
        _registered(SAME | {"endpoint": "http://ec:9000"}, PRESENT)
    assert caught.value.code == ExitCode.USAGE


def test_an_external_does_not_turn_from_a_server_to_push():
    with pytest.raises(CliError, match="has a server, http://ec:9000, which the file does not name") as caught:
        _registered(SAME, PRESENT | {"endpoint": "http://ec:9000"})
    assert caught.value.code == ExitCode.USAGE
    _, what, _ = _registered(SAME | {"endpoint": "http://ec:9001"}, PRESENT | {"endpoint": "http://ec:9000"})
    assert what == "is brought up to date"
