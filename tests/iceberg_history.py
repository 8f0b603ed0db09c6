"""Random histories of a stream, and what each version of it exports."""

import contextlib
import random
from collections.abc import Iterable

from builders import World
from headwater.domain.errors import HeadwaterError
from headwater.domain.task import Mode
from headwater.streams.views import View

Row = tuple[str, str, str]


async def play(world: World, *, seed: int, steps: int = 14) -> str:
    """Let things happen to a stream; return its fid.

    They are uploads, deletions, snapshots of all or a part, retries, deletes, restores, merges, folding and erasure.
    """
    dice = random.Random(seed)
    crawler = await world.crawler(publish=dice.choice(["live", "on_success"]))
    tasks = []
    for step in range(steps):
        docs = [{"id": f"ä{dice.randrange(40)}'\"", "step": step, "n": number} for number in range(dice.randrange(60))]
        match dice.choice(["run", "run", "run", "retry", "delete", "restore", "compact", "fold", "erase"]):
            case "run":
                if dice.random() < 0.3:
                    docs += [{"$delete": f"ä{dice.randrange(40)}'\""} for _ in range(5)]
                mode = Mode.SNAPSHOT if dice.random() < 0.2 else None
                scope = None if mode is None else dice.choice([None, [f"n<{dice.randrange(60)}"]])
                task = await world.task(crawler, mode=mode, scope=scope)
                tasks.append(task)
                for start in range(0, len(docs), 25):
                    await world.upload(task, docs[start : start + 25])
                await world.report(task, dice.choice([200, 200, 500]))
            case "compact":
                await world.compact()
            case "fold":
                await world.fold()
            case "erase":
                with contextlib.suppress(HeadwaterError):
                    await world.document_erasure.erase(crawler.stream, f"ä{dice.randrange(40)}'\"")
            case action if tasks:
                task = await world.now(dice.choice(tasks))
                with contextlib.suppress(HeadwaterError):  # not all of it is possible at any time
                    if action == "retry":
                        await world.retry(task)
                        await world.upload(task, docs)
                        await world.report(task, 200)
                    else:
                        await getattr(world, action)(task)
            case _:
                pass
    # What is still arriving, as a file and as rows of the catalog.
    task = await world.task(crawler)
    await world.upload(task, [{"id": "late", "n": 1}, {"id": "late", "n": 2}])
    await world.upload(task, [{"id": "later", "n": 1}])
    return crawler.stream


async def exported(world: World, stream: str, version: int | None = None, *, without: Iterable[str] = ()) -> list[Row]:
    """The rows of a stream's export: id, task and document, in the order of ids."""
    documents = await world.reader.documents(stream, View(as_of=version, without=frozenset(without)))
    return [
        (row["doc_id"], row["task"], row["doc"])
        async for batch in world.reader.batches(documents)
        for row in batch.to_pylist()
    ]
