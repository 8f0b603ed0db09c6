import pytest

from builders import a_stream, an_external
from headwater.catalog import objects
from headwater.catalog.objects import EXTERNALS, STREAMS
from headwater.catalog.vault import REDACTED
from headwater.domain.errors import NotFound, ParametersInvalid, RequestInvalid
from headwater.domain.external import CredentialType
from headwater.domain.parameter import Parameter, ParameterType
from headwater.domain.task import Publish
from headwater.lifecycle import crawlers as crawler_actions
from headwater.lifecycle.crawlers import CrawlerConfig

PIN = Parameter(name="pin", type=ParameterType.PASSWORD)
BASIC = {"user": "jo", "password": "hunter2"}


def a_setting(**fields):
    base = {"params": {}, "timeout": 60, "publish": Publish.LIVE, "schedule": None, "meta": {}}
    return CrawlerConfig(**(base | fields))


async def _create(world, external, *, credential=None, **fields):
    stream = await world.db.write(objects.add, STREAMS, a_stream())
    await world.db.write(objects.add, EXTERNALS, external)
    return await world.db.write(
        crawler_actions.create_crawler,
        external.fid,
        stream.fid,
        a_setting(**fields),
        credential=credential,
        vault=world.vault,
        at=world.at,
    )


async def _change(world, crawler, *, credential=crawler_actions.KEEP, **fields):
    return await world.db.write(
        crawler_actions.change_crawler,
        crawler,
        a_setting(**fields),
        credential=credential,
        vault=world.vault,
        at=world.at,
    )


async def test_a_crawler_is_checked_against_its_external(world):
    with pytest.raises(ParametersInvalid):
        await _create(world, an_external(parameters=(PIN,)), params={"other": 1})
    with pytest.raises(ParametersInvalid, match="needs one of type basic"):
        await _create(world, an_external(credential=CredentialType.BASIC))
    with pytest.raises(ParametersInvalid, match="takes none"):
        await _create(world, an_external(), credential=BASIC)
    with pytest.raises(ParametersInvalid, match="expected"):
        await _create(world, an_external(credential=CredentialType.BASIC), credential={"user": "jo"})


async def test_credential_and_passwords_are_stored_sealed(world):
    external = an_external(credential=CredentialType.BASIC, parameters=(PIN,))
    crawler = await _create(world, external, credential=BASIC, params={"pin": "4711"})
    assert "hunter2" not in str(crawler)
    assert "4711" not in str(crawler)
    assert world.vault.unseal(crawler.sealed_credential) == BASIC


async def test_a_crawler_needs_a_stream_and_an_external_that_exist(world):
    external = await world.db.write(objects.add, EXTERNALS, an_external())
    arguments = {"credential": None, "vault": world.vault, "at": world.at}
    with pytest.raises(RequestInvalid, match="there is no stream"):
        await world.db.write(crawler_actions.create_crawler, external.fid, "x", a_setting(), **arguments)
    with pytest.raises(NotFound):
        await world.db.write(crawler_actions.create_crawler, "x", "x", a_setting(), **arguments)


async def test_what_a_change_does_not_say_of_secrets_stays(world):
    external = an_external(credential=CredentialType.BASIC, parameters=(PIN,))
    crawler = await _create(world, external, credential=BASIC, params={"pin": "4711"})
    changed = await _change(world, crawler, params={"pin": REDACTED}, timeout=5)
    assert (changed.version, changed.timeout) == (2, 5)
    assert world.vault.unseal(changed.sealed_credential) == BASIC
    assert world.vault.unseal_passwords(changed.params) == {"pin": "4711"}


async def test_secrets_can_be_changed(world):
    external = an_external(credential=CredentialType.BASIC, parameters=(PIN,))
    crawler = await _create(world, external, credential=BASIC, params={"pin": "4711"})
    other = {"user": "al", "password": "other"}
    changed = await _change(world, crawler, params={"pin": "1"}, credential=other)
    assert world.vault.unseal(changed.sealed_credential) == other
    assert world.vault.unseal_passwords(changed.params) == {"pin": "1"}
