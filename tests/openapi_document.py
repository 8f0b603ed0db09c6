"""The OpenAPI document, made once in a process: that takes seconds of processor."""

import functools
from typing import Any

from headwater.app import create_app
from headwater.settings import Settings


@functools.cache
def openapi() -> dict[str, Any]:
    """Return the OpenAPI document of Headwater; it is shared, and to be read only."""
    return create_app(Settings()).openapi()
