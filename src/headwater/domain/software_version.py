"""The version of the installed Headwater."""

import functools
from importlib.metadata import version


@functools.cache
def software_version() -> str:
    """Return it; it is read once, since the metadata of a package takes milliseconds to parse."""
    return version("headwater")
