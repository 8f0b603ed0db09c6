"""Logins at an External's server: waited for until the person has logged in."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import typer

from headwater_client.cli.asking import can_ask
from headwater_client.cli.endings import complain, harmless

if TYPE_CHECKING:
    from headwater_client.headwater import Headwater
    from headwater_client.objects import Credential, External, Login

#: Seconds between two looks whether somebody has logged in, where nobody can say so.
_PAUSE = 2.0


def finished(headwater: Headwater, external: External, login: Login, *, version: int | None, wait: float) -> Credential:
    """Return the credential that a login comes to: when the person says so, or is found to have logged in.

    Raises:
        HeadwaterError: nobody has logged in within ``wait`` seconds, where nobody can be asked; or it cannot be done.
    """
    from headwater_client.errors import LoginUnfinished, Unavailable  # noqa: PLC0415 - help need not wait for it

    until = time.monotonic() + wait
    sys.stderr.write(f"Log in at {harmless(login.url)}\n")
    while True:
        if can_ask():
            typer.prompt("Then press Enter", default="", show_default=False, prompt_suffix=": ", err=True)
        try:
            return headwater.externals.fetch_token(external, login, version=version)
        except (LoginUnfinished, Unavailable) as error:
            if can_ask():
                complain(str(error))
            elif time.monotonic() + _PAUSE > until:
                raise
            else:
                time.sleep(_PAUSE)


def told(credential: Credential) -> str:
    """Return what a credential is, for people."""
    who = credential.reported_name or credential.user or credential.email_address or "somebody"
    who = harmless(who)
    if credential.expires_at is None:
        return f"{who}, does not expire"
    return f"{who}, {'expired' if credential.expired else 'expires'} at {credential.expires_at:%Y-%m-%d %H:%M} UTC"
