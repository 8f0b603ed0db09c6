"""Lines that delete a document: versions without a text, undone with their run."""

import json
from functools import partial

import pytest

from builders import an_external
from headwater.domain.deletion import DeleteMarker
from headwater.domain.errors import DocumentInvalid
from headwater.domain.stream import Counts
from headwater.domain.task import Mode
from headwater.lake.diff import Moves
from headwater.streams import diffs
from headwater.streams.counters import DocumentCounter
from headwater.streams.history import Standing
from headwater.streams.views import NOW


def docs(ids: str, v: int = 1) -> list[dict]:
    return [{"id": doc_id, "v": v} for doc_id in ids]


def gone(ids: str) -> list[dict]:
    return [{"$delete": doc_id} for doc_id in ids]


def shows(ids: str, v: int = 1) -> dict[str, dict]:
    return {doc["id"]: doc for doc in docs(ids, v)}


@pytest.fixture
async def crawler(world):
    return await world.crawler()


async def test_a_line_deletes_a_document_until_its_run_is_undone(world, crawler):
    await world.done(crawler, docs("abc"))
    task = await world.task(crawler)
    receipt = await world.upload(task, [*gone("a"), *docs("d"), *gone("c")])
    await world.report(task, 200)
    assert (receipt.count, receipt.deleted, receipt.total) == (1, 2, 1)
    now = await world.now(task)
    assert (now.docs, now.deleted) == (1, 2)
    assert await world.shown(crawler.stream) == shows("bd")
    await world.delete(task)
    assert await world.shown(crawler.stream) == shows("abc")
    await world.restore(task)
    assert await world.shown(crawler.stream) == shows("bd")


async def test_what_came_later_shows_whatever_was_deleted_before(world, crawler):
    await world.done(crawler, [*docs("a"), *gone("a"), *docs("a", 2), *docs("b"), *gone("b")])
    assert await world.shown(crawler.stream) == shows("a", 2)
    await world.done(crawler, docs("b", 3))
    assert await world.shown(crawler.stream) == shows("a", 2) | shows("b", 3)


@pytest.mark.parametrize("folds", [False, True])
async def test_every_reader_leaves_it_out(world, crawler, folds):
    await world.done(crawler, docs("abcdef"))
    since = (await world.stream(crawler.stream)).stream_version
    task = await world.done(crawler, [*gone("bdx"), *docs("e")])
    if folds:
        await world.fold()
    page = await world.reader.page(crawler.stream, NOW, after=None, limit=3)
    assert [found.id for found in page.docs] == ["a", "c", "e"]
    assert [found.id for found in (await world.reader.page(crawler.stream, NOW, after="c", limit=9)).docs] == ["e", "f"]
    with pytest.raises(Exception, match="shows no document 'b'"):
        await world.reader.one(crawler.stream, NOW, "b")
    _, changes = await world.changes(crawler.stream, since)
    assert [(change["id"], change["op"]) for change in changes] == [("b", "delete"), ("d", "delete")]
    counts = Counts(added=0, changed=0, unchanged=1, removed=2)
    assert await world.task_diffs.counts(partial(diffs.of_task, fid=task.fid)) == counts
    undone = await world.task_diffs.counts_of_moves(partial(diffs.of_delete, fid=task.fid))
    assert undone == Moves(added=2, replaced=1)
    while await DocumentCounter(world.db, world.engine).turn():
        pass
    assert (await world.now(task)).summary == counts
    assert (await world.stream(crawler.stream)).docs == 4
    arrived = await world.reader.arrivals(task.fid, after=None, limit=9)
    assert [found.id for found in arrived.docs] == ["e"]


async def test_its_history_tells_it(world, crawler):
    await world.done(crawler, docs("a"))
    await world.done(crawler, gone("a"))
    versions = await world.history(crawler.stream, "a")
    assert [(one.is_deletion, one.standing) for one in versions] == [
        (True, Standing.DELETED),
        (False, Standing.COVERED),
    ]
    await world.done(crawler, docs("a", 2))
    versions = await world.history(crawler.stream, "a")
    assert [one.standing for one in versions] == [Standing.SHOWN, Standing.COVERED, Standing.COVERED]


async def test_deletions_are_not_checked_against_the_schema_and_need_an_id(world):
    crawler = await world.crawler(external=an_external(schema={"type": "object", "required": ["id", "v"]}))
    task = await world.task(crawler)
    await world.upload(task, [*docs("ab"), *gone("a"), {"$delete": 7}])
    for wrong in ({"$delete": None}, {"$delete": ["a"]}, {"$delete": True}):
        with pytest.raises(DocumentInvalid, match="1 of 1 documents"):
            await world.upload(task, [wrong])
    assert await world.shown(crawler.stream) == shows("b")
    # With other members it is a document, as it was before lines could delete.
    with pytest.raises(DocumentInvalid):
        await world.upload(task, [{"$delete": "b", "v": 1}])


@pytest.mark.parametrize(
    ("marker", "line"),
    [
        (DeleteMarker(field="_deleted", value=True), '{"id": "a", "_deleted": true, "v": "wrong"}'),
        (DeleteMarker(field="_deleted", value=True), '{"id": "a", "\\u005fdel\\u0065ted" : true}'),
        (DeleteMarker(field="op", value="d"), '{"op": "\\u0064", "id": "a"}'),
        (DeleteMarker(field="gone", value=1), '{"id": "a", "gone": 1}'),
        (DeleteMarker(field="größe/x", value="weg 😀"), '{"id": "a", "gr\\u00F6ße\\/x": "weg \\ud83d\\uDE00"}'),
    ],
)
async def test_an_external_may_name_what_marks_a_deletion(world, marker, line):
    schema = {"properties": {"v": {"type": "integer"}}}
    crawler = await world.crawler(external=an_external(schema=schema, delete_marker=marker))
    await world.done(crawler, docs("abc"))
    task = await world.task(crawler)
    others = [{"id": "b", marker.field: False}, {"id": "c", "x": {marker.field: marker.value}}]
    receipt = await world.upload(
        task, f"{line}\n".encode() + b"".join(json.dumps(doc).encode() + b"\n" for doc in others)
    )
    assert (receipt.count, receipt.deleted) == (2, 1)
    assert (await world.shown(crawler.stream)).keys() == set("bc")


@pytest.mark.parametrize("line", ['{"\\u0024delete": "a"}', '{ "$\\u0064el\\u0065te" : "a" }', '{"$delete":"\\u0061"}'])
async def test_a_line_deletes_however_it_is_escaped(world, crawler, line):
    await world.done(crawler, docs("ab"))
    receipt = await world.upload(await world.task(crawler), f"{line}\n".encode())
    assert (receipt.count, receipt.deleted) == (0, 1)
    assert await world.shown(crawler.stream) == shows("b")


async def test_a_marked_document_without_an_id_is_refused(world):
    crawler = await world.crawler(external=an_external(delete_marker=DeleteMarker(field="_deleted", value=True)))
    with pytest.raises(DocumentInvalid):
        await world.upload(await world.task(crawler), [{"_deleted": True, "v": 1}])


async def test_a_deletion_that_a_schema_of_unbounded_cost_would_check_is_still_one(world):
    tree = {"$defs": {"t": {"anyOf": [{"$ref": "#/$defs/t"}, {"type": "array", "items": {"$ref": "#/$defs/t"}}]}}}
    schema = {**tree, "type": "object", "properties": {"v": {"pattern": "^(a+)+(?=b)$"}}}
    crawler = await world.crawler(external=an_external(schema=schema))
    await world.done(crawler, docs("ab"))
    await world.done(crawler, gone("a"))
    assert await world.shown(crawler.stream) == shows("b")


async def test_a_rejected_line_becomes_a_deletion_by_a_replay(world):
    crawler = await world.crawler(external=an_external(schema={"required": ["v"]}))
    await world.done(crawler, docs("ab"))
    task = await world.task(crawler)
    await world.upload(task, [{"id": "a", "_deleted": True}, *docs("c")], lenient=True)
    await world.report(task, 200)
    await world.loosen(crawler, delete_marker=DeleteMarker(field="_deleted", value=True))
    assert (await world.replay(task)).replayed == 1
    assert await world.shown(crawler.stream) == shows("bc")
    now = await world.now(task)
    assert (now.docs, now.deleted, now.rejected) == (1, 1, 0)


async def test_an_erased_document_takes_its_deletions_along(world, crawler):
    await world.done(crawler, docs("ab"))
    held = (await world.stream(crawler.stream)).stream_version
    await world.done(crawler, gone("a"))
    gone_since = (await world.stream(crawler.stream)).stream_version
    assert (await world.document_erasure.erase(crawler.stream, "a")).docs == 2
    assert [change["id"] for change in (await world.changes(crawler.stream, held))[1]] == ["a"]
    assert (await world.changes(crawler.stream, gone_since))[1] == []


async def test_settled_deletions_fold_with_what_they_delete(world, crawler):
    for day in range(4):
        await world.done(crawler, docs("abc", day) if day % 2 == 0 else gone("ab"))
        world.wait(days=1)
    await world.done(crawler, docs("z"))
    await world.set_undo_days(crawler.stream, 2)
    await world.retention.settle(at=world.at, leave=world.retention._keep)  # noqa: SLF001 - any
    while await world.fold():
        pass
    assert await world.shown(crawler.stream) == shows("c", 2) | shows("z")


async def test_a_snapshot_of_a_part_leaves_the_rest_alone(world, crawler):
    def shop(ids: str, name: str, v: int = 1) -> list[dict]:
        return [{"id": doc_id, "shop": name, "v": v} for doc_id in ids]

    await world.done(crawler, [*shop("abc", "north"), *shop("xyz", "south")])
    task = await world.done(crawler, shop("b", "north", 2), mode=Mode.SNAPSHOT, scope=["shop=north"])
    assert (await world.shown(crawler.stream)).keys() == set("bxyz")
    await world.fold()
    assert (await world.shown(crawler.stream)).keys() == set("bxyz")
    page = await world.reader.page(crawler.stream, NOW, after=None, limit=2)
    assert [found.id for found in page.docs] == ["b", "x"]
    versions = await world.history(crawler.stream, "a")
    assert [one.standing for one in versions] == [Standing.DROPPED]
    counts = await world.task_diffs.counts(partial(diffs.of_task, fid=task.fid))
    assert counts == Counts(changed=1, removed=2)
    # One that moved to the other shop since is not hidden by its former version.
    await world.done(crawler, shop("c", "south", 3))
    assert (await world.shown(crawler.stream)).keys() == set("bcxyz")
    await world.delete(task)
    assert (await world.shown(crawler.stream)).keys() == set("abcxyz")
    while await DocumentCounter(world.db, world.engine).turn():
        pass
    assert (await world.stream(crawler.stream)).docs == 6
