"""What people read is stored, with U+FFFD in the place of what cannot be; what programs read is refused."""

import json

import pytest

BAD = "a\0b\ud83dc"
GOOD = "a\ufffdb\ufffdc"


def _sent(body: object) -> dict:
    return {"content": json.dumps(body), "headers": {"Content-Type": "application/json"}}


@pytest.mark.parametrize("code", [102, 200, 500])
async def test_a_report_is_taken_whatever_its_texts_hold(api, made, code):
    task = await made.task()
    detail = {BAD: [BAD, {"deep": BAD}], "n": float("inf"), "none": None, "whole": 2**70}
    body = {"code": code, "message": BAD, "detail": detail}
    answer = await api.post(f"/actions/tasks/{task['fid']}/status", **_sent(body))
    assert answer.status_code == 200, answer.text
    told = (await api.get(f"/tasks/{task['fid']}")).json()["payload"]
    assert (told["code"], told["message"]) == (code, GOOD)
    assert told["detail"] == {GOOD: [GOOD, {"deep": GOOD}], "n": "inf", "none": None, "whole": 2**70}


async def test_a_report_is_taken_however_deep_its_detail_is(api, made):
    task = await made.task()
    text = '{"code": 200, "detail": ' + "[" * 500 + "]" * 500 + "}"
    answer = await api.post(
        f"/actions/tasks/{task['fid']}/status", content=text, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 200, answer.text
    assert (await api.get(f"/tasks/{task['fid']}")).json()["payload"]["state"] == "done"


async def test_names_are_cleaned_wherever_objects_are_named(api, made):
    meta = {"name": BAD, "description": BAD, "more": {"x": [BAD]}}
    clean = {"name": GOOD, "description": GOOD, "more": {"x": [GOOD]}}
    for path in ("/streams", "/externals"):
        answer = await api.post(path, **_sent({"meta": meta}))
        assert answer.json()["payload"]["meta"] == clean
        fid = answer.json()["payload"]["fid"]
        answer = await api.patch(f"{path}/{fid}", **_sent({"meta": {"name": "x" + BAD}}))
        assert answer.json()["payload"]["meta"]["name"] == "x" + GOOD
    task = await made.task()
    answer = await api.patch(f"/tasks/{task['fid']}", **_sent({"meta": meta}))
    assert answer.json()["payload"]["meta"] == clean


async def test_what_programs_read_is_refused(api, made, assert_problem):
    external = await made.external(parameters=[{"name": "q"}])
    crawler = await made.crawler(external)
    answer = await api.post(f"/actions/crawlers/{crawler['fid']}/task", **_sent({"params": {"q": BAD}}))
    assert_problem(answer, 400, "request-invalid")


@pytest.mark.parametrize("line", [b'{"id": "a\\u0000"}', b'{"id": "a", "t": "\\u0000"}'])
async def test_documents_keep_what_they_hold(api, made, line):
    task = await made.task()
    assert (await made.upload(task, line + b"\n")).status_code == 200
    (doc,) = (await api.get(f"/tasks/{task['fid']}/docs")).json()["payload"]
    assert doc["doc"] == json.loads(line)
