"""What a type checker must see: ``pyright -p clients/python`` reads this file, nobody runs it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import assert_type

from headwater_client import AsyncHeadwater, AsyncTaskWriter, Headwater, TaskWriter
from headwater_client.models.objects import BegunTask, Stream, Task
from headwater_client.models.results import Change, Document, Removal


def blocking(headwater: Headwater) -> None:
    """Each call answers."""
    stream = headwater.streams.create("Books", meta={"image": "a.png"})
    assert_type(stream, Stream)
    assert_type(headwater.streams.docs(stream, where="price>=4"), Iterator[Document])
    assert_type(headwater.streams.changes(stream, since=3, follow=True), Iterator[Change])
    assert_type(headwater.streams.save(stream, "books.csv"), Path)
    task = headwater.tasks.create("0197", {"shop": "north"})
    assert_type(task, BegunTask)
    assert_type(headwater.tasks.delete(task), Task)
    assert_type(headwater.tasks.preview_delete(task.fid), Removal)
    assert_type(headwater.writer("0197"), TaskWriter)
    headwater.streams.create(nmae="Books")  # pyright: ignore[reportCallIssue] - a mistyped name is found
    headwater.tasks.retry("0197")  # pyright: ignore[reportArgumentType] - a retry needs to know the crawler


async def awaiting(headwater: AsyncHeadwater) -> None:
    """Each call is awaited, each list iterated by ``async for``."""
    stream = await headwater.streams.create("Books")
    assert_type(stream, Stream)
    assert_type(headwater.streams.docs(stream), AsyncIterator[Document])
    assert_type(await headwater.tasks.create("0197"), BegunTask)
    assert_type(await headwater.writer("0197"), AsyncTaskWriter)
