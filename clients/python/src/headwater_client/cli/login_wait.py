"""Waits until a person has logged in at an External's server."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import typer

from headwater_client.cli.errors import complain, harmless
from headwater_client.cli.prompts import can_ask

if TYPE_CHECKING:
    from headwater_client.headwater import Headwater
    from headwater_client.models.objects import Credential, External, Login

#: Seconds between polls for the token, if there is no terminal to press Enter on.
_PAUSE = 2.0


def finished(headwater: Headwater, external: External, login: Login, *, version: int | None, wait: float) -> Credential:
    """Return the credential of a login, once the person presses Enter, or by polling.

    Raises:
        HeadwaterError: without a terminal, nobody has logged in within ``wait`` seconds; or another error.
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


def describe(credential: Credential) -> str:
    """Return a credential as a line: who, and when it expires."""
    who = credential.reported_name or credential.user or credential.email_address or "somebody"
    who = harmless(who)
    if credential.expires_at is None:
        return f"{who}, does not expire"
    return f"{who}, {'expired' if credential.expired else 'expires'} at {credential.expires_at:%Y-%m-%d %H:%M} UTC"
