"""A migrated SQLite catalog, made once in a process: migrations take a second of processor."""

import functools
import tempfile
from pathlib import Path

from headwater.catalog.core import migrate


@functools.cache
def migrated_catalog() -> bytes:
    """Return the file of an empty catalog."""
    with tempfile.TemporaryDirectory(prefix="headwater-catalog-") as folder:
        file = Path(folder) / "catalog.sqlite"
        migrate.upgrade(f"sqlite:///{file}")
        return file.read_bytes()
