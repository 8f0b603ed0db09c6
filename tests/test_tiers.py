"""tests/tiers.py: no test is lost between the tiers."""

import re
from pathlib import Path

import pytest
from _pytest.mark.expression import Expression

import tiers

pytest_plugins = ["pytester"]

MAKEFILE = Path(__file__).parents[1] / "Makefile"

EXAMPLE = """
import pytest

@pytest.fixture(params=["sqlite", "postgres"])
def url(request):
    return request.param

def test_on_one(url): pass

@pytest.mark.parametrize("number", [1, 2])
def test_with_another_parameter(url, number): pass

@pytest.mark.both_databases
def test_on_both(url): pass

@pytest.mark.parametrize("url", ["postgres"], indirect=True)
def test_on_postgresql_alone(url): pass

def test_on_none(): pass
"""


@pytest.fixture
def items(pytester):
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    return pytester.getitems(EXAMPLE)


def test_a_test_on_postgresql_is_spared_where_it_runs_on_sqlite_too(items, monkeypatch):
    monkeypatch.delenv(tiers.DATABASES, raising=False)
    assert [item.name for item in tiers.spared(items)] == [
        "test_on_one[postgres]",
        "test_with_another_parameter[postgres-1]",
        "test_with_another_parameter[postgres-2]",
    ]


def test_none_is_spared_when_all_databases_are_asked_for(items, monkeypatch):
    monkeypatch.setenv(tiers.DATABASES, "all")
    assert tiers.spared(items) == []


@pytest.mark.parametrize("expression", re.findall(r'-m "?([^"\n]*?)"? \$\(TESTS\)', MAKEFILE.read_text()))
def test_a_file_that_is_not_imported_has_no_test_that_is_selected(expression, pytestconfig):
    selected = Expression.compile(expression)
    files = [
        file.relative_to(pytestconfig.rootpath).as_posix() for file in pytestconfig.rootpath.rglob("tests/**/test_*.py")
    ]
    left_out = [file for file in files if tiers.is_left_out(file, expression)]
    assert left_out
    assert [file for file in left_out if selected.evaluate(_markers(file).__contains__)] == []
    partly = {place.partition("::")[0] for place in tiers.SERVED if "::" in place}
    assert partly.isdisjoint(left_out)


def _markers(file: str) -> set[str]:
    return {name for name, places in (("served", tiers.SERVED), ("smoke", tiers.SMOKE)) if file.startswith(places)}


def test_with_another_selection_all_files_are_imported():
    assert not tiers.is_left_out("tests/end_to_end/test_smoke.py", "")
    assert not tiers.is_left_out("tests/end_to_end/test_smoke.py", "not both_databases")


@pytest.mark.parametrize(("used", "is_served", "fails"), [(4.9, False, False), (5.1, False, True), (5.1, True, False)])
def test_a_test_in_process_may_take_so_much_of_the_processor(items, monkeypatch, used, is_served, fails):
    monkeypatch.setenv(tiers.PROCESSOR, "5")
    if is_served:
        items[0].add_marker("served")
    if fails:
        with pytest.raises(pytest.fail.Exception, match=r"took 5\.1 s of processor; a test in process may take 5"):
            tiers.require_frugal(items[0], used)
    else:
        tiers.require_frugal(items[0], used)


@pytest.mark.parametrize("place", sorted({*tiers.SERVED, *tiers.SMOKE, *tiers.BOTH}))
def test_a_place_that_a_tier_names_has_tests(place, pytestconfig):
    path, _, function = place.partition("::")
    found = pytestconfig.rootpath / path
    files = sorted(found.rglob("test_*.py")) if found.is_dir() else [found]
    assert any(f"def {function or 'test_'}" in file.read_text() for file in files)


def _ended(nodeid: str, used: float, *, when: str = "teardown") -> pytest.TestReport:
    return pytest.TestReport(
        nodeid, (nodeid, 0, ""), {}, "passed", None, when, user_properties=[(tiers.USED, used), ("other", "x")]
    )


def test_what_folders_take_of_the_processor_is_added_up():
    tests = [_ended("tests/api/test_a.py::test_a[x/y]", 1), _ended("tests/lake/test_b.py::test_b", 3)]
    tests += [_ended("tests/api/test_c.py::test_c", 0.5), _ended("tests/api/test_c.py::test_c", 9, when="call")]
    assert list(tiers.by_folder([*tests, "a warning"]).items()) == [("tests/lake", (3, 1)), ("tests/api", (1.5, 2))]
