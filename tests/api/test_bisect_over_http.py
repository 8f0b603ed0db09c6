import pytest

MONDAY = b'{"id": "a", "price": 1}\n{"id": "b", "price": 2}\n{"id": "c", "price": 3}\n'
TUESDAY = b'{"id": "a", "price": -1}\n{"id": "b", "price": -2}\n{"id": "c", "price": 3}\n'
WEDNESDAY = b'{"id": "a", "price": 1}\n{"id": "d", "price": 4}\n'


@pytest.fixture
async def days(made):
    """A stream with three runs, of which the second brought negative prices, and the third mended one."""
    crawler = await made.crawler()
    return crawler["stream"], [await made.done(crawler, day) for day in (MONDAY, TUESDAY, WEDNESDAY)]


async def _bisected(api, stream, **params) -> dict:
    answer = await api.get(f"/streams/{stream}/bisect", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()["payload"]


async def test_the_run_that_brought_documents_and_the_one_that_removed_some_are_found(api, days):
    stream, (_, tuesday, wednesday) = days
    found = await _bisected(api, stream, where="price<0")
    assert {name: found[name] for name in ("since", "stream_version", "before", "docs", "more")} == {
        "since": 0,
        "stream_version": 3,
        "before": 0,
        "docs": 1,
        "more": False,
    }
    runs = [(run["task"], run["version"], run["change"], run["brought"], run["removed"]) for run in found["runs"]]
    assert runs == [(tuesday["fid"], 2, "upload", 2, 0), (wednesday["fid"], 3, "upload", 0, 1)]
    assert found["first"] == found["runs"][0]
    assert found["to_undo"] == [tuesday["fid"]]


async def test_the_answer_leads_to_the_dry_run_of_undoing_the_runs_that_are_to_blame(api, days):
    stream, (_, tuesday, _) = days
    call = (await _bisected(api, stream, where="price<0"))["dry_run"]
    answer = await api.request(call["method"], call["path"], json=call["body"])
    # b goes back to what it was, a has been mended since, and c was the same.
    assert answer.json()["payload"] == {"removed": 0, "restored": 2, "unaffected": 1, "tasks": [tuesday["fid"]]}
    await api.post(f"/actions/streams/{stream}/revert", json=call["body"])
    found = await _bisected(api, stream, where="price<0")
    assert (found["docs"], found["to_undo"], found["dry_run"]) == (0, [], None)
    last = found["runs"][-1]
    assert (last["change"], last["task"], last["tasks"], last["removed"]) == ("remove", None, [tuesday["fid"]], 1)


async def test_a_run_that_brought_the_same_again_is_to_blame_as_well(api, made):
    crawler = await made.crawler()
    first = await made.done(crawler, b'{"id": "a", "price": -1}\n')
    again = await made.done(crawler, b'{"id": "a", "price": -1}\n')
    found = await _bisected(api, crawler["stream"], where="price<0")
    assert [run["task"] for run in found["runs"]] == [first["fid"]]
    assert found["to_undo"] == [first["fid"], again["fid"]]


async def test_the_uploads_of_a_run_are_one_change(api, made):
    crawler = await made.crawler()
    task = await made.task(crawler)
    for number in range(3):
        await made.upload(task, b'{"id": "%d", "v": 1}\n' % number)
    (run,) = (await _bisected(api, crawler["stream"], where="v=1"))["runs"]
    assert (run["version"], run["until"], run["brought"]) == (1, 3, 3)


async def test_words_and_the_id_of_a_document_are_asked_for(api, days):
    stream, (monday, tuesday, wednesday) = days
    assert (await _bisected(api, stream, q="-2"))["first"]["task"] == tuesday["fid"]
    assert (await _bisected(api, stream, id="d"))["first"]["task"] == wednesday["fid"]
    assert (await _bisected(api, stream, id="a", where="price=1"))["first"]["task"] == monday["fid"]
    assert (await _bisected(api, stream, id="nobody"))["first"] is None


async def test_changes_are_looked_at_from_a_version_on_and_some_at_a_time(api, days):
    stream, (_, _, wednesday) = days
    later = await _bisected(api, stream, where="price<0", since=2)
    assert (later["since"], later["before"], [run["task"] for run in later["runs"]]) == (2, 2, [wednesday["fid"]])
    some = await _bisected(api, stream, where="price<0", limit=1)
    assert (some["more"], len(some["runs"])) == (True, 1)
    assert (await _bisected(api, stream, where="price<0", since=some["runs"][-1]["until"]))["runs"] == later["runs"]


async def test_what_is_looked_for_has_to_be_said(api, days, assert_problem):
    stream, _ = days
    problem = assert_problem(await api.get(f"/streams/{stream}/bisect"), 400, "request-invalid")
    assert "where=price<0" in problem["detail"]
    assert_problem(await api.get(f"/streams/{stream}/bisect?where=price<0&since=9"), 400, "request-invalid")
    assert_problem(await api.get(f"/streams/{'0' * 32}/bisect?where=price<0"), 404, "not-found")
