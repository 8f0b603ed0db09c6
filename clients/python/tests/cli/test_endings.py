import sys

import httpx
import pytest
import typer

from headwater_client import errors
from headwater_client.cli.endings import Code, Refusal, told


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
        (Refusal("one", "two", code=Code.GONE), Code.GONE, ["one", "two"]),
        (_problem(errors.RequestInvalid, 400), Code.FAILED, ["it is so"]),
        (_problem(errors.RequestInvalid, 400, "for this"), Code.FAILED, ["it is so: for this"]),
        (_problem(errors.ParametersInvalid, 400, "a", "b"), Code.FAILED, ["it is so", "a", "b"]),
        (_problem(errors.RequestInvalid, 400, truncated=True), Code.FAILED, ["it is so", "… and more like these"]),
        (_problem(errors.NotAuthenticated, 401), Code.NOT_ALLOWED, ["it is so"]),
        (_problem(errors.NotAllowed, 403), Code.NOT_ALLOWED, ["it is so"]),
        (_problem(errors.NotFound, 404), Code.NOT_FOUND, ["it is so"]),
        (_problem(errors.DocumentInvalid, 406), Code.REJECTED, ["it is so"]),
        (_problem(errors.TaskClosed, 409), Code.GONE, ["it is so"]),
        (_problem(errors.StreamTaken, 409), Code.FAILED, ["it is so"]),
        (_problem(errors.Problem, 502), Code.FAILED, ["it is so"]),
        (errors.TaskGone("it is gone"), Code.GONE, ["it is gone"]),
        (_unavailable(REFUSED), Code.UNREACHABLE, ["http://here:8080 does not answer: Connection refused"]),
        (
            _unavailable(_problem(errors.Problem, 503)),
            Code.UNREACHABLE,
            ["GET /tasks was tried 3 times within 3 s: Connection refused"],
        ),
        (FileNotFoundError(2, "No such file", "x"), Code.FAILED, ["x: No such file"]),
        (Refusal("two\nlines\x1b[31m"), Code.FAILED, ["two lines\ufffd[31m"]),
    ],
)
def test_what_goes_wrong_is_told_a_line_each_and_ends_with_a_code(error, code, lines, capsys):
    with pytest.raises(typer.Exit) as ended, told():
        raise error
    assert ended.value.exit_code == code
    assert capsys.readouterr().err.splitlines() == [f"headwater: {line}" for line in lines]


def test_what_nobody_foresaw_is_not_hidden():
    with pytest.raises(ZeroDivisionError), told():
        raise ZeroDivisionError


@pytest.mark.parametrize("error", [KeyboardInterrupt(), typer.Abort()])
def test_an_interruption_says_nothing(error, capsys):
    with pytest.raises(typer.Exit) as ended, told():
        raise error
    assert (ended.value.exit_code, capsys.readouterr().err) == (Code.INTERRUPTED, "\n")


def test_all_is_well(capsys):
    with told():
        sys.stdout.write("done")
    assert capsys.readouterr() == ("done", "")
