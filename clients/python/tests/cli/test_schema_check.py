from headwater_client.cli.schema_check import lines
from headwater_client.models.objects import Check

_NONE = {"name": None, "stream_version": 1, "documents": 7, "failing": 0, "renamed": 0, "examples": []}


def _lines(*streams: dict) -> list[str]:
    whole = [{"stream": "5" * 32, **_NONE, **stream} for stream in streams]
    sums = {name: sum(each[name] for each in whole) for name in ("documents", "failing", "renamed")}
    return list(lines(Check.read({**sums, "streams": whole})))


def test_where_nothing_would_be_refused_a_line_says_so():
    assert _lines({}, {}) == ["0 of 14 documents in 2 streams would be refused."]


def test_what_would_be_refused_is_told_with_its_place_and_task():
    examples = [
        {"id": "b", "task": "t", "pointer": "/price", "keyword": "type", "detail": "no number"},
        {"id": "c\x1b[2J", "task": "t", "pointer": "", "keyword": "required", "detail": "it lacks a price"},
    ]
    told = _lines({}, {"name": "Books", "documents": 2000, "failing": 1200, "renamed": 1, "examples": examples})
    assert told == [
        "1,200 of 2,007 documents in 2 streams would be refused, 1 would have another id.",
        "Books: 1,200 of 2,000, 1 would have another id",
        "  b  /price: no number  (task t)",
        "  c\ufffd[2J  it lacks a price  (task t)",
        "  … and 1,198 more",
    ]


def test_a_stream_without_a_name_is_called_by_its_fid():
    assert _lines({"renamed": 2})[1] == f"{'5' * 32}: 0 of 7, 2 would have another id"
