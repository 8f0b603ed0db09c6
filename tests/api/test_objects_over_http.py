"""Streams, Externals, crawlers and tasks as relational objects."""

import gzip
import json
from urllib.parse import urljoin

import pytest

from headwater.catalog import objects
from headwater.catalog.objects import CRAWLERS

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}}


async def test_a_stream_is_created_with_location_and_etag(api):
    answer = await api.post("/streams", json={"meta": {"name": "S", "image": "i.png", "mine": [1, {"x": None}]}})
    body = answer.json()
    stream = body["payload"]
    assert answer.status_code == 201
    assert (body["success"], body["version"], answer.headers["etag"]) == (True, 1, '"1"')
    assert answer.headers["location"] == f"/streams/{stream['fid']}"
    assert (stream["type"], len(stream["fid"]), stream["stream_version"], stream["status"]) == ("streams", 32, 0, None)
    assert stream["meta"] == {"name": "S", "image": "i.png", "mine": [1, {"x": None}]}
    assert (await api.get(answer.headers["location"])).json()["payload"] == stream


async def test_an_external_comes_back_as_it_was_described(made):
    described = {
        "meta": {"name": "E"},
        "endpoint": "http://127.0.0.1:9000/ec",
        "credential": "basic",
        "oauth": None,
        "oauthParameters": {"a": 1},
        "schema": SCHEMA,
        "docIdField": "sku",
        "headers": {"X-Key": "k"},
        "parameters": [{"name": "n", "type": "interger", "min": 1, "max": 9, "req": True}],
        "analysis": {"kept": [1]},
    }
    external = await made.external(**described)
    assert {name: external[name] for name in described if name != "parameters"} == {
        name: value for name, value in described.items() if name != "parameters"
    }
    (parameter,) = external["parameters"]
    assert (parameter["name"], parameter["type"], parameter["min"], parameter["req"]) == ("n", "integer", 1, True)


async def test_a_credential_of_type_ignore_is_none(made):
    assert (await made.external(credential="ignore"))["credential"] is None


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"schema": {"type": "objekt"}}, "/schema/type"),
        ({"schema": {"properties": {"a": {"$ref": "http://example.com/x"}}}}, "/schema"),
        ({"parameters": [{"name": "a", "type": "string", "regex": "("}]}, "/parameters/0/regex"),
        ({"parameters": [{"name": "a"}, {"name": "a"}]}, "/parameters/1/name"),
        ({"parameters": [{"name": "a", "type": "list"}]}, "/parameters/0/options"),
        ({"parameters": [{"name": "a", "type": "sting"}]}, "/parameters/0/type"),
        ({"parameters": [{"name": "a", "colour": 1}]}, "/parameters/0/colour"),
        ({"endpoint": "ftp://x"}, "/endpoint"),
        ({"headers": {"A": "b\r\nC: d"}}, "/headers"),
        ({"docIdfield": "x"}, "/docIdfield"),
        ({"meta": {"name": 3}}, "/meta/name"),
    ],
)
async def test_a_description_that_does_not_hold_together_says_where(api, body, pointer):
    answer = await api.post("/externals", json=body)
    assert answer.status_code == 400, answer.text
    assert pointer in [error["pointer"] for error in answer.json()["errors"]]


@pytest.mark.parametrize(
    ("parameter", "detail"),
    [({"max": False}, "max is a number"), ({"min": "3"}, "min is a number"), ({"req": "yes"}, "req is true or false")],
)
async def test_what_pydantic_would_take_for_a_number_or_a_boolean_is_refused(api, parameter, detail, assert_problem):
    answer = await api.post("/externals", json={"parameters": [{"name": "n", "type": "integer"} | parameter]})
    problem = assert_problem(answer, 400, "request-invalid")
    assert problem["errors"][0]["pointer"] == "/parameters/0"
    assert detail in problem["detail"]


async def test_a_schema_is_an_object_or_a_boolean(api, assert_problem):
    assert_problem(await api.post("/externals", json={"schema": 0}), 400, "request-invalid")


async def test_a_whole_number_may_be_written_with_a_point(api, made, assert_problem):
    crawler = await made.crawler()
    answer = await api.patch(f"/crawlers/{crawler['fid']}", json={"timeout": 60.0})
    assert answer.json()["payload"]["timeout"] == 60
    for value in (60.5, "60", True):
        answer = await api.patch(f"/crawlers/{crawler['fid']}", json={"timeout": value})
        assert assert_problem(answer, 400, "request-invalid")["errors"][0]["pointer"] == "/timeout"


async def test_a_crawler_shows_neither_credential_nor_passwords(api, made):
    external = await made.external(credential="basic", parameters=[{"name": "pin", "type": "password"}])
    crawler = await made.crawler(
        external, params={"pin": "4711"}, credential={"user": "jo", "password": "hunter2"}, timeout=5
    )
    assert (crawler["params"], crawler["credential"]) == ({"pin": "********"}, {"type": "basic"})
    assert (crawler["timeout"], crawler["publish"], crawler["state"]) == (5, "live", None)
    seen = (await api.get("/crawlers")).text + (await api.get(f"/crawlers/{crawler['fid']}")).text
    assert "4711" not in seen
    assert "hunter2" not in seen


@pytest.mark.parametrize(
    "links",
    [
        [],
        [{"from": {"type": "externals", "fid": "x"}}],
        [{"to": {"type": "streams", "fid": "x"}}],
        [{"from": {"type": "streams", "fid": "x"}}] * 2,
    ],
)
async def test_a_crawler_needs_exactly_one_link_from_a_stream(api, made, links, assert_problem):
    external = await made.external()
    answer = await api.post(f"/actions/externals/{external['fid']}/crawler", json={"meta": {"links": links}})
    assert_problem(answer, 400, "request-invalid")


async def test_every_failing_parameter_is_named(api, made, assert_problem):
    external = await made.external(
        parameters=[
            {"name": "n", "type": "integer", "max": 5},
            {"name": "l", "type": "list", "options": ["a"], "req": True},
        ]
    )
    stream = await made.stream()
    body = {"meta": {"links": [{"from": {"type": "streams", "fid": stream["fid"]}}]}, "params": {"n": 9, "x": 1}}
    answer = await api.post(f"/actions/externals/{external['fid']}/crawler", json=body)
    problem = assert_problem(answer, 400, "parameters-invalid")
    assert {error["pointer"] for error in problem["errors"]} == {"/params/n", "/params/l", "/params/x"}


async def test_a_second_crawler_for_a_stream_is_a_conflict(api, made, assert_problem):
    stream = await made.stream()
    crawler = await made.crawler(stream=stream)
    body = {"meta": {"links": [{"from": {"type": "streams", "fid": stream["fid"]}}]}}
    answer = await api.post(f"/actions/externals/{crawler['external']}/crawler", json=body)
    assert crawler["fid"] in assert_problem(answer, 409, "stream-taken")["detail"]


@pytest.mark.parametrize("kind", ["streams", "externals"])
async def test_a_patch_merges_objects_replaces_arrays_and_removes_nulls(api, made, kind):
    created = await getattr(made, kind[:-1])(meta={"name": "a", "description": "d", "x": {"y": 1, "z": [1, 2]}})
    path = f"/{kind}/{created['fid']}"
    answer = await api.patch(path, json={"meta": {"description": None, "x": {"z": [3], "new": True}}})
    assert answer.json()["payload"]["meta"] == {"name": "a", "x": {"y": 1, "z": [3], "new": True}}
    assert (answer.json()["version"], answer.headers["etag"]) == (2, '"2"')


async def test_a_patch_may_come_as_merge_patch_json(api, made):
    stream = await made.stream()
    answer = await api.patch(
        f"/streams/{stream['fid']}",
        content=b'{"meta": {"name": "n"}}',
        headers={"Content-Type": "application/merge-patch+json"},
    )
    assert answer.json()["payload"]["meta"] == {"name": "n"}


async def test_a_put_sets_what_is_not_sent_to_its_default(api, made):
    external = await made.external(meta={"name": "E"}, schema=SCHEMA, headers={"A": "b"})
    answer = await api.put(f"/externals/{external['fid']}", json={"endpoint": "http://ec"})
    changed = answer.json()["payload"]
    assert (changed["endpoint"], changed["schema"], changed["docIdField"]) == ("http://ec", None, None)
    assert (changed["headers"], changed["meta"], changed["version"]) == ({}, {}, 2)


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_a_push_external_that_crawlers_use_is_given_a_server_only_on_purpose(api, made, method, assert_problem):
    external = await made.external(meta={"name": "Prices"})
    path, server = f"/externals/{external['fid']}", {"meta": {"name": "Prices"}, "endpoint": "http://127.0.0.1:9003"}
    await made.crawler(external=external)
    refused = await api.request(method, path, json=server)
    assert "scripts upload for its crawlers (1)" in assert_problem(refused, 409, "in-use")["detail"]
    assert (await api.get(path)).json()["payload"]["endpoint"] is None
    assert (await api.request(method, path, json={"meta": {"name": "Other"}})).is_success
    given = await api.request(method, f"{path}?to_server=true", json=server)
    assert given.json()["payload"]["endpoint"] == server["endpoint"]
    moved = await api.request(method, path, json={**server, "endpoint": "http://127.0.0.1:9004"})
    assert moved.json()["payload"]["endpoint"] == "http://127.0.0.1:9004"


async def test_a_unique_external_has_no_name_of_another(api, made, assert_problem):
    first = await made.external(meta={"name": "Books"}, endpoint="http://user:secret@127.0.0.1:9003/ec")
    refused = assert_problem(await api.post("/externals?unique=true", json={"meta": {"name": "Books"}}), 409, "in-use")
    assert f"that of External {first['fid']} (at http://user:********@127.0.0.1:9003/ec): edit" in refused["detail"]
    assert [each["fid"] for each in (await api.get("/externals")).json()["payload"]] == [first["fid"]]
    await api.delete(f"/externals/{first['fid']}")
    created = await api.post("/externals?unique=true", json={"meta": {"name": "Books"}})
    assert created.json()["payload"]["meta"]["name"] == "Books"


async def test_externals_may_share_a_name_and_be_edited(api, made):
    one, two = [await made.external(meta={"name": "Twin"}) for _ in range(2)]
    edited = await api.patch(f"/externals/{one['fid']}", json={"docIdField": "sku"})
    assert edited.json()["payload"]["meta"]["name"] == "Twin"
    assert (await made.crawler(two))["external"] == two["fid"]
    assert len((await api.get("/externals?name=Twin")).json()["payload"]) == 2


async def test_a_patched_external_keeps_what_the_patch_does_not_name(api, made):
    external = await made.external(schema=SCHEMA, parameters=[{"name": "a"}], credential="basic", analysis={"k": 1})
    answer = await api.patch(f"/externals/{external['fid']}", json={"schema": {"properties": {"n": None}}})
    changed = answer.json()["payload"]
    assert changed["schema"] == {"type": "object", "properties": {}}
    same = ("docIdField", "parameters", "credential", "analysis")
    assert [changed[name] for name in same] == [external[name] for name in same]


async def test_a_patched_crawler_keeps_its_secrets_and_a_put_without_credential_forgets_it(api, made):
    external = await made.external(parameters=[{"name": "pin", "type": "password"}, {"name": "x"}])
    crawler = await made.crawler(external, params={"pin": "4711", "x": "1"})
    path = f"/crawlers/{crawler['fid']}"
    patched = (await api.patch(path, json={"params": {"x": "2"}, "timeout": 9})).json()["payload"]
    assert (patched["params"], patched["timeout"]) == ({"pin": "********", "x": "2"}, 9)
    parts = api.app.state.services

    stored = await parts.db.read(objects.get, CRAWLERS, crawler["fid"])
    assert parts.vault.unseal_passwords(stored.params) == {"pin": "4711", "x": "2"}
    put = (await api.put(path, json={"params": {}})).json()["payload"]
    assert (put["params"], put["timeout"]) == ({}, 3600)


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
@pytest.mark.parametrize("kind", ["streams", "externals", "crawlers", "tasks"])
async def test_fields_that_are_not_ours_to_write_are_refused(api, made, kind, method, assert_problem):
    created = await getattr(made, kind[:-1])()
    for field in ("fid", "state", "docs", "version", "bogus"):
        answer = await api.request(method, f"/{kind}/{created['fid']}", json={field: 1})
        problem = assert_problem(answer, 400, "request-invalid")
        assert problem["errors"][0]["pointer"] == f"/{field}"


@pytest.mark.parametrize("method", ["PATCH", "PUT", "DELETE"])
@pytest.mark.parametrize("kind", ["streams", "externals", "crawlers", "tasks"])
async def test_a_change_of_another_version_is_refused(api, made, kind, method, assert_problem):
    created = await getattr(made, kind[:-1])()
    path = f"/{kind}/{created['fid']}"
    body = None if method == "DELETE" else {"meta": {"name": "n"}}
    answer = await api.request(method, path, json=body, headers={"If-Match": '"7"'})
    assert_problem(answer, 412, "version-mismatch")
    answer = await api.request(method, path, json=body, headers={"If-Match": '"9", "1"'})
    assert answer.status_code == 200, answer.text


async def test_an_if_match_that_is_no_etag_is_refused_and_a_star_matches(api, made, assert_problem):
    stream = await made.stream()
    path = f"/streams/{stream['fid']}"
    assert_problem(await api.patch(path, json={}, headers={"If-Match": "7"}), 400, "request-invalid")
    assert (await api.patch(path, json={}, headers={"If-Match": "*"})).status_code == 200


async def test_lists_are_paged_newest_first_with_a_link_to_the_next(api, made):
    created = [await made.stream(meta={"name": f"s{n}"}) for n in range(5)]
    seen, path = [], "/streams?limit=2"
    while path:
        answer = await api.get(path)
        seen += [stream["fid"] for stream in answer.json()["payload"]]
        cursor = answer.json()["next_cursor"]
        link = answer.headers.get("link")
        assert (cursor is None) == (link is None)
        path = link and urljoin(path, link[1 : link.index(">")])
    assert seen == [stream["fid"] for stream in reversed(created)]


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "cursor=x", "cursor=bm8", "bogus=1", "state=x"])
async def test_a_wrong_query_parameter_is_refused(api, query, assert_problem):
    problem = assert_problem(await api.get(f"/tasks?{query}"), 400, "request-invalid")
    assert problem["errors"][0]["pointer"] == "?" + query.partition("=")[0]


async def test_tasks_can_be_filtered(api, made):
    crawler = await made.crawler()
    done = await made.done(crawler, b'{"id": "a"}')
    running = await made.task(crawler)
    await made.task()

    async def found(query):
        return [task["fid"] for task in (await api.get(f"/tasks?{query}")).json()["payload"]]

    assert await found(f"crawler={crawler['fid']}") == [running["fid"], done["fid"]]
    assert await found(f"stream={crawler['stream']}&state=done") == [done["fid"]]
    assert await found("state=failed") == []


async def test_crawlers_can_be_filtered_by_their_open_task_and_streams_by_their_crawler(api, made):
    idle, busy = await made.crawler(), await made.crawler()
    await made.task(busy)

    async def found(path):
        return [each["fid"] for each in (await api.get(path)).json()["payload"]]

    assert await found("/crawlers?state=new") == [busy["fid"]]
    assert await found("/crawlers?state=running") == []
    assert await found(f"/crawlers?external={idle['external']}") == [idle["fid"]]
    assert await found(f"/streams?crawler={idle['fid']}") == [idle["stream"]]


async def test_what_can_be_read_can_be_asked_for_without_its_body(api, made):
    stream = await made.stream()
    for path in ("/streams", f"/streams/{stream['fid']}", "/healthz", f"/streams/{stream['fid']}/export"):
        head = await api.head(path)
        assert (head.status_code, head.content) == (200, b""), path
    assert (await api.head(f"/streams/{stream['fid']}")).headers["etag"] == '"1"'
    assert (await api.head("/streams/x")).status_code == 404


async def test_a_path_with_a_slash_too_many_is_nothing(api):
    answer = await api.post("/streams/", json={})
    assert answer.status_code in {404, 405}
    assert answer.json()["success"] is False


@pytest.mark.parametrize("path", ["/streams", "/externals"])
async def test_only_uploads_may_be_compressed(api, path, assert_problem):
    answer = await api.post(
        path, content=gzip.compress(b"{}"), headers={"Content-Encoding": "gzip", "Content-Type": "application/json"}
    )
    assert_problem(answer, 415, "encoding-unknown")


@pytest.mark.parametrize(
    ("path", "body", "pointer"),
    [
        ("/externals", {"schema": "x"}, "/schema"),
        ("/externals", {"parameters": [{"name": "a", "options": [{"valu": "x"}]}]}, "/parameters/0/options/0"),
        ("/externals", {"parameters": [{"name": "a", "required": True}]}, "/parameters/0/required"),
        ("/streams", {"meta": {"links": [{"from": {"type": "streams"}}]}}, "/meta/links/0/from/fid"),
        ("/streams", {"name": "x"}, "/name"),
    ],
)
async def test_a_pointer_leads_into_what_was_sent(api, path, body, pointer):
    answer = await api.post(path, json=body)
    assert answer.status_code == 400
    assert any(error["pointer"].startswith(pointer) for error in answer.json()["errors"]), answer.text


async def test_a_body_that_is_missing_is_said_to_be_missing(api, made, assert_problem):
    task = await made.task()
    problem = assert_problem(await api.post(f"/actions/tasks/{task['fid']}/status"), 400, "request-invalid")
    assert "a JSON body is expected" in problem["detail"]


async def test_links_are_made_with_an_object_and_never_returned(api, made):
    external = await made.external()
    stream = await made.stream(meta={"name": "S", "links": [{"from": {"type": "externals", "fid": external["fid"]}}]})
    assert stream["meta"] == {"name": "S"}
    crawler = await made.crawler(external, stream)
    found = (await api.get(f"/links?fid={stream['fid']}")).json()["payload"]
    assert {
        "from": {"type": "externals", "fid": external["fid"]},
        "to": {"type": "streams", "fid": stream["fid"]},
    } in found
    assert {
        "from": {"type": "streams", "fid": stream["fid"]},
        "to": {"type": "crawlers", "fid": crawler["fid"]},
    } in found
    assert (await api.get("/links?fid=nothing")).status_code == 404
    assert (await api.get("/links")).status_code == 400


async def test_what_is_in_use_is_deleted_only_with_cascade(api, made, assert_problem):
    crawler = await made.crawler()
    await made.done(crawler, b'{"id": "a"}')
    for path in (f"/streams/{crawler['stream']}", f"/externals/{crawler['external']}", f"/crawlers/{crawler['fid']}"):
        assert_problem(await api.delete(path), 409, "in-use")
    assert (await api.delete(f"/streams/{crawler['stream']}?cascade=true")).status_code == 200
    assert (await api.get(f"/crawlers/{crawler['fid']}")).status_code == 404
    assert (await api.delete(f"/externals/{crawler['external']}")).status_code == 200


@pytest.mark.parametrize("value", ["\x00", "a\x00", ["\ud800"], {"x": [[[["\x00"]]]]}])
async def test_text_that_cannot_be_kept_is_refused_where_programs_read_it(api, value, assert_problem):
    body = {"meta": {"name": "x"}, "analysis": {"a": value}}
    answer = await api.post(
        "/externals", content=json.dumps(body).encode(), headers={"Content-Type": "application/json"}
    )
    assert_problem(answer, 400, "request-invalid")


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "request-invalid"),
        (b"{", "request-invalid"),
        (b"[]", "request-invalid"),
        (b'{"meta": {"a": NaN}}', "request-invalid"),
        (b'{"meta": {"a": 1e999}}', "request-invalid"),
        (b'{"meta": {"a": "\xff"}}', "request-invalid"),
        (b"[" * 100_000, "request-invalid"),
        (b'{"meta": {"a":' + b"[" * 500 + b"]" * 500 + b"}}", "request-invalid"),
    ],
)
async def test_a_body_that_is_not_the_json_it_should_be_is_refused(api, body, kind, assert_problem):
    assert_problem(await api.post("/streams", content=body, headers={"Content-Type": "application/json"}), 400, kind)


async def test_a_body_of_another_type_is_not_understood(api, assert_problem):
    answer = await api.post("/streams", data={"meta": "x"})
    assert_problem(answer, 415, "content-type-unknown")


async def test_a_large_body_is_refused_with_the_limit(api, assert_problem):
    answer = await api.post("/streams", json={"meta": {"x": "y" * (2 << 20)}})
    assert "limit of 1048576 bytes" in assert_problem(answer, 413, "request-too-large")["detail"]


async def test_objects_that_are_not_there_are_not_found(api, assert_problem):
    for kind in ("streams", "externals", "crawlers", "tasks"):
        for method, body in (("GET", None), ("PATCH", {}), ("PUT", {}), ("DELETE", None)):
            assert_problem(await api.request(method, f"/{kind}/{'0' * 32}", json=body), 404, "not-found")


async def test_objects_are_found_by_the_start_of_their_fid(api, made):
    crawler = await made.crawler()
    task = await made.task(crawler)
    for path, fid in {
        "streams": crawler["stream"],
        "externals": crawler["external"],
        "crawlers": crawler["fid"],
        "tasks": task["fid"],
    }.items():
        for start in (fid[:30], f"{fid[:8]}-{fid[8:31]}".upper(), fid):
            found = (await api.get(f"/{path}?fid={start}")).json()["payload"]
            assert fid in [each["fid"] for each in found]
        other = fid[:-1] + ("0" if fid[-1] != "0" else "1")
        assert (await api.get(f"/{path}?fid={other}")).json()["payload"] == []
        assert (await api.get(f"/{path}?fid=xyz")).status_code == 400
