"""Which version of an External a run has."""

from dataclasses import replace

import pytest

from builders import AT, an_external
from headwater.catalog import externals, objects
from headwater.catalog.objects import EXTERNALS
from headwater.domain.errors import DocumentInvalid, NotFound, ParametersInvalid
from headwater.domain.parameter import Parameter, ParameterType
from headwater.domain.task import Origin, Publish
from headwater.lifecycle import crawlers as crawler_actions
from headwater.lifecycle import tasks as task_actions
from headwater.lifecycle.crawlers import CrawlerConfig
from headwater.lifecycle.ec.client import EcClient
from headwater.lifecycle.ec.dispatcher import Dispatcher

LANGUAGE = Parameter(name="language", type=ParameterType.STRING)
DEPTH = Parameter(name="depth", type=ParameterType.INTEGER, req=True)


async def _edit(world, fid, **fields):
    """Describe an External anew."""
    world.wait(seconds=1)

    def edit(tx, at):
        old = objects.get(tx, EXTERNALS, fid, lock=True)
        definition = replace(old.definition, **fields)
        return objects.save(tx, EXTERNALS, old, replace(old, definition=definition, **objects.edited(at, old.version)))

    return await world.db.write(edit, world.at)


async def _publish(world, fid, version):
    return await world.db.write(
        lambda tx: externals.publish(tx, objects.get(tx, EXTERNALS, fid, lock=True), version, at=AT)
    )


async def _create(world, crawler, version=None, **overrides):
    world.wait(seconds=1)
    return await world.db.write(
        task_actions.create,
        crawler.fid,
        overrides,
        vault=world.vault,
        origin=Origin.API,
        at=world.at,
        version=version,
    )


async def _retry(world, task, version=None, **overrides):
    return await world.db.write(
        task_actions.retry, task.crawler, task.fid, overrides, vault=world.vault, at=world.at, version=version
    )


async def test_a_task_begins_with_the_published_version_or_the_one_it_is_asked_for(world):
    crawler = await world.crawler()
    await _edit(world, crawler.external, analysis={"n": 2})
    newest = await world.task(crawler)
    await world.stop(newest)
    await _publish(world, crawler.external, 1)
    published = await world.task(crawler)
    await world.stop(published)
    tried = (await _create(world, crawler, version=2)).task
    assert [task.external_version for task in (newest, published, tried)] == [2, 1, 2]


async def test_parameters_are_checked_by_the_version_that_runs(world):
    crawler = await world.crawler(external=an_external(parameters=(LANGUAGE,)), params={"language": "de"})
    await _edit(world, crawler.external, parameters=(LANGUAGE, DEPTH))
    with pytest.raises(ParametersInvalid):
        await world.task(crawler)
    await _publish(world, crawler.external, 1)
    await world.stop(await world.task(crawler))
    with pytest.raises(ParametersInvalid):
        await _create(world, crawler, depth=3)
    tried = (await _create(world, crawler, version=2, depth=3)).task
    assert (tried.external_version, tried.params) == (2, {"language": "de", "depth": 3})


async def test_a_parameter_that_a_version_has_no_more_is_left_out_of_a_task_with_null(world):
    crawler = await world.crawler(external=an_external(parameters=(LANGUAGE,)), params={"language": "de"})
    await _edit(world, crawler.external, parameters=(DEPTH,))
    await _publish(world, crawler.external, 1)
    with pytest.raises(ParametersInvalid):
        await _create(world, crawler, version=2, depth=3)
    tried = (await _create(world, crawler, version=2, depth=3, language=None)).task
    assert tried.params == {"depth": 3}


async def test_a_version_that_does_not_exist_begins_nothing(world):
    crawler = await world.crawler()
    with pytest.raises(NotFound, match="no version 2"):
        await _create(world, crawler, version=2)
    task = await world.task(crawler)
    await world.stop(task)
    with pytest.raises(NotFound, match="no version 7"):
        await _retry(world, task, version=7)
    assert (await world.now(task)).attempt == 1


async def test_a_retry_has_the_version_that_a_new_task_would_have(world):
    crawler = await world.crawler()
    task = await world.task(crawler)
    await world.stop(task)
    await _edit(world, crawler.external, analysis={"n": 2})
    await _edit(world, crawler.external, analysis={"n": 3})
    ran = []
    for published, version in ((None, None), (2, None), (2, 1)):
        await _publish(world, crawler.external, published)
        ran.append((await _retry(world, task, version=version)).task.external_version)
        await world.stop(task)
    assert ran == [3, 2, 1]


async def test_uploads_are_checked_by_the_version_that_the_task_began_with(world):
    crawler = await world.crawler()
    await _edit(world, crawler.external, schema={"required": ["price"]})
    await _publish(world, crawler.external, 1)
    task = await world.task(crawler)
    await _publish(world, crawler.external, 2)
    assert (await world.upload(task, [{"id": "a"}])).count == 1
    await world.report(task, 200)
    with pytest.raises(DocumentInvalid):
        await world.upload(await world.task(crawler), [{"id": "b"}])


async def test_a_server_is_told_of_start_and_end_where_its_version_says(world, ecs):
    external = an_external(endpoint="http://old.test", headers={"X-Version": "1"})
    crawler = await world.crawler(external=external)
    await _edit(world, crawler.external, endpoint="http://new.test", headers={"X-Version": "2"})
    await _publish(world, crawler.external, 1)
    ec_client = EcClient(ecs.transport())
    dispatcher = Dispatcher(world.db, ec_client, vault=world.vault, public_url="https://be", clock=world.clock)

    async def turn():
        world.wait(seconds=1)
        await dispatcher.turn(at=world.at)
        await dispatcher.idle()

    for version in (None, 2):
        task = (await _create(world, crawler, version=version)).task
        await turn()
        # What is published meanwhile is nothing to it.
        await _publish(world, crawler.external, 2 if version is None else 1)
        await world.stop(task)
        await turn()
        await _publish(world, crawler.external, 1)
    await ec_client.close()
    assert [
        (request.method, request.url.host, request.url.query, request.headers["X-Version"]) for request in ecs.asked
    ] == [
        ("POST", "old.test", b"version=1", "1"),
        ("PATCH", "old.test", b"version=1", "1"),
        ("POST", "new.test", b"version=2", "2"),
        ("PATCH", "new.test", b"version=2", "2"),
    ]


async def test_whether_a_script_uploads_is_said_by_the_version_that_runs(world):
    crawler = await world.crawler()
    await _edit(world, crawler.external, endpoint="http://ec.test")
    await _publish(world, crawler.external, 1)
    script = await _create(world, crawler)
    assert (script.push, script.task.deadline is not None) == (True, True)
    # Its server came with a later version, and never heard of it.
    await _publish(world, crawler.external, None)
    await world.stop(script.task)
    served = await _create(world, crawler)
    assert (served.push, served.task.deadline) == (False, None)


def _a_setting(**params):
    return CrawlerConfig(params=params, timeout=60, publish=Publish.LIVE, schedule=None, meta={})


async def test_a_crawler_is_checked_by_the_version_in_use_or_the_one_it_is_asked_for(world):
    crawler = await world.crawler(external=an_external(parameters=(LANGUAGE,)), params={"language": "de"})
    await _edit(world, crawler.external, parameters=(LANGUAGE, DEPTH))
    await _publish(world, crawler.external, 1)

    async def change(version=None, **params):
        old = await world.db.read(objects.get, objects.CRAWLERS, crawler.fid)
        return await world.db.write(
            crawler_actions.change_crawler,
            old,
            _a_setting(**params),
            credential=crawler_actions.KEEP,
            vault=world.vault,
            at=world.at,
            version=version,
        )

    assert (await change(language="en")).params == {"language": "en"}
    with pytest.raises(ParametersInvalid):
        await change(depth=1)
    assert (await change(version=2, depth=1)).params == {"depth": 1}
