"""What registering asks of Headwater, and what it makes of the answers. A real one is in ``tests/end_to_end``."""

import json
import logging
from dataclasses import dataclass

import httpx
import pytest

from headwater_client import AsyncHeadwater, Headwater
from headwater_client.errors import InUse, SchemaInvalid, VersionMismatch
from headwater_client.server import ExternalCrawler, NameTaken

ENDPOINT = "http://ec:9000"
COMMON = {"type": "externals", "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z"}
SCHEMA = {"type": "object", "properties": {"isbn": {"default": None}}}


@dataclass
class Shop:
    shop: str
    pages: int = 3


def crawler(**options):
    return ExternalCrawler("Book prices", params=Shop, schema=SCHEMA, doc_id_field="isbn", secret="s3cret", **options)


def external(fid="e1", version=4, **fields):
    """Return the External as Headwater answers with it, filled up with what has its default."""
    definition = crawler().definition(ENDPOINT)
    filled = {"description": None, "req": False, "min": None, "options": None, "restrictions": []}
    return {
        **COMMON,
        "fid": fid,
        "version": version,
        "credential": None,
        "oauth": None,
        "oauthParameters": None,
        "analysis": {"kept": "by others"},
        **definition,
        "meta": {"name": "Book prices", "image": "a.png"},
        "headers": {"authorization": "Bearer s3cret", "X-Route": "a"},
        "parameters": [{**filled, **each} for each in definition["parameters"]],
        **fields,
    }


class Script:
    """Headwater, as a list of answers: each a status with an External, or a list of them, or a problem's type."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    def _answer(self, request):
        body = request.read()
        self.asked.append((f"{request.method} {request.url.path}", json.loads(body) if body else None, request.headers))
        status, payload = self.answers.pop(0)
        if isinstance(payload, str):
            problem = {"type": f"https://headwater.dev/problems/{payload}", "status": status, "detail": payload}
            return httpx.Response(status, json=problem)
        return httpx.Response(status, json={"success": True, "payload": payload, "version": 1, "next_cursor": None})

    @property
    def calls(self):
        return [call for call, *_ in self.asked]


@pytest.fixture(params=["blocking", "awaiting"])
async def register(request):
    async def register(made, *answers):
        script = Script(*answers)
        transport = httpx.MockTransport(script._answer)  # noqa: SLF001 - its own
        if request.param == "blocking":
            with Headwater("http://hw", "key", transport=transport) as headwater:
                return made.register(headwater, ENDPOINT), script
        async with AsyncHeadwater("http://hw", "key", transport=transport) as headwater:
            return await made.register(headwater, ENDPOINT), script

    return register


async def test_a_crawler_that_is_not_registered_is_created_from_the_code(register):
    found, script = await register(crawler(), (200, []), (201, external()))

    assert (found.fid, found.version) == ("e1", 4)
    assert script.calls == ["GET /externals", "POST /externals"]
    assert script.asked[1][1] == {
        "meta": {"name": "Book prices"},
        "endpoint": ENDPOINT,
        "schema": SCHEMA,
        "docIdField": "isbn",
        "headers": {"Authorization": "Bearer s3cret"},
        "parameters": [
            {"name": "shop", "display_name": "Shop", "req": True, "type": "string"},
            {"name": "pages", "display_name": "Pages", "type": "integer", "default": 3},
        ],
    }


async def test_where_a_person_logs_in_is_registered_and_is_compared(register):
    login = {"credential": "oauth", "oauth": "http://ec/oauth", "oauthParameters": {"subdomain": "acme"}}
    made = crawler(credential="oauth", oauth="http://ec/oauth", oauth_parameters={"subdomain": "acme"})
    _, script = await register(made, (200, []), (201, external(**login)))
    assert {name: script.asked[1][1][name] for name in login} == login
    _, script = await register(made, (200, [external(**login | {"oauth": "http://old"})]), (200, external(**login)))
    assert script.calls == ["GET /externals", "PUT /externals/e1"]


async def test_a_crawler_that_is_registered_as_it_is_changes_nothing(register):
    found, script = await register(crawler(), (200, [external()]))

    assert found.fid == "e1"
    assert script.calls == ["GET /externals"]


@pytest.mark.parametrize(
    "other",
    [
        {"endpoint": "http://elsewhere"},
        {"docIdField": None},
        {"schema": {"type": "object"}},
        {"parameters": []},
        {"headers": {"Authorization": "Bearer old"}},
        {"headers": {}},
    ],
)
async def test_what_differs_is_overwritten_if_nobody_edited_it_meanwhile_and_all_else_is_kept(register, other):
    found, script = await register(crawler(), (200, [external(**other)]), (200, external(version=5)))

    assert found.version == 5
    call, body, headers = script.asked[1]
    assert call == "PUT /externals/e1"
    assert headers["if-match"] == '"4"'
    assert set(body) == set(external()) - {"fid", "type", "version", "created_at", "updated_at"}
    assert body["analysis"] == {"kept": "by others"}
    assert body["meta"] == {"name": "Book prices", "image": "a.png"}
    assert body["schema"] == SCHEMA
    expected = {"X-Route": "a"} if "headers" not in other else {}
    assert body["headers"] == {**expected, "Authorization": "Bearer s3cret"}


async def test_what_the_code_says_nothing_of_is_left_as_it_is(register):
    silent = ExternalCrawler("Book prices")

    _, script = await register(silent, (200, [external(credential="basic")]))

    assert script.calls == ["GET /externals"]


async def test_an_edit_that_came_in_between_and_is_the_same_as_ours_is_enough(register):
    stale = external(endpoint="http://old")

    found, script = await register(crawler(), (200, [stale]), (412, "version-mismatch"), (200, external(version=6)))

    assert found.version == 6
    assert script.calls == ["GET /externals", "PUT /externals/e1", "GET /externals/e1"]


async def test_an_edit_of_something_else_that_came_in_between_is_kept(register):
    stale = external(endpoint="http://old")
    edited = external(endpoint="http://old", version=5, analysis={"new": 1})

    found, script = await register(
        crawler(), (200, [stale]), (412, "version-mismatch"), (200, edited), (200, external(version=6))
    )

    assert found.version == 6
    _, body, headers = script.asked[3]
    assert body["analysis"] == {"new": 1}
    assert headers["if-match"] == '"5"'


async def test_an_edit_of_the_same_that_came_in_between_is_not_overwritten(register):
    stale, edited = external(endpoint="http://old"), external(endpoint="http://other", version=5)

    with pytest.raises(VersionMismatch):
        await register(crawler(), (200, [stale]), (412, "version-mismatch"), (200, edited))


async def test_who_is_edited_without_end_gives_up(register):
    stale = external(endpoint="http://old")

    with pytest.raises(VersionMismatch):
        await register(crawler(), (200, [stale]), *[(412, "version-mismatch"), (200, stale)] * 5)


async def test_several_externals_of_the_name_are_an_error_that_says_so(register):
    with pytest.raises(NameTaken, match=r"2 Externals are called 'Book prices' \(e2, e1\)"):
        await register(crawler(), (200, [external("e2"), external("e1")]))


async def test_an_error_of_headwater_is_raised(register):
    with pytest.raises(SchemaInvalid):
        await register(crawler(), (200, []), (400, "schema-invalid"))


def test_the_description_is_the_beginning_of_the_functions_docstring():
    made = crawler()

    @made.task
    def crawl(_task):
        """Prices of books,
        shop by shop.

        Details.
        """

    assert made.definition(ENDPOINT)["meta"]["description"] == "Prices of books, shop by shop."
    assert crawler(description="Said.").definition(ENDPOINT)["meta"]["description"] == "Said."


def test_an_id_field_that_no_document_has_is_refused():
    made = ExternalCrawler("Book prices", schema=SCHEMA, doc_id_field="isbm")

    with pytest.raises(ValueError, match="doc_id_field 'isbm' is not among the schema's: isbn"):
        made.definition(ENDPOINT)


async def test_an_order_of_another_version_than_was_registered_runs_and_is_logged_once(register, call, caplog):
    # Other tests configure logging, so that messages of level "info" are there too.
    caplog.set_level(logging.WARNING, logger="headwater_client")
    caller = call(lambda _task: None)
    await register(caller.crawler, (200, []), (201, external(version=4)))

    assert (await caller.start("f1", version=4)).status_code == 200
    assert caplog.messages == []
    assert (await caller.start("f2", version=5)).status_code == 200
    assert (await caller.start("f3", version=5)).status_code == 200
    assert caplog.messages == ["task f2 is of version 5 of the External, and this server registered 4"]


async def test_params_of_another_version_that_do_not_fit_are_refused_with_the_likely_reason(register, call):
    caller = call(lambda _task: None, params=Shop)
    await register(caller.crawler, (200, []), (201, external(version=4)))

    answer = await caller.start(version=5, params={"shop": "x", "country": "de"})

    assert answer.status_code == 400
    assert answer.json()["messages"] == [
        "params/country: is not known here",
        "the task is of version 5 of the External, this server registered 4",
    ]


async def test_an_external_that_scripts_upload_for_is_not_taken_over(register):
    with pytest.raises(NameTaken, match=r"has no server \(push\); rename it or the crawler"):
        await register(crawler(), (200, [external(endpoint=None)]))


async def test_who_finds_the_name_taken_meanwhile_takes_that_external(register):
    found, script = await register(crawler(), (200, []), (409, "in-use"), (200, [external()]))

    assert found.fid == "e1"
    assert script.calls == ["GET /externals", "POST /externals", "GET /externals"]


async def test_a_name_that_stays_taken_by_an_external_that_is_not_shown_is_an_error(register):
    with pytest.raises(InUse):
        await register(crawler(), *[(200, []), (409, "in-use")] * 5)
