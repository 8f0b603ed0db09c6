import base64
import json

import pytest

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}}
MIXED = b'{"id":"a"}\n{"id":"b","n":"x"}\nbroken\n\xff\n'
LENIENT = {"Prefer": "handling=lenient"}


@pytest.fixture
async def task(made):
    return await made.task(await made.crawler(await made.external(schema=SCHEMA)))


async def test_a_lenient_upload_answers_what_it_took_and_what_it_left(made, task):
    answer = await made.upload(task, MIXED, **LENIENT)
    assert answer.status_code == 200
    assert answer.headers["Preference-Applied"] == "handling=lenient"
    payload = answer.json()["payload"]
    assert {name: payload[name] for name in ("count", "total", "bytes", "rejected", "truncated")} == {
        "count": 1,
        "total": 1,
        "bytes": 11,
        "rejected": 3,
        "truncated": False,
    }
    assert payload["errors"][0] == {
        "line": 2,
        "offset": 11,
        "doc_id": "b",
        "pointer": "/n",
        "keyword": "type",
        "schema_pointer": "/properties/n/type",
        "detail": '"x" is not of type "integer"',
    }
    assert [error["line"] for error in payload["errors"]] == [2, 3, 4]
    assert (await made.api.get(f"/tasks/{task['fid']}")).json()["payload"]["rejected"] == 3


async def test_a_strict_upload_answers_as_ever(made, task, assert_problem):
    answer = await made.upload(task)
    assert answer.json()["payload"] == {"count": 1, "total": 1, "bytes": 12, "deleted": 0}
    assert "Preference-Applied" not in answer.headers
    assert_problem(await made.upload(task, MIXED), 400, "upload-broken")
    assert_problem(await made.upload(task, MIXED, Prefer="handling=strict"), 400, "upload-broken")


@pytest.mark.parametrize(
    ("prefer", "status"),
    [
        ('HANDLING = "lenient"; x=1', 200),
        ("respond-async, handling=lenient", 200),
        ("handling=strict, handling=lenient", 400),
        ("handling", 400),
        ("lenient", 400),
        ("", 400),
    ],
)
async def test_prefer_is_read_as_rfc_7240_has_it(made, task, prefer, status):
    assert (await made.upload(task, b"broken\n", Prefer=prefer)).status_code == status


async def test_an_upload_by_the_general_way_is_lenient_too(made, task):
    key = "k" * 255
    answer = await made.upload(task, MIXED, **LENIENT, **{"Idempotency-Key": key})
    again = await made.upload(task, MIXED, **LENIENT, **{"Idempotency-Key": key})
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.headers["Preference-Applied"] == "handling=lenient"
    assert again.json() == answer.json()


async def test_rejects_are_paged(made, task):
    await made.upload(task, MIXED, **LENIENT)
    await made.upload(task, b'{"id": "z", "n": 1.5}\n', **LENIENT)
    found, cursor = [], None
    while True:
        params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await made.api.get(f"/tasks/{task['fid']}/rejects", params=params)).json()
        found += page["payload"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert [(one["upload"], one["line"], one["kind"], one["id"]) for one in found] == [
        (1, 2, "invalid", "b"),
        (1, 3, "broken", None),
        (1, 4, "broken", None),
        (2, 1, "invalid", "z"),
    ]
    assert (found[0]["text"], found[0]["base64"], found[0]["size"], found[0]["truncated"]) == (
        '{"id":"b","n":"x"}',
        None,
        18,
        False,
    )
    assert (found[2]["text"], base64.b64decode(found[2]["base64"])) == (None, b"\xff")
    assert found[0]["task"] == task["fid"]
    assert found[0]["errors"][0]["pointer"] == "/n"


async def test_a_page_of_long_lines_ends_sooner(made, task):
    line = json.dumps({"id": "a", "n": "x" * 60_000}).encode()
    for _ in range(15):
        await made.upload(task, b"\n".join([line] * 12), **LENIENT)
    page = (await made.api.get(f"/tasks/{task['fid']}/rejects", params={"limit": 1000})).json()
    assert 0 < len(page["payload"]) < 180
    assert page["next_cursor"]


async def test_rejects_of_a_former_attempt_are_asked_for_by_its_number(made, task):
    await made.upload(task, b"no\n", **LENIENT)
    await made.api.post(f"/actions/tasks/{task['fid']}/status", json={"code": 500})
    await made.api.post(f"/actions/crawlers/{task['crawler']}/task/{task['fid']}")
    path = f"/tasks/{task['fid']}/rejects"
    assert (await made.api.get(path)).json()["payload"] == []
    assert len((await made.api.get(path, params={"attempt": 1})).json()["payload"]) == 1


async def test_replaying_answers_what_became_of_the_lines(made, task):
    await made.upload(task, MIXED, **LENIENT)
    path = f"/actions/tasks/{task['fid']}/replay"
    assert (await made.api.post(path)).json()["payload"] == {
        "replayed": 0,
        "covered": 0,
        "rejected": 3,
        "stream_version": None,
    }
    await made.api.patch(f"/externals/{task['external']}", json={"schema": None})
    assert (await made.api.post(path)).json()["payload"] == {
        "replayed": 1,
        "covered": 0,
        "rejected": 2,
        "stream_version": 2,
    }
    docs = (await made.api.get(f"/streams/{task['stream']}/docs")).json()["payload"]
    assert [one["doc"] for one in docs] == [{"id": "a"}, {"id": "b", "n": "x"}]
    log = (await made.api.get(f"/streams/{task['stream']}/log")).json()["payload"]
    assert [(one["change"], one["docs"]) for one in log] == [("replay", 1), ("upload", 1)]


async def test_what_is_not_there_or_deleted_is_not_replayed(made, task, assert_problem):
    for answer in (
        await made.api.get(f"/tasks/{'0' * 32}/rejects"),
        await made.api.post(f"/actions/tasks/{'0' * 32}/replay"),
    ):
        assert_problem(answer, 404, "not-found")
    await made.api.delete(f"/actions/tasks/{task['fid']}")
    assert_problem(await made.api.post(f"/actions/tasks/{task['fid']}/replay"), 409, "task-removed")


async def test_a_document_over_its_limit_is_an_error_of_the_upload(made, task, assert_problem):
    assert_problem(await made.upload(task, b"x" * 70_000, **LENIENT), 413, "document-too-large")


async def test_erasing_tells_how_many_rejected_lines_went(made, task):
    await made.upload(task, MIXED, **LENIENT)
    erased = await made.api.delete(f"/streams/{task['stream']}/docs/b")
    assert erased.json()["payload"] == {"docs": 0, "rejects": 1, "stream_version": 1}
