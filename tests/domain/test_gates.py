import pytest

from headwater.domain.gates import Gates, failures, verdict


def _failed(gates: Gates, *, docs: int = 0, rejected: int = 0, before: int | None = None) -> list[str]:
    return [one.gate for one in failures(gates, docs=docs, rejected=rejected, before=before)]


def test_without_gates_everything_passes():
    assert Gates().are_open
    assert _failed(Gates(), docs=0, rejected=99, before=1_000) == []


@pytest.mark.parametrize(("docs", "failed"), [(0, ["min_docs"]), (9, ["min_docs"]), (10, []), (11, [])])
def test_a_run_that_brings_fewer_documents_than_the_least_fails(docs, failed):
    assert _failed(Gates(min_docs=10), docs=docs) == failed


@pytest.mark.parametrize(
    ("most", "before", "docs", "failed"),
    [
        (0.4, 10, 6, []),
        (0.4, 10, 5, ["max_shrink"]),
        (0.4, 10, 99, []),
        (0.3, 10, 7, []),
        (0.7, 10, 3, []),
        (0.1, 1_000_000, 900_000, []),
        (0.1, 1_000_000, 899_999, ["max_shrink"]),
        (0.0, 10, 10, []),
        (0.0, 10, 9, ["max_shrink"]),
        (1.0, 10, 0, []),
        (0.0, None, 0, []),
        (0.0, 0, 0, []),
    ],
)
def test_a_run_may_bring_fewer_documents_than_the_last_good_one_by_a_share(most, before, docs, failed):
    assert _failed(Gates(max_shrink=most), docs=docs, before=before) == failed


@pytest.mark.parametrize(
    ("most", "docs", "rejected", "failed"),
    [
        (0, 10, 0, []),
        (0, 10, 1, ["max_rejected"]),
        (0.1, 90, 10, []),
        (0.1, 89, 11, ["max_rejected"]),
        (0.1, 0, 1, ["max_rejected"]),
        (1, 10, 1, []),
        (1, 10, 2, ["max_rejected"]),
        (5, 0, 5, []),
        (5, 1_000_000, 6, ["max_rejected"]),
    ],
)
def test_rejected_lines_are_bounded_by_a_share_below_1_and_by_a_number_from_1_on(most, docs, rejected, failed):
    assert _failed(Gates(max_rejected=most), docs=docs, rejected=rejected) == failed


def test_the_verdict_tells_each_gate_with_its_numbers_and_keeps_what_the_crawler_said():
    failed = failures(Gates(min_docs=8, max_shrink=0.25, max_rejected=0.5), docs=1, rejected=3, before=10)
    message, detail = verdict(failed, message="that was all", detail={"page": 1})
    assert message == (
        "not published, min_docs: 1 document, and at least 8 are wanted; "
        "max_shrink: 1 document, 90.0% fewer than the 10 of the last good run, and 25.0% are let pass; "
        "max_rejected: 3 of 4 lines were rejected, 75.0%, and 50.0% are let pass"
    )
    assert detail == {
        "gates": [
            {"gate": "min_docs", "limit": 8, "value": 1},
            {"gate": "max_shrink", "limit": 0.25, "value": 0.9},
            {"gate": "max_rejected", "limit": 0.5, "value": 0.75},
        ],
        "message": "that was all",
        "detail": {"page": 1},
    }


def test_a_bound_in_numbers_is_told_in_numbers():
    (failed,) = failures(Gates(max_rejected=2), docs=5, rejected=3, before=None)
    assert failed.said == "3 of 8 lines were rejected, and 2 are let pass"
