"""Closes the task of a failed push, or reports that it stays open."""

from __future__ import annotations

import traceback
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from headwater_client.cli.errors import CliError, ExitCode

if TYPE_CHECKING:
    from headwater_client.headwater import Headwater

_FAILED = 500
#: Maximum characters of a reported traceback (its end).
_TRACEBACK = 16_000
_LONGEST_MESSAGE = 1000


def unforeseen(error: BaseException) -> list[str]:
    """Return the message for an unexpected error."""
    text = "".join(traceback.format_exception_only(type(error), error)).strip()
    return [f"the push failed by an unexpected error: {text}"]


def closed_as_failed(
    headwater: Headwater,
    fid: str,
    lines: Sequence[str],
    code: ExitCode,
    *,
    holds: str = "",
    more: str = "",
    cause: BaseException | None = None,
) -> CliError:
    """Close a task as failed, and return the error to raise.

    Args:
        headwater: the client.
        fid: the task's fid.
        lines: the error messages.
        code: the exit code.
        holds: the task's content, if known.
        more: a hint about the closed task.
        cause: an unexpected error, whose traceback is included in the report.
    """
    detail: dict[str, object] = {"errors": list(lines)}
    if cause is not None:
        detail["traceback"] = "".join(traceback.format_exception(type(cause), cause, cause.__traceback__))[-_TRACEBACK:]
    holding = f"; it holds {holds}" if holds else ""
    try:
        headwater.tasks.status(fid, _FAILED, lines[0][:_LONGEST_MESSAGE], detail)
    except KeyboardInterrupt:
        return CliError(*lines, _left_open(fid, "interrupted", holding), code=ExitCode.INTERRUPTED)
    except Exception as error:  # noqa: BLE001 - reported together with the original error
        return CliError(*lines, _left_open(fid, str(error) or type(error).__name__, holding), code=code)
    return CliError(*lines, f"task {fid} is closed as failed{holding}{more}", code=code)


@contextmanager
def closed_on_failure(headwater: Headwater, fid: str) -> Generator[None, None, None]:
    """Close a task as failed if the block fails.

    Raises:
        CliError: the block failed; includes the state of the task.
    """
    try:
        yield
    except CliError as refusal:
        raise closed_as_failed(headwater, fid, refusal.lines, refusal.code) from refusal
    except KeyboardInterrupt as error:
        raise closed_as_failed(headwater, fid, ["interrupted"], ExitCode.INTERRUPTED) from error
    except BaseException as error:
        refusal = closed_as_failed(headwater, fid, [str(error) or type(error).__name__], ExitCode.FAILED)
        if not isinstance(error, Exception):
            raise
        raise refusal from error


def _left_open(fid: str, why: str, holding: str) -> str:
    return f"task {fid} could not be closed ({why}), and is open{holding}: 'headwater tasks stop {fid}' ends it"
