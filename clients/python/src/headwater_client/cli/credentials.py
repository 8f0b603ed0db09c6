"""Credentials of crawlers: chosen from logins, or prompted for."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from headwater_client.cli.errors import CliError, ExitCode, harmless
from headwater_client.cli.login_wait import describe
from headwater_client.cli.prompts import can_ask

if TYPE_CHECKING:
    from headwater_client.headwater import Headwater
    from headwater_client.models.objects import External


def named(headwater: Headwater, external: External, fid: str | None) -> dict[str, str] | None:
    """Return the OAuth credential given by ``fid``, or chosen at a prompt; None if the External uses none.

    Raises:
        CliError: there is no terminal for a prompt, or no credential.
    """
    if fid is not None:
        return {"fid": fid}
    if external.credential != "oauth":
        return None
    login = f"'headwater externals login {external.fid}' makes one"
    if not can_ask():
        raise CliError(f"this External wants a login's credential: --credential-fid FID; {login}", code=ExitCode.USAGE)
    there = list(headwater.externals.credentials(external))
    if not there:
        raise CliError(f"this External wants a login's credential, and has none; {login}")
    for number, each in enumerate(there, start=1):
        sys.stderr.write(harmless(f"{number}  {each.fid}  {describe(each)}") + "\n")
    number = 0
    while not 1 <= number <= len(there):
        number = int(typer.prompt("Credential", type=int, default=1, err=True))
    return {"fid": there[number - 1].fid}


def asked(external: External, user: str | None, *, from_stdin: bool) -> dict[str, str] | None:
    """Return user and password, prompting for what is missing; None if the External uses none.

    Raises:
        CliError: there is no terminal for a prompt.
    """
    if user is None and external.credential != "basic":
        return None
    if user is None:
        if not can_ask():
            raise CliError("this External wants a credential: --credential USER --password-stdin", code=ExitCode.USAGE)
        user = str(typer.prompt("User", err=True))
    if from_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    elif can_ask():
        password = str(typer.prompt("Password", hide_input=True, err=True))
    else:
        raise CliError("nobody can be asked for the password here: --password-stdin reads it", code=ExitCode.USAGE)
    return {"user": user, "password": password}
