"""No value that a caller makes up is a 500: each parameter, header and body of each operation of the OpenAPI."""

import base64
import json
from collections import Counter
from urllib.parse import quote_from_bytes

import pytest

from budget import some

#: The requests are made in so many tests, none of which takes long.
PARTS = 3
DIGITS = b"9" * 5000
#: Put in the place of any parameter.
TEXTS = [
    *(b"", b"a\0b", b"\xed\xa0\x80", "\u202e😀".encode(), b"true", b"-1", b"1e999", "²".encode(), DIGITS, b"7.0"),
    *(str(1 << 31).encode(), str(1 << 64).encode(), b"a" * 32, b"[" * 2000, b"0001-01-01T00:00:00+23:59"),
]
#: In the place of a moment, besides.
MOMENTS = [
    *(b"9999-12-31T23:59:59-23:59", b"2026-02-30T00:00:00Z", b"2026-01-01T00:00:60Z", b"10000-01-01T00:00:00Z"),
    b"2026-01-01T00:00:00." + DIGITS + b"Z",
]
#: What cursors may hold.
POSITIONS = [
    *('["a", true]', '["\\ud800", 1]', "true", "false", "null", "1.5", "-1", '["a"]', '["\\udfff"]', '["a", 1, 2]'),
    *(
        "[]",
        "{}",
        '[["a"], 1]',
        '["a", -1]',
        '["a", 1.0]',
        '["a", null]',
        '[1, "a"]',
        '"\\ud800"',
        '"a"',
        f'"{"a" * 32}"',
    ),
    *("NaN", "Infinity", "[NaN]", DIGITS.decode(), f'["a", {DIGITS.decode()}]', str(1 << 63), f'["a", {1 << 63}]'),
    *('["\\u0000", 1]', '["\\u0000"]', f'["{"a" * 5000}", 1]', "[" * 3000, '{"a": 1}', "9223372036854775807", "[true]"),
]
HEADERS = {
    "If-Match": [
        *(
            b'"' + DIGITS + b'"',
            b'"1", "' + DIGITS + b'"',
            b'W/"' + DIGITS + b'"',
            b'"-1"',
            b'""',
            b"7",
            b"*, *",
            b'"a',
        ),
        *('"٣"'.encode(), b'"\xb2"', b'"\xff"', b'"' + b'", "'.join([b"1"] * 5000) + b'"', b'"1.0"', b'"1e3"', b"\0"),
    ],
    "If-None-Match": [b'"' + DIGITS + b'"', b"*", b"\xff"],
    "If-Modified-Since": [b"yesterday", b"Sun, 99 Foo 99999 99:99:99 GMT", DIGITS],
    "Range": [b"bytes=0-" + DIGITS, b"bytes=" + DIGITS + b"-", b"bytes=-", b"bytes=5-1", b"items=0-1", b"\xff"],
    "Last-Event-ID": [
        DIGITS,
        b"-1",
        b"1.5",
        "٣".encode(),
        b"\xb2",
        b"\xff",
        b"\0",
        b" 7 7 ",
        str(1 << 63).encode(),
        b"",
    ],
    "Prefer": [b"wait=" + DIGITS, b"wait=-1", b"handling=" + DIGITS, b"wait=\xff", b",;=,;=", b"wait=" * 5000, b"\0"],
    "Idempotency-Key": [b"\0", b"\xff", b"a" * 255, b"a" * 256, DIGITS, b"", "é".encode()],
    "Accept-Encoding": [b"gzip;q=" + DIGITS, b"gzip;q=x", b"\xff", b",,;;==", b"*;q=nan"],
    "Content-Encoding": [b"\xff", b"gzip, gzip", DIGITS, b"identity;q=1"],
    "Content-Type": [b"\xff", b"application/json; charset=" + DIGITS, b"multipart/form-data", b"/", b"text/\0"],
    "Authorization": [b"Bearer \xff", b"Bearer " + DIGITS, b"Bearer", b"Basic \xff", b"Bearer hw_\0"],
    "traceparent": [b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-01", DIGITS, b"\xff"],
    "X-Request-ID": [DIGITS, b"\xff", b"\0"],
    "Origin": [b"null", b"\xff", b"http://" + b"a" * 5000],
    "Host": [b"", b"a b", b"\xff", b"[::", b"x:" + DIGITS],
}
BODIES = [
    *(b"", b"null", b"true", b'"x"', b"[]", b"{", b"\xff", b"\xef\xbb\xbf{}", "{}".encode("utf-16"), b"NaN"),
    *(
        DIGITS,
        b'{"code": ' + DIGITS + b"}",
        b'{"limit": ' + DIGITS + b', "version": ' + DIGITS + b"}",
        b'{"code": 1e999}',
    ),
    *(
        b"[" * 50_000,
        b'{"a":' * 50_000,
        b'{"\\ud800": "\\udfff"}',
        b'{"a\\u0000b": 1}',
        b'{"meta": {"\\u0000": "\\u0000"}}',
    ),
    *(
        b'{"meta": {"n": ' + DIGITS + b"}}",
        b'{"meta": {"name": "\\ud800"}}',
        b'{"version": true}',
        b'{"version": 1e400}',
    ),
]


@pytest.fixture
async def places(api, made):
    """Paths of the OpenAPI with parameters that lead to something; only then is all of a call's code reached."""
    stream = await made.stream()
    crawler = await made.crawler(stream=stream)
    task = await made.task(crawler)
    await made.upload(task, b'{"id": "a"}\n{"id": "b"}\n')
    hook = await api.post("/webhooks", json={"url": "https://hook.test/x"})
    names = {
        "streams": stream["fid"],
        "crawlers": crawler["fid"],
        "tasks": task["fid"],
        "externals": crawler["external"],
    }
    names["webhooks"] = hook.json()["payload"]["fid"]

    def place(path: str) -> str:
        parts = path.split("/")
        for at, part in enumerate(parts):
            if part.startswith("{"):
                parts[at] = names.get(parts[at - 1], names["tasks"]) if part != "{doc_id}" else "a"
        return "/".join(parts)

    return place


def _operations(api):
    for path, item in api.app.openapi()["paths"].items():
        for method, operation in item.items():
            if method in {"get", "post", "put", "patch", "delete"}:
                yield method.upper(), path, operation


def _cursors():
    for position in POSITIONS:
        yield base64.urlsafe_b64encode(position.encode()).rstrip(b"=")
    yield from (b"====", b"a", b"\xff\xfe", b"a" * 50_000, base64.b64encode(b"\xff\xfe"))


async def _failures(api, requests, *, part):
    """Send a part of the requests, and return those that are answered with 5xx, or by an error of another form."""
    every, failures = list(requests), []
    assert len(every) > 100
    for method, url, options in some(every, of=PARTS, part=part):
        try:
            answer = await api.request(method, url, **options)
        except Exception as error:  # noqa: BLE001 - told with the request that it belongs to
            failures.append((method, url[:120], str(options)[:120], repr(error)[:200]))
            continue
        if answer.status_code >= 500:
            failures.append((method, url[:120], str(options)[:120], answer.status_code))
        elif answer.status_code >= 400:
            assert json.loads(answer.content)["status"] == answer.status_code
    return failures


def _query(path: str, name: str, value: bytes) -> str:
    page = "&feed=normal" if path == "/events" and name != "feed" else ""
    if name == "follow":
        page = "&attempt=2"  # which is over, so that following it ends
    return f"{path}?{name}={quote_from_bytes(value, safe='')}{page}"


@pytest.mark.parametrize("part", range(PARTS))
async def test_no_value_of_a_query_parameter_fails(api, places, part):
    seen = Counter()

    def requests():
        for method, path, operation in _operations(api):
            if method != "GET" and "dry_run" not in str(operation.get("parameters")):
                continue
            for parameter in operation.get("parameters", []):
                if parameter["in"] == "query":
                    values = TEXTS
                    if parameter["name"] == "cursor":
                        values = [*_cursors(), *TEXTS[:4]]
                    elif "date-time" in str(parameter):
                        values = [*TEXTS, *MOMENTS]
                    # Calls that share a parameter share its code too: further ones take a third of the values in turn.
                    turn = seen[parameter["name"]]
                    seen[parameter["name"]] += 1
                    for value in values if turn == 0 else values[turn % 3 :: 3]:
                        yield method, _query(places(path), parameter["name"], value), {}

    assert await _failures(api, requests(), part=part) == []


@pytest.mark.parametrize("part", range(PARTS))
async def test_no_value_in_a_path_fails(api, places, part):
    def requests():
        for method, path, _ in _operations(api):
            parts = path.split("/")
            for at in [at for at, part in enumerate(parts) if part.startswith("{")][:2]:
                for value in [*TEXTS[1:10], b".", b"..", b"/", b"%", b"a" * 2000]:
                    whole = places(path).split("/")
                    whole[at] = quote_from_bytes(value, safe="").replace(".", "%2E")
                    yield method, "/".join(whole), {}

    assert await _failures(api, requests(), part=part) == []


@pytest.mark.parametrize("part", range(PARTS))
async def test_no_value_of_a_header_fails(api, places, part):
    def requests():
        for method, path, operation in _operations(api):
            named = {p["name"].lower() for p in operation.get("parameters", []) if p["in"] == "header"}
            for name, values in HEADERS.items():
                # What an operation says that it reads; and once, what the server itself reads of any request.
                for value in values if name.lower() in named or path in {"/streams", "/healthz"} else ():
                    url = places(path) + ("?feed=normal" if path == "/events" else "")
                    yield method, url, {"headers": [(name.encode(), value)]}

    assert await _failures(api, requests(), part=part) == []


@pytest.mark.parametrize("part", range(PARTS))
async def test_no_body_fails(api, places, part):
    def requests():
        for method, path, operation in _operations(api):
            if "requestBody" in operation:
                media = next(iter(operation["requestBody"]["content"]))
                for body in BODIES:
                    yield method, places(path), {"content": body, "headers": {"Content-Type": media}}

    assert await _failures(api, requests(), part=part) == []


@pytest.mark.parametrize(
    "path", ["/streams", "/streams/{stream}/docs", "/tasks/{task}/diff?op=added", "/links?fid={task}"]
)
async def test_a_cursor_that_was_never_given_out_is_told_as_one(api, made, assert_problem, path):
    crawler = await made.crawler()
    task = await made.task(crawler)
    path = path.format(stream=crawler["stream"], task=task["fid"])
    for position in ('["a", true]', '["\\ud800", 1]', "true", '["\\ud800"]', f'["a", {DIGITS.decode()}]'):
        cursor = base64.urlsafe_b64encode(position.encode()).decode().rstrip("=")
        problem = assert_problem(
            await api.get(f"{path}{'&' if '?' in path else '?'}cursor={cursor}"), 400, "request-invalid"
        )
        assert "cursor" in problem["detail"]


@pytest.mark.parametrize("tag", ['"' + "9" * 5000 + '"', '"٣"'.encode(), '"7", "' + "1" * 5000 + '"', '"x"'])
async def test_an_etag_that_was_never_given_out_matches_nothing(api, made, assert_problem, tag):
    stream = await made.stream()
    answer = await api.patch(
        f"/streams/{stream['fid']}", json={}, headers=[(b"If-Match", tag if isinstance(tag, bytes) else tag.encode())]
    )
    assert_problem(answer, 412, "version-mismatch")
