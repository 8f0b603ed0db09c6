"""Imports the libraries of a server without their optional parts, a fifth of the time that its start takes.

Command lines, tracebacks in color and compatibility with former versions, all of which the libraries do without if
they are not installed. Import this module first: what has been imported before stays.
"""

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module

#: Libraries, and the modules that they import if they are there.
_OPTIONAL = {
    "structlog": ("rich", "twisted", "twisted.python", "better_exceptions"),
    "httpx": ("httpx._main",),
}
#: Of pydantic, imported by FastAPI to refuse models of its version 1, of which there are none.
_FORMER = "pydantic.v1"


@contextmanager
def without(*modules: str) -> Generator[None]:
    """Have modules missing within the block, unless they are imported already."""
    missing = [name for name in modules if name not in sys.modules]
    sys.modules.update(dict.fromkeys(missing))  # pyright: ignore[reportCallIssue, reportArgumentType] - None: it is not there
    try:
        yield
    finally:
        for name in missing:
            if sys.modules.get(name) is None:
                sys.modules.pop(name, None)


def import_libraries() -> None:
    """Import the libraries without their optional parts."""
    # Arrow's Parquet writer allocates with mimalloc, whatever pool Python sets. It keeps what is freed for a while:
    # 30 uploads at once took 60 MB more. The library reads this when it is loaded.
    os.environ.setdefault("MIMALLOC_PURGE_DELAY", "0")
    for library, optional in _OPTIONAL.items():
        with without(*optional):
            import_module(library)


def import_server() -> None:
    """Import the server, and build its routes."""
    import_libraries()
    with without(_FORMER):
        import_module("headwater.server")
