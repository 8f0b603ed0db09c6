"""The credential with which an External logs in somewhere."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from headwater_client.cli.asking import can_ask
from headwater_client.cli.endings import Code, Refusal, harmless
from headwater_client.cli.finishing import told

if TYPE_CHECKING:
    from headwater_client.headwater import Headwater
    from headwater_client.objects import External


def named(headwater: Headwater, external: External, fid: str | None) -> dict[str, str] | None:
    """Return the credential of a login that is named, asked for where it is not; None if the External wants none.

    Raises:
        Refusal: nobody can be asked, or there is none.
    """
    if fid is not None:
        return {"fid": fid}
    if external.credential != "oauth":
        return None
    login = f"'headwater externals login {external.fid}' makes one"
    if not can_ask():
        raise Refusal(f"this External wants a login's credential: --credential-fid FID; {login}", code=Code.USAGE)
    there = list(headwater.externals.credentials(external))
    if not there:
        raise Refusal(f"this External wants a login's credential, and has none; {login}")
    for number, each in enumerate(there, start=1):
        sys.stderr.write(harmless(f"{number}  {each.fid}  {told(each)}") + "\n")
    number = 0
    while not 1 <= number <= len(there):
        number = int(typer.prompt("Credential", type=int, default=1, err=True))
    return {"fid": there[number - 1].fid}


def asked(external: External, user: str | None, *, from_stdin: bool) -> dict[str, str] | None:
    """Return user and password, asked for where they are not given; None if the External wants none.

    Raises:
        Refusal: nobody can be asked.
    """
    if user is None and external.credential != "basic":
        return None
    if user is None:
        if not can_ask():
            raise Refusal("this External wants a credential: --credential USER --password-stdin", code=Code.USAGE)
        user = str(typer.prompt("User", err=True))
    if from_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    elif can_ask():
        password = str(typer.prompt("Password", hide_input=True, err=True))
    else:
        raise Refusal("nobody can be asked for the password here: --password-stdin reads it", code=Code.USAGE)
    return {"user": user, "password": password}
