"""Errors of commands: messages on stderr, and exit codes for scripts."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Generator
from contextlib import contextmanager
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from headwater_client.errors import Problem, Unavailable

#: click's UsageError, the base class of BadParameter.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]
_NOT_FOUND = 404
_NOT_ALLOWED = frozenset({401, 403})


class ExitCode(IntEnum):
    """Exit codes."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    NOT_ALLOWED = 4
    REJECTED = 5
    GONE = 6
    UNREACHABLE = 7
    TIMED_OUT = 8
    INTERRUPTED = 130
    #: Broken pipe: 128 + SIGPIPE.
    UNREAD = 141


class CliError(Exception):
    """A command failed; printed without a traceback."""

    def __init__(self, *lines: str, code: ExitCode = ExitCode.FAILED) -> None:
        """Create the error from one line per problem."""
        self.lines = lines
        self.code = code
        super().__init__("; ".join(lines))


def complain(*lines: str) -> None:
    """Print lines to stderr."""
    for line in lines:
        sys.stderr.write(f"headwater: {harmless(line)}\n")
    sys.stderr.flush()


def harmless(text: str) -> str:
    """Return a text without line breaks and terminal control characters."""
    return "".join(letter if letter.isprintable() else " " if letter.isspace() else "\ufffd" for letter in text)


@contextmanager
def exit_on_error() -> Generator[None, None, None]:
    """Print an error of the block, and exit with its code.

    Raises:
        Exit: the block failed.
    """
    try:
        yield
        sys.stdout.flush()
    except (typer.Exit, SystemExit):
        raise
    except Exception as error:
        raise typer.Exit(_report(error)) from error
    except KeyboardInterrupt as error:
        sys.stderr.write("\n")
        raise typer.Exit(ExitCode.INTERRUPTED) from error


def _report(error: Exception) -> ExitCode:
    """Print an error, and return its exit code; unexpected errors are raised again."""
    if isinstance(error, CliError):
        complain(*error.lines)
        return error.code
    if isinstance(error, _UsageError):
        return _report_usage_error(error)
    if isinstance(error, BrokenPipeError):
        # Redirect stdout, so that Python does not try to flush its buffer at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.UNREAD
    if isinstance(error, typer.Abort):  # Ctrl-C or Ctrl-D at a prompt
        sys.stderr.write("\n")
        return ExitCode.INTERRUPTED
    return _report_headwater_error(error)


def _report_usage_error(error: Any) -> ExitCode:
    message: str = error.format_message()
    if message.startswith("Usage:"):  # called without arguments: this is the help
        sys.stderr.write(f"{message}\n")
    else:
        path = error.ctx.command_path if error.ctx is not None else "headwater"
        complain(f"{message[:1].lower()}{message[1:].rstrip('.')} ('{path} --help' says more)")
    return ExitCode.USAGE


def _report_headwater_error(error: Exception) -> ExitCode:
    from headwater_client import errors  # noqa: PLC0415 - help need not wait for it

    if isinstance(error, errors.Problem):
        complain(*lines_of(error))
        return code_of(error)
    if isinstance(error, errors.Unavailable):
        complain(unreachable(error))
        return ExitCode.UNREACHABLE
    if isinstance(error, errors.TaskGone):
        complain(str(error))
        return ExitCode.GONE
    if isinstance(error, OSError) and error.filename is not None:
        complain(f"{error.filename}: {error.strerror}")
        return ExitCode.FAILED
    if isinstance(error, (errors.HeadwaterError, OSError)):
        complain(str(error))
        return ExitCode.FAILED
    raise error


def lines_of(problem: Problem) -> list[str]:
    """Return a problem as lines: its detail, and its individual errors."""
    more = [message for message in problem.messages if message not in problem.detail]
    if len(more) == 1 and problem.detail in more[0]:
        return more
    if len(more) == 1:
        return [f"{problem.detail}: {more[0]}"]
    return [problem.detail, *more, *(["… and more like these"] if problem.truncated else [])]


def code_of(problem: Problem) -> ExitCode:
    """Return the exit code for a problem."""
    from headwater_client import errors  # noqa: PLC0415 - see above

    if problem.status == _NOT_FOUND:
        return ExitCode.NOT_FOUND
    if problem.status in _NOT_ALLOWED:
        return ExitCode.NOT_ALLOWED
    if isinstance(problem, (errors.TaskClosed, errors.TaskRemoved, errors.TaskPurged)):
        return ExitCode.GONE
    if isinstance(problem, (errors.DocumentInvalid, errors.UploadBroken, errors.DocumentTooLarge)):
        return ExitCode.REJECTED
    return ExitCode.FAILED


def unreachable(error: Unavailable) -> str:
    """Return the message for an unreachable or overloaded server."""
    import httpx  # noqa: PLC0415 - see above

    cause = error.__cause__
    if isinstance(cause, httpx.TransportError):
        url = cause.request.url
        why = re.sub(r"^\[Errno -?\d+\] ", "", str(cause)) or type(cause).__name__
        return f"{url.scheme}://{url.netloc.decode()} does not answer: {why}"
    return str(error)
