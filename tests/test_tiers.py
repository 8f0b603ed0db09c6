"""tests/tiers.py: no test is lost between the tiers."""

import pytest

import tiers

pytest_plugins = ["pytester"]

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
