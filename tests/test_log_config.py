import contextlib
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import structlog

from headwater import log_config

pytestmark = pytest.mark.usefixtures("logs_as_before")


def test_a_line_is_json_when_nobody_looks(capsys):
    log_config.set_up(form="auto", level="info")
    structlog.get_logger("t").info("task.started", task="x")
    logging.getLogger("library").warning("from elsewhere")
    ours, theirs = map(json.loads, capsys.readouterr().err.splitlines())
    assert (ours["event"], ours["task"], ours["level"]) == ("task.started", "x", "info")
    assert (theirs["event"], theirs["level"]) == ("from elsewhere", "warning")


def test_what_is_known_of_the_process_stands_in_each_line(capsys):
    log_config.set_up(form="json", level="info", worker=1)
    structlog.get_logger("t").info("ours")
    structlog.get_logger("t").info("of another", worker=0)
    logging.getLogger("library").info("theirs")
    assert [json.loads(line)["worker"] for line in capsys.readouterr().err.splitlines()] == [1, 0, 1]


@pytest.mark.parametrize("fact", ["\ud800", 1 << 70, {1, 2}, {("a", "b"): 1}, b"\xff"])
def test_whatever_a_fact_is_the_line_is_json(capsys, fact):
    log_config.set_up(form="json", level="info")
    structlog.get_logger("t").info("odd", fact=fact)
    assert json.loads(capsys.readouterr().err)["event"] == "odd"


def test_a_line_below_the_level_is_not_written(capsys):
    log_config.set_up(form="json", level="warning")
    structlog.get_logger("t").info("quiet")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_traceback_shows_no_variables(capsys, form):
    log_config.set_up(form=form, level="info")
    password = "hunter2"
    try:
        _ = 1 / (len(password) - 7)
    except ZeroDivisionError:
        structlog.get_logger("t").exception("failed")
    told = capsys.readouterr().err
    assert "ZeroDivisionError" in told
    assert "hunter2" not in told.replace('password = "hunter2"', "")


def test_libraries_that_repeat_our_lines_are_quiet(capsys):
    log_config.set_up(form="json", level="info")
    logging.getLogger("httpx").info("POST http://ec/token")
    logging.getLogger("alembic.runtime.migration").info("Running upgrade")
    assert capsys.readouterr().err == ""


class Unprintable:
    """A fact that no log can show."""

    def __repr__(self):
        raise RuntimeError("no")


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_fact_that_cannot_be_rendered_costs_its_line_and_nothing_else(capsys, form):
    log_config.set_up(form=form, level="info")
    structlog.get_logger("t").info("task.started", fact=Unprintable())
    logging.getLogger("library").warning("from elsewhere")
    first, *_ = capsys.readouterr().err.splitlines()
    assert "task.started" in first


def _log():
    """Log a line of ours, a traceback, and a line of a library: none of them may raise."""
    structlog.get_logger("t").info("ours")
    try:
        _ = 1 / 0
    except ZeroDivisionError:
        structlog.get_logger("t").exception("failed")
    logging.getLogger("library").warning("theirs")


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_full_disk_under_the_log_loses_lines_and_nothing_else(monkeypatch, form):
    log_config.set_up(form=form, level="info")
    with Path("/dev/full").open("w", buffering=1) as full:
        monkeypatch.setattr(sys, "stderr", full)
        for _ in range(100):
            _log()


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_log_whose_reader_is_gone_loses_lines_and_nothing_else(monkeypatch, form):
    log_config.set_up(form=form, level="info")
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", buffering=1) as gone:
        monkeypatch.setattr(sys, "stderr", gone)
        for _ in range(100):
            _log()


@pytest.mark.parametrize("how", ["none", "closed"])
def test_a_log_that_is_closed_loses_lines_and_nothing_else(monkeypatch, tmp_path, how):
    stream = None
    if how == "closed":
        stream = (tmp_path / "log").open("w")
        stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    log_config.set_up(form="auto", level="info")
    _log()


def test_a_log_that_nobody_reads_stops_nobody_and_says_later_what_was_lost(monkeypatch):
    log_config.set_up(form="json", level="info")
    reader, writer = os.pipe()
    lines = 0
    with os.fdopen(reader, "rb", buffering=0) as read, os.fdopen(writer, "w", buffering=1) as stuck:
        monkeypatch.setattr(sys, "stderr", stuck)
        # More than any pipe holds: a write that waited for room would wait forever.
        while lines < 3000:
            structlog.get_logger("t").info("task.started", text="x" * 1000)
            lines += 1
        told = read.read(1 << 20)
        structlog.get_logger("t").info("afterwards")
        told += read.read(1 << 20)
    whole = told.decode().splitlines()
    (lost,) = [int(line.split()[0]) for line in whole if "could not be written" in line]
    assert lost >= 3000 - sum("task.started" in line for line in whole)
    assert json.loads(whole[-1])["event"] == "afterwards"


def test_what_anybody_writes_to_a_pipe_that_nobody_reads_is_lost_and_blocks_nobody():
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, b"x" * 4096)
    os.set_blocking(writer, True)
    program = "import sys; from headwater.log_config import protect_stderr; protect_stderr(); "
    program += "print('a' * 100_000, file=sys.stderr); print('ended')"
    ended = subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=writer, timeout=60, check=True, text=True
    )
    os.close(reader)
    os.close(writer)
    assert ended.stdout == "ended\n"
