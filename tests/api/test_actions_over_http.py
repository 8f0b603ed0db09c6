"""The five calls of the task object and their neighbours, with the codes of the protocol."""

import gzip
import json
import zlib

import httpx
import pytest
from backports import zstd

LINES = b'{"id": "a", "n": 1}\n{"id": "b", "n": 2}\n'


async def test_create_answers_201_with_the_task_and_where_to_upload(api, made):
    crawler = await made.crawler()
    answer = await api.post(f"/actions/crawlers/{crawler['fid']}/task")
    task = answer.json()["payload"]
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/tasks/{task['fid']}"
    assert (task["code"], task["state"], task["attempt"], task["origin"]) == (0, "new", 1, "api")
    token = task["upload"]["token"]
    assert task["upload"]["endpoint"] == f"http://headwater.test/actions/tasks/{task['fid']}.{token}"
    assert "upload" not in (await api.get(f"/tasks/{task['fid']}")).json()["payload"]


async def test_a_task_that_the_command_line_starts_says_so(api, made):
    agents = {"headwater-cli/0.1.0 (python)": "cli", "headwater-client/0.1.0 (python)": "api", "headwater-cli": "api"}
    for agent, origin in agents.items():
        crawler = await made.crawler()
        answer = await api.post(f"/actions/crawlers/{crawler['fid']}/task", headers={"User-Agent": agent})
        assert answer.json()["payload"]["origin"] == origin


async def test_create_answers_208_with_the_open_task_and_no_token(api, made):
    crawler = await made.crawler()
    task = await made.task(crawler)
    answer = await api.post(f"/actions/crawlers/{crawler['fid']}/task", json={"params": {}})
    assert answer.status_code == 208
    assert answer.headers["location"] == f"/tasks/{task['fid']}"
    assert answer.json()["payload"]["fid"] == task["fid"]
    assert answer.json()["payload"]["upload"] is None


async def test_create_with_wrong_parameters_answers_400_by_pointer(api, made, assert_problem):
    crawler = await made.crawler(await made.external(parameters=[{"name": "n", "type": "integer"}]))
    answer = await api.post(f"/actions/crawlers/{crawler['fid']}/task", json={"params": {"n": "x"}})
    assert assert_problem(answer, 400, "parameters-invalid")["errors"][0]["pointer"] == "/params/n"
    answer = await api.post(f"/actions/crawlers/{crawler['fid']}/task", json={"parms": {}})
    assert_problem(answer, 400, "request-invalid")


@pytest.mark.parametrize(
    ("path", "names"),
    [("/tasks", "/actions/crawlers/{fid}/task"), ("/crawlers", "/actions/externals/{fid}/crawler")],
)
async def test_what_an_action_creates_is_not_posted_and_the_answer_names_the_action(api, path, names, assert_problem):
    answer = await api.post(path, json={})
    assert names in assert_problem(answer, 405, "method-not-allowed")["detail"]
    assert answer.headers["allow"]


async def test_an_ec_is_started_with_the_endpoint_and_uploads_there(api, made, ecs):
    ecs.answer(httpx.Response(200, json={"success": True, "payload": {"status": {"code": 102, "message": "go"}}}))
    crawler = await made.crawler(await made.external(endpoint="http://ec.test", docIdField="id"))
    task = await made.task(crawler)
    assert task["upload"] is None
    while not ecs.asked:
        await __import__("asyncio").sleep(0.01)
    sent = ecs.bodies()[0]
    api.headers.pop("authorization")
    uploaded = await api.post(httpx.URL(sent["endpoint"]).path + "/upload", content=LINES)
    assert uploaded.json()["payload"] == {"count": 2, "total": 2, "bytes": len(LINES), "deleted": 0}
    plain = f"/actions/tasks/{task['fid']}"
    bearer = {"Authorization": f"Bearer {sent['token']}"}
    assert (await api.post(f"{plain}/status", json={"code": 200}, headers=bearer)).status_code == 200


@pytest.mark.parametrize(
    "content_type",
    [
        "application/x-ndjson",
        "application/jsonl",
        "application/json; charset=utf-8",
        "application/x-www-form-urlencoded; charset=UTF-8",
        "text/plain",
        "text/csv",
        "x/y",
        None,
    ],
)
async def test_an_upload_may_be_called_by_several_names_or_none(made, content_type):
    headers = {} if content_type is None else {"Content-Type": content_type}
    answer = await made.upload(await made.task(), LINES, **headers)
    assert answer.status_code == 200, answer.text
    assert answer.json() == {
        "success": True,
        "payload": {"count": 2, "total": 2, "bytes": 40, "deleted": 0},
        "version": 0,
    }


@pytest.mark.parametrize(
    ("encoding", "encode"),
    [
        ("gzip", gzip.compress),
        ("x-gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("zstd", zstd.compress),
        ("identity", bytes),
    ],
)
async def test_an_upload_may_be_compressed(api, made, encoding, encode):
    crawler = await made.crawler()
    answer = await made.upload(await made.task(crawler), encode(LINES), **{"Content-Encoding": encoding})
    assert answer.json()["payload"]["count"] == 2
    assert (await api.get(f"/streams/{crawler['stream']}/export")).content == LINES


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        ({"Content-Encoding": "br"}, "encoding-unknown"),
        ({"Content-Type": "multipart/form-data; boundary=x"}, "content-type-unknown"),
        ({"Content-Type": "application/gzip"}, "content-type-unknown"),
        ({"Content-Type": "Application/X-Zip-Compressed"}, "content-type-unknown"),
    ],
)
async def test_what_is_not_understood_answers_415_and_lists_what_is(made, headers, kind, assert_problem):
    answer = await made.upload(await made.task(), LINES, **headers)
    assert_problem(answer, 415, kind)
    assert answer.headers["accept-encoding"] == "gzip, deflate, zstd"


async def test_a_broken_line_answers_400_with_line_and_offset(made, assert_problem):
    answer = await made.upload(await made.task(), b'{"id": "a"}\n\n{"id": "\xc3\xa9", }\n')
    (error,) = assert_problem(answer, 400, "upload-broken")["errors"]
    assert (error["line"], error["offset"]) == (3, 13 + 13)
    assert "Expecting property name" in error["detail"] or "trailing comma" in error["detail"]


async def test_an_invalid_document_answers_406_with_everything_that_helps(made, assert_problem):
    schema = {"type": "object", "properties": {"price": {"type": "number"}}}
    crawler = await made.crawler(await made.external(schema=schema, docIdField="sku", meta={"name": "Reviews"}))
    body = b'{"sku": "a", "price": 1}\n{"sku": "sku-9", "price": "abc"}\n'
    problem = assert_problem(await made.upload(await made.task(crawler), body), 406, "document-invalid")
    assert problem["errors"] == [
        {
            "line": 2,
            "offset": 25,
            "doc_id": "sku-9",
            "pointer": "/price",
            "keyword": "type",
            "schema_pointer": "/properties/price/type",
            "detail": '"abc" is not of type "number"',
        }
    ]
    assert problem["messages"] == ['line 2: /price: "abc" is not of type "number"']
    assert "1 of 2 documents" in problem["detail"]
    assert "'Reviews'" in problem["detail"]


async def test_of_many_faults_a_hundred_are_listed(made, assert_problem):
    problem = assert_problem(await made.upload(await made.task(), b"x\n" * 250), 400, "upload-broken")
    assert (len(problem["errors"]), problem["truncated"]) == (100, True)
    assert "250 of 250 lines" in problem["detail"]


async def test_limits_answer_413_and_say_which(made, assert_problem):
    task = await made.task()
    answer = await made.upload(task, b'{"id": "' + b"x" * (70 << 10) + b'"}\n')
    assert "65536" in assert_problem(answer, 413, "document-too-large")["detail"]
    answer = await made.upload(task, gzip.compress(b'{"id": "a"}\n' * 200_000), **{"Content-Encoding": "gzip"})
    assert "1048576" in assert_problem(answer, 413, "upload-too-large")["detail"]
    assert (await made.upload(task, LINES)).json()["payload"]["total"] == 2


async def test_idempotency_over_http(made, assert_problem):
    task = await made.task()
    first = await made.upload(task, LINES, **{"Idempotency-Key": "k"})
    again = await made.upload(task, LINES, **{"Idempotency-Key": "k"})
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json() == first.json()
    assert_problem(await made.upload(task, b'{"id": "c"}', **{"Idempotency-Key": "k"}), 422, "key-reused")
    assert_problem(await made.upload(task, LINES, **{"Idempotency-Key": "k" * 256}), 400, "request-invalid")


async def test_status_moves_the_task_and_shows_in_the_stream(api, made):
    crawler = await made.crawler()
    task = await made.task(crawler)
    path = f"/actions/tasks/{task['fid']}/status"
    body = {"code": 102, "message": "half way", "detail": {"done": 5}}
    assert (await api.post(path, json=body)).json()["payload"]["state"] == "running"
    status = (await api.get(f"/streams/{crawler['stream']}")).json()["payload"]["status"]
    assert {name: status[name] for name in ("code", "state", "message", "detail", "task")} == {
        "code": 102,
        "state": "running",
        "message": "half way",
        "detail": {"done": 5},
        "task": task["fid"],
    }
    closed = (await api.post(path, json={"code": 200})).json()["payload"]
    assert (closed["state"], closed["reason"]) == ("done", "reported")
    assert closed["ended_at"]
    assert (await api.post(path, json={"code": 200})).status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        ({"code": 300}, 400, "request-invalid"),
        ({"code": "200"}, 400, "request-invalid"),
        ({"code": True}, 400, "request-invalid"),
        ({}, 400, "request-invalid"),
        ({"code": 200, "mesage": "x"}, 400, "request-invalid"),
    ],
)
async def test_a_wrong_status_is_refused(api, made, body, status, kind, assert_problem):
    task = await made.task()
    assert_problem(await api.post(f"/actions/tasks/{task['fid']}/status", json=body), status, kind)


async def test_a_closed_task_answers_409(api, made, assert_problem):
    crawler = await made.crawler()
    task = await made.done(crawler, LINES)
    assert_problem(await made.upload(task), 409, "task-closed")
    assert_problem(await api.post(f"/actions/tasks/{task['fid']}/status", json={"code": 500}), 409, "task-closed")
    assert_problem(await api.post(f"/actions/tasks/{task['fid']}/stop"), 409, "task-closed")


async def test_retry_is_the_same_task_with_a_new_token_and_the_old_one_is_dead(api, made, assert_problem):
    crawler = await made.crawler()
    task = await made.task(crawler)
    await api.post(f"/actions/tasks/{task['fid']}/status", json={"code": 500})
    answer = await api.post(f"/actions/crawlers/{crawler['fid']}/task/{task['fid']}")
    again = answer.json()["payload"]
    assert answer.status_code == 200
    assert (again["fid"], again["attempt"], again["code"], again["state"]) == (task["fid"], 2, 0, "new")
    assert again["upload"]["token"] != task["upload"]["token"]
    api.headers.pop("authorization")
    old, new = (httpx.URL(begun["upload"]["endpoint"]).path for begun in (task, again))
    assert_problem(await api.post(f"{old}/upload", content=LINES), 401, "not-authenticated")
    assert (await api.post(f"{new}/upload", content=LINES)).status_code == 200


async def test_retry_answers_208_404_or_409(api, made, assert_problem):
    crawler, other = await made.crawler(), await made.crawler()
    first = await made.done(crawler, LINES)
    running = await made.task(crawler)
    answer = await api.post(f"/actions/crawlers/{crawler['fid']}/task/{first['fid']}")
    assert (answer.status_code, answer.json()["payload"]["fid"]) == (208, running["fid"])
    answer = await api.post(f"/actions/crawlers/{crawler['fid']}/task/{running['fid']}")
    assert (answer.status_code, answer.json()["payload"]["fid"]) == (208, running["fid"])
    answer = await api.post(f"/actions/crawlers/{other['fid']}/task/{first['fid']}")
    assert_problem(answer, 404, "not-found")
    await api.post(f"/actions/tasks/{running['fid']}/status", json={"code": 200})
    await api.delete(f"/actions/tasks/{first['fid']}")
    answer = await api.post(f"/actions/crawlers/{crawler['fid']}/task/{first['fid']}")
    assert_problem(answer, 409, "task-removed")


async def test_delete_and_restore_over_http(api, made, assert_problem):
    crawler = await made.crawler()
    await made.done(crawler, LINES)
    export = f"/streams/{crawler['stream']}/export"
    before = (await api.get(export)).content
    second = await made.done(crawler, b'{"id": "b", "n": 3}\n{"id": "c"}\n')
    after = (await api.get(export)).content
    for path in (f"/actions/tasks/{second['fid']}", f"/tasks/{second['fid']}"):
        deleted = await api.delete(path)
        assert (deleted.status_code, deleted.json()["payload"]["code"]) == (200, 200)
        assert deleted.json()["payload"]["removed_at"]
        assert (await api.get(export)).content == before
    restored = await api.post(f"/actions/tasks/{second['fid']}/restore")
    assert restored.json()["payload"]["removed_at"] is None
    assert (await api.get(export)).content == after
    for path in (f"/actions/tasks/{second['fid']}", f"/tasks/{second['fid']}"):
        foreseen = await api.delete(f"{path}?dry_run=true")
        assert foreseen.json()["payload"] == {"removed": 1, "restored": 1, "unaffected": 0}
        assert_problem(await api.delete(f"{path}?dryrun=true"), 400, "request-invalid")
    assert (await api.get(export)).content == after


async def test_to_its_crawler_a_deleted_task_is_gone_and_to_a_person_it_is_removed(api, made, assert_problem):
    task = await made.task()
    await api.delete(f"/actions/tasks/{task['fid']}")
    endpoint = httpx.URL(task["upload"]["endpoint"]).path
    assert_problem(await made.upload(task), 409, "task-removed")
    api.headers.pop("authorization")
    assert_problem(await api.post(f"{endpoint}/upload", content=LINES), 404, "not-found")
    assert_problem(await api.post(f"{endpoint}/status", json={"code": 102}), 404, "not-found")


async def test_stop_keeps_the_documents_and_refuses_the_crawler(api, made, assert_problem):
    crawler = await made.crawler()
    task = await made.task(crawler)
    await made.upload(task, LINES)
    stopped = (await api.post(f"/actions/tasks/{task['fid']}/stop")).json()["payload"]
    assert (stopped["code"], stopped["state"], stopped["reason"]) == (410, "stopped", "stopped_by_user")
    assert (await api.get(f"/streams/{crawler['stream']}/export")).content == LINES
    api.headers.pop("authorization")
    endpoint = httpx.URL(task["upload"]["endpoint"]).path
    assert_problem(await api.post(f"{endpoint}/upload", content=LINES), 409, "task-closed")


async def test_documents_of_pages_hold_the_raw_text_as_json(api, made):
    crawler = await made.crawler()
    task = await made.done(crawler, b'{"id": "a/b", "n": 1.0, "big": 123456789012345678901234567890}\n{"id": "c"}\n')
    answer = await api.get(f"/streams/{crawler['stream']}/docs?limit=1")
    assert answer.headers["content-type"] == "application/json"
    assert b'"doc":{"id": "a/b", "n": 1.0, "big": 123456789012345678901234567890}' in answer.content
    (shown,) = answer.json()["payload"]
    assert shown["task"] == task["fid"]
    one = await api.get(f"/streams/{crawler['stream']}/docs/a%2Fb")
    assert one.json()["payload"] == shown
    assert (await api.get(f"/streams/{crawler['stream']}/docs/zz")).status_code == 404
    rest = await api.get(f"/streams/{crawler['stream']}/docs?limit=1&cursor={answer.json()['next_cursor']}")
    assert [shown["id"] for shown in rest.json()["payload"]] == ["c"]
    assert rest.json()["next_cursor"] is None


async def test_an_export_is_a_file_with_a_name(api, made):
    stream = await made.stream(meta={"name": 'Ünsere "Reviews"/2026'})
    crawler = await made.crawler(stream=stream)
    await made.done(crawler, LINES)
    answer = await api.get(f"/streams/{stream['fid']}/export?format=ndjson")
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    assert answer.headers["content-disposition"] == (
        "attachment; filename=\"nsere-Reviews-2026-v1.ndjson\"; filename*=UTF-8''%C3%9Cnsere-Reviews-2026-v1.ndjson"
    )
    assert answer.content == LINES
    assert (await api.get(f"/streams/{stream['fid']}/export?format=pdf")).status_code == 400


async def test_the_log_tells_what_made_each_version(api, made):
    crawler = await made.crawler()
    task = await made.done(crawler, LINES)
    await api.delete(f"/actions/tasks/{task['fid']}")
    answer = await api.get(f"/streams/{crawler['stream']}/log?limit=1")
    assert [(line["version"], line["change"], line["docs"]) for line in answer.json()["payload"]] == [(2, "remove", 2)]
    rest = await api.get(f"/streams/{crawler['stream']}/log?cursor={answer.json()['next_cursor']}")
    assert [(line["change"], line["task"]) for line in rest.json()["payload"]] == [("upload", task["fid"])]


async def test_a_tasks_own_documents_are_paged(api, made):
    task = await made.done(await made.crawler(), b'{"id": "b"}\n{"id": "a"}\n{"id": "b", "n": 2}\n')
    seen, cursor = [], ""
    while cursor is not None:
        answer = (await api.get(f"/tasks/{task['fid']}/docs?limit=2{cursor and '&cursor=' + cursor}")).json()
        seen += [json.dumps(shown["doc"]) for shown in answer["payload"]]
        cursor = answer["next_cursor"]
    assert seen == ['{"id": "b"}', '{"id": "a"}', '{"id": "b", "n": 2}']
