"""The credential with which an External logs in somewhere."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from headwater_client.cli.asking import can_ask
from headwater_client.cli.endings import Code, Refusal

if TYPE_CHECKING:
    from headwater_client.objects import External


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
