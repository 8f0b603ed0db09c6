"""Whoever uploads what costs much to check or to explain waits alone."""

import asyncio
import json

import pytest

UNION = {
    "properties": {"n": {"$ref": "#/$defs/n"}},
    "$defs": {
        "n": {
            "anyOf": [
                {"type": "null"},
                {"properties": {"n": {"$ref": "#/$defs/n"}, "v": {"type": "string"}}, "required": ["n"]},
                {
                    "type": "object",
                    "additionalProperties": {"$ref": "#/$defs/n"},
                    "properties": {"v": {"type": "string"}},
                },
            ]
        }
    },
}
#: Plain, so that the scanner has a plan for it, but its faults are many.
MANY = {"properties": {"x": {"type": "array", "items": {"type": "string"}}}}


def nested(levels):
    value = {"v": 1}
    for _ in range(levels):
        value = {"n": value}
    return {"id": "a", **value}


async def _meanwhile(api, work):
    """What work answers, and how many other requests were answered before."""
    working, answered = asyncio.ensure_future(work), 0
    while not working.done():
        assert (await api.get("/healthz")).status_code == 200
        answered += 1
        await asyncio.sleep(0.05)  # such a request never waits, and would let nobody else come to its turn
    return await working, answered


@pytest.mark.parametrize(
    ("schema", "document"), [(UNION, nested(100)), (MANY, {"id": "a", "x": [1] * 20_000})], ids=["union", "many"]
)
async def test_others_are_answered_while_a_bad_document_is_explained(api, made, assert_problem, schema, document):
    task = await made.task(await made.crawler(await made.external(schema=schema)))
    answer, answered = await _meanwhile(api, made.upload(task, json.dumps(document).encode()))
    problem = assert_problem(answer, 406, "document-invalid")
    assert answered > 1
    assert problem["truncated"]
    assert problem["errors"][0]["doc_id"] == "a"
    assert len(problem["errors"]) <= 100


async def test_a_lenient_upload_its_replay_and_a_check_go_the_same_way(api, made):
    external = await made.external(schema=UNION)
    task = await made.task(await made.crawler(external))
    body = json.dumps(nested(100)).encode() + b'\n{"id":"b"}\n'
    answer, answered = await _meanwhile(api, made.upload(task, body, Prefer="handling=lenient"))
    payload = answer.json()["payload"]
    assert (payload["count"], payload["rejected"], payload["errors"][0]["pointer"]) == (1, 1, "/n")
    assert answered > 1
    answer, answered = await _meanwhile(api, api.post(f"/actions/tasks/{task['fid']}/replay"))
    assert (answer.json()["payload"]["rejected"], answered > 1) == (1, True)
    await api.patch(f"/externals/{external['fid']}", json={"schema": None})
    again = await made.task(await made.crawler(external))
    await made.upload(again, body)
    answer, answered = await _meanwhile(
        api, api.post(f"/actions/externals/{external['fid']}/check", json={"schema": UNION})
    )
    assert (answer.json()["payload"]["failing"], answered > 1) == (1, True)


async def test_a_schema_that_takes_too_long_to_compile_is_refused_and_holds_nobody_up(api, made, assert_problem):
    # Each expression is within its limit, all together are not.
    schema = {"anyOf": [{"pattern": rf"(\p{{L}}|\p{{N}}){{{number}}}x"} for number in range(20, 1500)]}
    external = await made.external()
    work = api.patch(f"/externals/{external['fid']}", json={"schema": schema})
    answer, answered = await _meanwhile(api, work)
    assert_problem(answer, 400, "schema-invalid")
    assert answered > 1
    assert (await api.get(f"/externals/{external['fid']}")).json()["version"] == external["version"]
