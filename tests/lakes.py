"""The lake that tests use: a directory, or an object store where ``TEST_LAKE`` says so.

``TEST_LAKE=memory`` is an object store in the memory of the process; ``TEST_LAKE=seaweedfs`` is a real one. Both run
the tests of what reads and writes streams unchanged, except for those that look into the files of a directory.
"""

import asyncio
import os
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import obstore
import pytest
from obstore.store import MemoryStore

from headwater.catalog import intended_files
from headwater.catalog.core.database import Database
from headwater.lake.object_store import MARKER, ObjectStore, connected
from headwater.lake.scratch import scratch_folder
from headwater.lake.store import LocalStore, Store

#: Of the environment: where the lake of tests is; a directory unless set.
LAKE = "TEST_LAKE"
#: Set by the tests themselves: where SeaweedFS is.
URL = "TEST_LAKE_URL"


def lake_of_tests() -> str:
    """Return what the environment says."""
    return os.environ.get(LAKE, "")


def opened_lake(db: Database, folder: Path, stack: ExitStack, *, clock: Callable[[], datetime]) -> Store:
    """Return a new lake below a folder."""
    if not lake_of_tests():
        return LocalStore(folder / "lake")
    client = MemoryStore() if lake_of_tests() == "memory" else connected(f"{os.environ[URL]}/{uuid4().hex}")
    return object_lake(db, folder, stack, client, clock=clock)


def object_lake(
    db: Database, folder: Path, stack: ExitStack, client: object, *, clock: Callable[[], datetime]
) -> ObjectStore:
    """Return the lake in an object store, as a node with a folder of its own sees it."""

    def intends(path: str) -> None:
        asyncio.run(db.write(intended_files.add, path, at=clock()))

    cache = folder / "cache"
    held = stack.enter_context(scratch_folder(cache / "held"))
    store = ObjectStore(client, cache, held, most_cached=1 << 30, intends=intends)
    stack.callback(store.close)
    store.prepare()
    return store


def paths_in(store: Store) -> list[str]:
    """Return the paths of all files of a lake, staged ones too."""
    if not isinstance(store, ObjectStore):
        return sorted(file.relative_to(store.root).as_posix() for file in store.root.rglob("*") if file.is_file())
    staged = [f"staging/{file.name}" for file in store.staging.iterdir()]
    return sorted([*staged, *objects_in(store._client)])  # noqa: SLF001 - a test looks past the store


def content_of(store: Store, path: str) -> bytes:
    """Return the bytes of a file, past all caches."""
    if isinstance(store, ObjectStore):
        return obstore.get(store._client, path).bytes().to_bytes()  # noqa: SLF001 - likewise
    return (store.root / path).read_bytes()


def objects_in(client: Any) -> list[str]:
    """Return the paths of all objects: tests may list."""
    return sorted(found["path"] for page in obstore.list(client) for found in page if found["path"] != MARKER)


needs_directory = pytest.mark.skipif(bool(lake_of_tests()), reason="it looks into the files of a directory")
