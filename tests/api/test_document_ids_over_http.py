"""A document is reached by its id, whatever that is, and nothing else is."""

import json
from urllib.parse import quote

import pytest

#: Ids whose paths mean something else, or are rewritten on the way, with ordinary ones between them.
IDS = [
    *(
        "",
        ".",
        "..",
        "...",
        "/",
        "//",
        "a/b",
        "a//b",
        "/a",
        "a/",
        "../a",
        "a/..",
        "a/./b",
        "history",
        "history/history",
    ),
    *("/history", "a/history", "x/history/", "doc", "docs", "docs/a", "%2F", "%2f", "%2e%2e", "%", "%00", "?", "a?b=c"),
    *(
        "#",
        "a#b",
        "\\",
        "..\\a",
        " ",
        "a b",
        "+",
        "a+b",
        "&",
        "a&id=b",
        "=",
        ";",
        "a;b",
        "@",
        ":",
        "https://x.org/a?b#c",
    ),
    *("\n", "a\r\nb", "\x7f", "\x85", "\ufeff", "\ufffd", "é", "e\u0301", "😀", "~", "*", "'", '"', "null", "0", "-1"),
]


@pytest.fixture
async def stream(made) -> str:
    crawler = await made.crawler()
    await made.done(crawler, b"".join(json.dumps({"id": name}).encode() + b"\n" for name in IDS))
    return f"/streams/{crawler['stream']}"


async def _ids(api, stream: str) -> list[str]:
    return [one["id"] for one in (await api.get(f"{stream}/docs?limit=1000")).json()["payload"]]


async def test_every_id_reaches_its_document_and_its_history_beside_the_path(api, stream):
    for name in IDS:
        asked = f"id={quote(name, safe='')}"
        assert (await api.get(f"{stream}/doc?{asked}")).json()["payload"]["doc"] == {"id": name}
        (version,) = (await api.get(f"{stream}/doc/history?{asked}")).json()["payload"]
        assert version["doc"] == {"id": name}


async def test_an_id_erases_its_document_and_no_other(api, stream):
    left = await _ids(api, stream)
    for name in ("", ".", "..", "/", "a/b", "history", "%2F", "?"):
        answer = await api.delete(f"{stream}/doc?id={quote(name, safe='')}")
        assert answer.json()["payload"]["docs"] == 1
        left.remove(name)
    assert await _ids(api, stream) == left


@pytest.mark.parametrize("name", ["history", "history/history", "a/history", "docs/a", "%2F", "https://x.org/a?b#c"])
async def test_an_id_in_a_path_reaches_its_document_and_its_history(api, stream, name):
    path = f"{stream}/docs/{quote(name, safe='')}"
    assert (await api.get(path)).json()["payload"]["doc"] == {"id": name}
    (version,) = (await api.get(f"{path}/history")).json()["payload"]
    assert version["doc"] == {"id": name}
    assert (await api.delete(path)).json()["payload"]["docs"] == 1


async def test_a_delete_whose_path_ends_without_an_id_erases_nothing(api, stream, assert_problem):
    problem = assert_problem(await api.delete(f"{stream}/docs/"), 400, "request-invalid")
    assert "doc?id=" in problem["detail"]
    for path in (f"{stream}/docs", f"{stream}/", f"{stream}/docs//history"):
        assert (await api.delete(path)).status_code in {404, 405}
    assert len(await _ids(api, stream)) == len(IDS)


async def test_a_delete_beside_the_path_needs_an_id(api, stream, assert_problem):
    problem = assert_problem(await api.delete(f"{stream}/doc"), 400, "request-invalid")
    assert problem["errors"][0]["pointer"] == "?id"
    assert len(await _ids(api, stream)) == len(IDS)


@pytest.mark.parametrize("slash", ["%2F", "%2f"])
async def test_an_encoded_slash_in_a_fid_makes_no_other_path_of_it(api, stream, assert_problem, slash):
    fid = stream.removeprefix("/streams/")
    for fake in (f"{fid}{slash}docs{slash}a", f"x{slash}..{slash}{fid}", f"{slash}{fid}"):
        assert_problem(await api.delete(f"/streams/{fake}"), 404, "not-found")
        assert_problem(await api.get(f"/streams/{fake}/docs/a"), 404, "not-found")
    assert_problem(await api.get(f"/streams{slash}{fid}"), 404, "not-found")
    assert len(await _ids(api, stream)) == len(IDS)
