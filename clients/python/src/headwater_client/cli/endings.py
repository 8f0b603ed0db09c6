"""How a command ends: what went wrong, one line each on stderr, and a code that scripts can use."""

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

#: What typer and click both call a wrong use of a command: the parent of this one.
_WrongUse: type[Exception] = typer.BadParameter.__mro__[1]
_NOT_FOUND = 404
_NOT_ALLOWED = frozenset({401, 403})


class Code(IntEnum):
    """What a command ends with."""

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
    #: Whoever reads our output has gone; what a program ends with that such a signal kills.
    UNREAD = 141


class Refusal(Exception):
    """A command cannot do what it was asked."""

    def __init__(self, *lines: str, code: Code = Code.FAILED) -> None:
        """Say why, a line for each thing that is wrong."""
        self.lines = lines
        self.code = code
        super().__init__("; ".join(lines))


def complain(*lines: str) -> None:
    """Say something on stderr."""
    for line in lines:
        sys.stderr.write(f"headwater: {harmless(line)}\n")
    sys.stderr.flush()


def harmless(text: str) -> str:
    """Return a text that stays on its line and cannot command a terminal."""
    return "".join(letter if letter.isprintable() else " " if letter.isspace() else "\ufffd" for letter in text)


@contextmanager
def told() -> Generator[None, None, None]:
    """Tell what goes wrong in the block, and end the program by its code.

    Raises:
        Exit: something went wrong.
    """
    try:
        yield
        sys.stdout.flush()
    except (typer.Exit, SystemExit):
        raise
    except Exception as error:
        raise typer.Exit(_told(error)) from error
    except KeyboardInterrupt as error:
        sys.stderr.write("\n")
        raise typer.Exit(Code.INTERRUPTED) from error


def _told(error: Exception) -> Code:
    """Tell an error, and return the code for it; one that nobody foresaw is raised again."""
    if isinstance(error, Refusal):
        complain(*error.lines)
        return error.code
    if isinstance(error, _WrongUse):
        return _told_wrong_use(error)
    if isinstance(error, BrokenPipeError):
        # What is still buffered cannot be written, and shall not be tried again at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Code.UNREAD
    if isinstance(error, typer.Abort):  # Ctrl-C or Ctrl-D at a question
        sys.stderr.write("\n")
        return Code.INTERRUPTED
    return _told_of_headwater(error)


def _told_wrong_use(error: Any) -> Code:
    message: str = error.format_message()
    if message.startswith("Usage:"):  # nothing was asked for, so this is the help
        sys.stderr.write(f"{message}\n")
    else:
        path = error.ctx.command_path if error.ctx is not None else "headwater"
        complain(f"{message[:1].lower()}{message[1:].rstrip('.')} ('{path} --help' says more)")
    return Code.USAGE


def _told_of_headwater(error: Exception) -> Code:
    from headwater_client import errors  # noqa: PLC0415 - what explains itself need not wait for it

    if isinstance(error, errors.Problem):
        complain(*lines_of(error))
        return code_of(error)
    if isinstance(error, errors.Unavailable):
        complain(unreachable(error))
        return Code.UNREACHABLE
    if isinstance(error, errors.TaskGone):
        complain(str(error))
        return Code.GONE
    if isinstance(error, OSError) and error.filename is not None:
        complain(f"{error.filename}: {error.strerror}")
        return Code.FAILED
    if isinstance(error, (errors.HeadwaterError, OSError)):
        complain(str(error))
        return Code.FAILED
    raise error


def lines_of(problem: Problem) -> list[str]:
    """Return what a problem says: one line, or one for each of several flaws behind it."""
    more = [message for message in problem.messages if message not in problem.detail]
    if len(more) == 1:
        return [f"{problem.detail}: {more[0]}"]
    return [problem.detail, *more, *(["… and more like these"] if problem.truncated else [])]


def code_of(problem: Problem) -> Code:
    """Return the code for a problem."""
    from headwater_client import errors  # noqa: PLC0415 - see above

    if problem.status == _NOT_FOUND:
        return Code.NOT_FOUND
    if problem.status in _NOT_ALLOWED:
        return Code.NOT_ALLOWED
    if isinstance(problem, (errors.TaskClosed, errors.TaskRemoved, errors.TaskPurged)):
        return Code.GONE
    if isinstance(problem, (errors.DocumentInvalid, errors.UploadBroken, errors.DocumentTooLarge)):
        return Code.REJECTED
    return Code.FAILED


def unreachable(error: Unavailable) -> str:
    """Return what to say of a server that does not answer, or has no time."""
    import httpx  # noqa: PLC0415 - see above

    cause = error.__cause__
    if isinstance(cause, httpx.TransportError):
        url = cause.request.url
        why = re.sub(r"^\[Errno -?\d+\] ", "", str(cause)) or type(cause).__name__
        return f"{url.scheme}://{url.netloc.decode()} does not answer: {why}"
    return str(error)
