"""``headwater login`` and ``headwater logout``."""

import os
import sys
from typing import Annotated

import typer

from headwater_client.cli import access
from headwater_client.cli.access import Access
from headwater_client.cli.errors import CliError, ExitCode
from headwater_client.cli.logins import Logins
from headwater_client.cli.options import group
from headwater_client.cli.prompts import can_ask

app = group("Log in and out.")

At = Annotated[str | None, typer.Argument(metavar="URL", help="Where Headwater is.", show_default=False)]
KeyStdin = Annotated[bool, typer.Option("--key-stdin", help="Read the key from stdin.")]
#: A fid that does not exist; requests for it only test the key's scopes.
_NOTHING = "0" * 32


@app.command()
def login(url: At = None, *, key_stdin: KeyStdin = False) -> None:
    """Try a key, and keep it for the commands that follow.

    Asks for the URL and the key if they are not given. The key can come from HEADWATER_KEY or from stdin; there is no
    option for it, since others on the machine would see it.
    """
    given = url or os.environ.get(access.URL)
    if given is None:
        suggested = Logins.read().present or access.DEFAULT_URL
        given = typer.prompt("URL", default=suggested, err=True) if can_ask() and not key_stdin else suggested
    settled = Access(access.checked(given), _key(from_stdin=key_stdin))
    does = "read and write" if _may_write(settled) else "read"
    logins = Logins.read()
    logins.present = settled.url
    logins.keys[settled.url] = settled.key
    typer.echo(f"Logged in to {settled.url}; the key may {does}. It is kept in {logins.write()}.")


@app.command()
def logout(url: At = None) -> None:
    """Forget the key for a URL, or for the one of the latest login."""
    logins = Logins.read()
    at = access.checked(url) if url else logins.present
    if at is None or at not in logins.keys:
        raise CliError(f"there is no login for {at}" if at else "there is no login")
    del logins.keys[at]
    if logins.present == at:
        logins.present = next(reversed(list(logins.keys)), None)
    logins.write()
    more = f"; what follows talks to {logins.present}" if logins.present else ""
    typer.echo(f"The key for {at} is forgotten{more}.")


def _key(*, from_stdin: bool) -> str:
    if from_stdin:
        key = sys.stdin.readline()
    elif os.environ.get(access.KEY):
        key = os.environ[access.KEY]
    elif can_ask():
        key = typer.prompt("Key", hide_input=True, err=True)
    else:
        raise CliError(f"there is no key: give it by --key-stdin or {access.KEY}", code=ExitCode.USAGE)
    key = key.strip()
    if not key or not key.isascii() or not key.isprintable():
        raise CliError("this is no key: it is empty, or has characters that no key has", code=ExitCode.USAGE)
    return key


def _may_write(settled: Access) -> bool:
    """Return whether a key may write; raises if it may not even read."""
    from headwater_client.errors import NotAllowed, NotFound  # noqa: PLC0415 - help need not wait for it

    with access.opened(settled) as headwater:
        next(headwater.streams.list(name=_NOTHING), None)
        try:
            headwater.tasks.preview_delete(_NOTHING)
        except NotAllowed:
            return False
        except NotFound:
            pass
    return True
