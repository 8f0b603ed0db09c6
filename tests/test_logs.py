import json
import logging

import pytest
import structlog

from headwater import logs

pytestmark = pytest.mark.usefixtures("logs_as_before")


def test_a_line_is_json_when_nobody_looks(capsys):
    logs.set_up(form="auto", level="info")
    structlog.get_logger("t").info("task.started", task="x")
    logging.getLogger("library").warning("from elsewhere")
    ours, theirs = map(json.loads, capsys.readouterr().err.splitlines())
    assert (ours["event"], ours["task"], ours["level"]) == ("task.started", "x", "info")
    assert (theirs["event"], theirs["level"]) == ("from elsewhere", "warning")


def test_what_is_known_of_the_process_stands_in_each_line(capsys):
    logs.set_up(form="json", level="info", worker=1)
    structlog.get_logger("t").info("ours")
    structlog.get_logger("t").info("of another", worker=0)
    logging.getLogger("library").info("theirs")
    assert [json.loads(line)["worker"] for line in capsys.readouterr().err.splitlines()] == [1, 0, 1]


@pytest.mark.parametrize("fact", ["\ud800", 1 << 70, {1, 2}, {("a", "b"): 1}, b"\xff"])
def test_whatever_a_fact_is_the_line_is_json(capsys, fact):
    logs.set_up(form="json", level="info")
    structlog.get_logger("t").info("odd", fact=fact)
    assert json.loads(capsys.readouterr().err)["event"] == "odd"


def test_a_line_below_the_level_is_not_written(capsys):
    logs.set_up(form="json", level="warning")
    structlog.get_logger("t").info("quiet")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_traceback_shows_no_variables(capsys, form):
    logs.set_up(form=form, level="info")
    password = "hunter2"
    try:
        _ = 1 / (len(password) - 7)
    except ZeroDivisionError:
        structlog.get_logger("t").exception("failed")
    told = capsys.readouterr().err
    assert "ZeroDivisionError" in told
    assert "hunter2" not in told.replace('password = "hunter2"', "")


def test_libraries_that_log_urls_are_quiet(capsys):
    logs.set_up(form="json", level="info")
    logging.getLogger("httpx").info("POST http://ec/token")
    assert capsys.readouterr().err == ""
