from dataclasses import replace
from datetime import timedelta

import anyio
import pytest

from builders import AT, an_external
from headwater.catalog import externals, objects
from headwater.catalog.objects import EXTERNALS
from headwater.domain.errors import InUse, NotFound


def _edit(tx, fid, at, **fields):
    old = objects.get(tx, EXTERNALS, fid)
    definition = replace(old.definition, **fields)
    return objects.save(tx, EXTERNALS, old, replace(old, definition=definition, **objects.edited(at, old.version)))


@pytest.fixture
async def external(db):
    """An External of three versions, with the ids in ``a``, ``b`` and ``c``."""
    made = await db.write(objects.add, EXTERNALS, an_external(doc_id_field="a", meta={"name": "Books"}))
    for hours, field in enumerate("bc", start=1):
        made = await db.write(_edit, made.fid, AT + timedelta(hours=hours), doc_id_field=field)
    return made


def _publish(tx, fid, version):
    return externals.publish(tx, objects.get(tx, EXTERNALS, fid, lock=True), version, at=AT)


async def test_every_version_stays_readable_as_it_was_described(db, external):
    found = [await db.read(externals.at, external.fid, version) for version in (1, 2, 3)]
    assert [each.definition.doc_id_field for each in found] == ["a", "b", "c"]
    assert [each.updated_at for each in found] == [AT, AT + timedelta(hours=1), AT + timedelta(hours=2)]
    assert found[2] == external
    assert found[0] == replace(external, definition=found[0].definition, version=1, updated_at=AT)


async def test_a_version_that_does_not_exist_is_not_found(db, external):
    for question in (externals.at, externals.to_run):
        with pytest.raises(NotFound, match=r"there is no version 4 of external .*; the newest is 3"):
            await db.read(question, external.fid, 4)
    with pytest.raises(NotFound, match="no version 4"):
        await db.write(_publish, external.fid, 4)
    with pytest.raises(NotFound, match="there is no external 'x'"):
        await db.read(externals.at, "x", 1)


async def test_versions_are_listed_newest_first_page_by_page(db, external):
    first = await db.read(externals.versions, external.fid, before=None, limit=2)
    second = await db.read(externals.versions, external.fid, before=first[-1].version, limit=2)
    assert [each.version for each in first + second] == [3, 2, 1]
    assert [each.created_at for each in first + second] == [AT + timedelta(hours=hours) for hours in (2, 1, 0)]


async def test_a_run_begins_with_the_newest_until_one_is_published(db, external):
    assert (await db.read(externals.to_run, external.fid)).version == 3
    published = await db.write(_publish, external.fid, 2)
    assert (published.published, published.in_use) == (2, 2)
    assert (await db.read(externals.to_run, external.fid)).definition.doc_id_field == "b"
    assert (await db.read(externals.to_run, external.fid, 3)).definition.doc_id_field == "c"
    await db.write(_publish, external.fid, None)
    assert (await db.read(externals.to_run, external.fid)).version == 3


async def test_publishing_is_no_edit(db, external):
    published = await db.write(_publish, external.fid, 1)
    stored = await db.read(objects.get, EXTERNALS, external.fid)
    assert stored == published == replace(external, published=1)
    assert len(await db.read(externals.versions, external.fid, before=None, limit=9)) == 3


async def test_an_edit_leaves_what_is_published(db, external):
    await db.write(_publish, external.fid, 2)
    await db.write(_edit, external.fid, AT + timedelta(hours=3), doc_id_field="d")
    now = await db.read(objects.get, EXTERNALS, external.fid)
    assert (now.version, now.published, now.in_use) == (4, 2, 2)


async def test_who_edits_what_was_published_meanwhile_does_not_take_that_back(db, external):
    await db.write(_publish, external.fid, 2)
    # `external` was read before.
    await db.write(lambda tx: objects.save(tx, EXTERNALS, external, replace(external, meta={"name": "New"}, version=4)))
    now = await db.read(objects.get, EXTERNALS, external.fid)
    assert (now.version, now.published, now.name) == (4, 2, "New")


async def test_of_many_that_want_a_name_in_the_same_moment_one_gets_it(db):
    made = [an_external(meta={"name": "Books"}) for _ in range(5)]
    refused: list[str] = []

    async def add(external):
        try:
            await db.write(externals.add_named, external)
        except InUse as error:
            refused.append(str(error))

    async with anyio.create_task_group() as tasks:
        for each in made:
            tasks.start_soon(add, each)
    stored = await db.read(externals.named, "Books")
    assert stored in made
    assert len(refused) == 4
    assert {f"the name 'Books' is that of External {stored.fid} (push)" in text for text in refused} == {True}


async def test_externals_without_a_name_are_not_in_each_others_way(db):
    made = [
        await db.write(externals.add_named, an_external(meta=meta)) for meta in ({}, {}, {"name": ""}, {"name": ""})
    ]
    assert len({each.fid for each in made}) == 4
