"""Prompts, if there is a terminal."""

from __future__ import annotations

import sys

import typer

from headwater_client.cli.errors import CliError, ExitCode


def can_ask() -> bool:
    """Return whether there is a terminal for prompts."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def agreed(question: str, *, yes: bool) -> None:
    """Ask for confirmation, unless ``--yes`` is set.

    Raises:
        CliError: there is no terminal for a prompt, or the answer is no.
    """
    if yes:
        return
    if not can_ask():
        raise CliError("nobody can be asked here, so say --yes", code=ExitCode.USAGE)
    if not typer.confirm(question, err=True):
        raise CliError("nothing was done")
