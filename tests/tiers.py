"""Which tests run when: in process, served, on one database or on both.

``make test`` runs what needs no server of its own, and a short run against a served Headwater, marked ``smoke``;
``make test-served`` the rest, marked ``served``; ``make check`` all. A test that serves a process is marked here.
"""

import os
import resource
from collections.abc import Iterable

import pytest

import budget

#: Of the environment: ``all`` runs on both databases what runs on SQLite alone otherwise.
DATABASES = "TEST_DATABASES"
#: Of the environment: seconds of processor that a test in process may take; none unless set.
PROCESSOR = "TEST_PROCESSOR"

#: Of a test: the processor's seconds when it began, and the property of its report that tells what it used.
BEFORE = pytest.StashKey[float]()
USED = "processor"

#: Folders and files whose tests serve a process, or run programs against one.
SERVED = (
    "tests/browser/",
    "tests/clients/",
    "tests/docs/test_blocks.py",
    "tests/docs/test_build.py",
    "tests/docs/test_change_sets.py",
    "tests/docs/test_crawlee.py",
    "tests/docs/test_readme.py",
    "tests/end_to_end/",
    "tests/examples/test_cluster.py",
    "tests/examples/test_packages_crawler.py::test_the_demo",
    "tests/packaging/",
)
#: Of those, what ``make test`` runs too: a start, a kill, and the README's tour.
SMOKE = ("tests/docs/test_readme.py", "tests/end_to_end/test_smoke.py")
#: What runs on both databases always: the SQL itself, and what several processes or threads do at once.
BOTH = (
    "tests/api/test_change_sets_over_http.py",
    "tests/api/routers/test_events.py",
    "tests/api/routers/test_health.py",
    "tests/catalog/",
    "tests/end_to_end/",
    "tests/lifecycle/test_tasks.py",
    "tests/lifecycle/ec/test_dispatcher.py",
    "tests/lifecycle/test_retries.py",
    "tests/lifecycle/test_schedules.py",
    "tests/streams/test_change_feed.py",
)


def is_left_out(file: str, expression: str) -> bool:
    """Return whether ``-m`` selects no test of a file, which is a path from the root: it is not imported then."""
    served = tuple(place for place in SERVED if "::" not in place)
    partly = tuple(place.partition("::")[0] for place in SERVED if "::" in place)
    match expression:
        case "not served":
            return file.startswith(served)
        case "not served or smoke":
            return file.startswith(served) and not file.startswith(SMOKE)
        case "served":
            return not file.startswith((*served, *partly))
        case "served and not smoke":
            return not file.startswith((*served, *partly)) or file.startswith(SMOKE)
        case _:
            return False


def mark(items: list[pytest.Item]) -> None:
    """Mark the tests of the served tier, and those of the smoke run."""
    for item in items:
        if item.nodeid.startswith(SERVED):
            item.add_marker("served")
        if item.nodeid.startswith(SMOKE):
            item.add_marker("smoke")


def spared(items: list[pytest.Item]) -> list[pytest.Item]:
    """Return the tests on PostgreSQL that are left out, since they run on SQLite as well."""
    if os.environ.get(DATABASES) == "all":
        return []
    on = {(_name(item), _others(item)): item for item in items if _engine(item) == "sqlite"}
    return [
        item
        for item in items
        if _engine(item) == "postgres" and not _is_for_both(item) and (_name(item), _others(item)) in on
    ]


def processor() -> float:
    """Return the seconds of processor that this process has used, with those programs that it has waited for."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)


def by_folder(reports: Iterable[object]) -> dict[str, tuple[float, int]]:
    """Return the seconds of processor of tests with what they set up, and how many tests, the most expensive first."""
    used: dict[str, list[float]] = {}
    for report in reports:
        if isinstance(report, pytest.TestReport) and report.when == "teardown":
            folder = report.nodeid.partition("::")[0].rpartition("/")[0]
            used.setdefault(folder, []).extend(float(value) for name, value in report.user_properties if name == USED)
    totals = {folder: (sum(each), len(each)) for folder, each in used.items()}
    return dict(sorted(totals.items(), key=lambda total: total[1], reverse=True))


def require_frugal(item: pytest.Item, used: float) -> None:
    """Fail a test in process that took more of the processor than it may; all examples may take more than a share."""
    most = float(os.environ.get(PROCESSOR) or "inf")
    if budget.IS_FULL and getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
        most *= budget.SHARE
    if used > most and item.get_closest_marker("served") is None:
        pytest.fail(f"the test took {used:.1f} s of processor; a test in process may take {most:g}", pytrace=False)


def _engine(item: pytest.Item) -> str | None:
    return item.callspec.params.get("url") if isinstance(item, pytest.Function) and hasattr(item, "callspec") else None


def _name(item: pytest.Item) -> str:
    return item.nodeid.partition("[")[0]


def _others(item: pytest.Item) -> tuple[str, ...]:
    # By the text of the id: parameters may be of any kind.
    return tuple(sorted(part for part in item.callspec.id.split("-") if part not in {"sqlite", "postgres"}))


def _is_for_both(item: pytest.Item) -> bool:
    return item.nodeid.startswith(BOTH) or item.get_closest_marker("both_databases") is not None
