"""Asking the person at the keyboard, where there is one."""

from __future__ import annotations

import sys

import typer

from headwater_client.cli.endings import Code, Refusal


def can_ask() -> bool:
    """Tell whether somebody can answer."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def agreed(question: str, *, yes: bool) -> None:
    """Go on if it is agreed to, by ``--yes`` or by an answer.

    Raises:
        Refusal: nobody can be asked, or the answer is no.
    """
    if yes:
        return
    if not can_ask():
        raise Refusal("nobody can be asked here, so say --yes", code=Code.USAGE)
    if not typer.confirm(question, err=True):
        raise Refusal("nothing was done")
