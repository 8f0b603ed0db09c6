"""``headwater --version``: the versions of the client, and of the server that commands would use."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import httpx
import typer

from headwater_client.cli.access import selected_url
from headwater_client.cli.errors import CliError, harmless

#: Seconds that the server has to answer.
TIMEOUT = 2.0


def answer() -> None:
    """Print both versions; a server that does not answer is no error."""
    typer.echo(f"headwater-client {version('headwater-client')}")
    typer.echo(harmless(_server()))


def _server() -> str:
    try:
        url = selected_url(None)
    except CliError as error:
        return f"no server: {error}"
    try:
        answered: Any = httpx.get(f"{url}/healthz", timeout=TIMEOUT).raise_for_status().json()
        return f"headwater {answered['payload'].get('version', 'of a former version')} at {url}"
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, TypeError, KeyError, AttributeError):
        return f"no Headwater answers at {url}"
