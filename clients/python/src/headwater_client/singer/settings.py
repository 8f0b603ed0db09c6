"""The settings that tap and target share: where the server is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headwater_client.headwater import Headwater

SERVER: dict[str, Any] = {
    "url": {"type": "string", "title": "URL", "description": "Address of the server, such as https://headwater.shop"},
    "api_key": {"type": "string", "title": "API key", "secret": True, "description": "An API key of the server"},
}


def settings(more: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON Schema of a program's settings, as singer-sdk has it."""
    return {"type": "object", "properties": {**SERVER, **more}, "required": ["url", "api_key"]}


def connected(config: Mapping[str, Any]) -> Headwater:
    """Return a client of the server that the settings name."""
    return Headwater(config["url"], config["api_key"])
