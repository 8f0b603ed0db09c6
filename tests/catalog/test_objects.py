from dataclasses import replace
from datetime import timedelta

import pytest

from builders import AT, a_crawler, a_stream, an_external
from headwater.catalog import crawlers, externals, objects
from headwater.catalog.objects import CRAWLERS, EXTERNALS, STREAMS
from headwater.domain.errors import InUse, MovedMeanwhile, NotFound, StreamTaken, VersionMismatch
from headwater.domain.parameter import Option, Parameter, ParameterType, Restriction, Rule


async def test_what_is_not_there_is_not_found(db):
    with pytest.raises(NotFound, match="there is no stream 'x'"):
        await db.read(objects.get, STREAMS, "x")


async def test_lists_go_newest_first_page_by_page(db):
    made = [await db.write(objects.add, STREAMS, a_stream(AT + timedelta(seconds=n))) for n in range(5)]
    first = await db.read(objects.page, STREAMS, where={}, after=None, limit=3)
    second = await db.read(objects.page, STREAMS, where={}, after=first[-1].fid, limit=3)
    assert [stream.fid for stream in first + second] == [stream.fid for stream in reversed(made)]


async def test_a_list_can_be_filtered_by_the_name_in_meta(db):
    await db.write(objects.add, STREAMS, a_stream(meta={"name": "it's 'a'"}))
    await db.write(objects.add, STREAMS, a_stream(meta={"name": "b"}))
    await db.write(objects.add, STREAMS, a_stream(meta={}))
    found = await db.read(objects.page, STREAMS, where={"name": "it's 'a'"}, after=None, limit=9)
    assert [stream.meta["name"] for stream in found] == ["it's 'a'"]


async def test_an_external_comes_back_with_its_definition(db):
    external = an_external(
        endpoint="http://ec",
        schema={"type": "object", "properties": {"a": {"minimum": 10**30}}},
        doc_id_field="sku",
        headers={"X-Key": "k"},
        parameters=(
            Parameter(
                name="n",
                type=ParameterType.INTEGER,
                min=1,
                max=2.5,
                restrictions=(Restriction(rule=Rule.GT, target="m"),),
            ),
            Parameter(name="l", type=ParameterType.LIST, options=("a", Option(value="b", label="B")), default="a"),
        ),
        analysis={"kept": True},
    )
    await db.write(objects.add, EXTERNALS, external)
    assert await db.read(objects.get, EXTERNALS, external.fid) == external


async def test_each_edit_of_an_external_leaves_its_former_version_readable(db):
    first = await db.write(objects.add, EXTERNALS, an_external(doc_id_field="a"))
    second = replace(first, definition=replace(first.definition, doc_id_field="b"), version=2)
    await db.write(objects.save, EXTERNALS, first, second)
    assert (await db.read(objects.get, EXTERNALS, first.fid)).definition.doc_id_field == "b"
    assert (await db.read(externals.definition_at, first.fid, 1)).doc_id_field == "a"
    with pytest.raises(NotFound):
        await db.read(externals.definition_at, first.fid, 3)


async def test_an_edit_of_what_was_edited_meanwhile_is_refused(db):
    old = await db.write(objects.add, STREAMS, a_stream())
    await db.write(objects.save, STREAMS, old, replace(old, meta={"name": "mine"}, version=2))
    with pytest.raises(MovedMeanwhile):
        await db.write(objects.save, STREAMS, old, replace(old, meta={"name": "yours"}, version=2))
    assert (await db.read(objects.get, STREAMS, old.fid)).meta == {"name": "mine"}


def test_a_version_that_is_not_expected_is_refused():
    objects.require_version(a_stream(), None)
    objects.require_version(a_stream(), frozenset({1, 7}))
    with pytest.raises(VersionMismatch, match="is at version 1"):
        objects.require_version(a_stream(), frozenset({7}))


async def test_a_stream_has_one_crawler_at_most(world):
    crawler = await world.crawler()
    stream = await world.stream(crawler.stream)
    with pytest.raises(StreamTaken, match=crawler.fid):
        await world.crawler(stream=stream)


async def test_a_crawler_of_a_stream_that_is_gone_is_refused(world):
    external = await world.db.write(objects.add, EXTERNALS, an_external())
    with pytest.raises(NotFound):
        await world.db.write(crawlers.add, a_crawler(a_stream(), external))


async def test_what_others_are_built_on_cannot_be_removed_under_them(world):
    crawler = await world.crawler()
    stream = await world.stream(crawler.stream)
    with pytest.raises(InUse):
        await world.db.write(objects.remove, STREAMS, stream, at=AT)
    await world.db.write(objects.remove, CRAWLERS, crawler, at=AT)
    await world.db.write(objects.remove, STREAMS, stream, at=AT)
    assert await world.db.read(objects.find, STREAMS, crawler.stream) is None
