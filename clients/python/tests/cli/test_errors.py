import sys

import httpx
import pytest
import typer

from headwater_client import errors
from headwater_client.cli.errors import CliError, ExitCode, exit_on_error


def _problem(kind: type[errors.Problem], status: int, *messages: str, **more) -> errors.Problem:
    return kind(status, {"detail": "it is so", "messages": ["it is so", *messages], **more})


def _unavailable(cause: Exception) -> errors.Unavailable:
    error = errors.Unavailable("GET /tasks was tried 3 times within 3 s: Connection refused")
    error.__cause__ = cause
    return error


REFUSED = httpx.ConnectError("[Errno 111] Connection refused", request=httpx.Request("GET", "http://here:8080/tasks"))


@pytest.mark.parametrize(
    ("error", "code", "lines"),
    [
        (CliError("one", "two", code=ExitCode.GONE), ExitCode.GONE, ["one", "two"]),
        (_problem(errors.RequestInvalid, 400), ExitCode.FAILED, ["it is so"]),
        (_problem(errors.RequestInvalid, 400, "for this"), ExitCode.FAILED, ["it is so: for this"]),
        (_problem(errors.RequestInvalid, 400, "/url: it is so"), ExitCode.FAILED, ["/url: it is so"]),
        (_problem(errors.ParametersInvalid, 400, "a", "b"), ExitCode.FAILED, ["it is so", "a", "b"]),
        (_problem(errors.RequestInvalid, 400, truncated=True), ExitCode.FAILED, ["it is so", "… and more like these"]),
        (_problem(errors.NotAuthenticated, 401), ExitCode.NOT_ALLOWED, ["it is so"]),
        (_problem(errors.NotAllowed, 403), ExitCode.NOT_ALLOWED, ["it is so"]),
        (_problem(errors.NotFound, 404), ExitCode.NOT_FOUND, ["it is so"]),
        (_problem(errors.DocumentInvalid, 406), ExitCode.REJECTED, ["it is so"]),
        (_problem(errors.TaskClosed, 409), ExitCode.GONE, ["it is so"]),
        (_problem(errors.StreamTaken, 409), ExitCode.FAILED, ["it is so"]),
        (_problem(errors.Problem, 502), ExitCode.FAILED, ["it is so"]),
        (errors.TaskGone("it is gone"), ExitCode.GONE, ["it is gone"]),
        (_unavailable(REFUSED), ExitCode.UNREACHABLE, ["http://here:8080 does not answer: Connection refused"]),
        (
            _unavailable(_problem(errors.Problem, 503)),
            ExitCode.UNREACHABLE,
            ["GET /tasks was tried 3 times within 3 s: Connection refused"],
        ),
        (FileNotFoundError(2, "No such file", "x"), ExitCode.FAILED, ["x: No such file"]),
        (CliError("two\nlines\x1b[31m"), ExitCode.FAILED, ["two lines\ufffd[31m"]),
    ],
)
def test_what_goes_wrong_is_told_a_line_each_and_ends_with_a_code(error, code, lines, capsys):
    with pytest.raises(typer.Exit) as ended, exit_on_error():
        raise error
    assert ended.value.exit_code == code
    assert capsys.readouterr().err.splitlines() == [f"headwater: {line}" for line in lines]


def test_what_nobody_foresaw_is_not_hidden():
    with pytest.raises(ZeroDivisionError), exit_on_error():
        raise ZeroDivisionError


@pytest.mark.parametrize("error", [KeyboardInterrupt(), typer.Abort()])
def test_an_interruption_says_nothing(error, capsys):
    with pytest.raises(typer.Exit) as ended, exit_on_error():
        raise error
    assert (ended.value.exit_code, capsys.readouterr().err) == (ExitCode.INTERRUPTED, "\n")


def test_all_is_well(capsys):
    with exit_on_error():
        sys.stdout.write("done")
    assert capsys.readouterr() == ("done", "")
