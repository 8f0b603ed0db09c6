from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select

from builders import AT
from headwater.catalog import keys, tables
from headwater.catalog.keys import Scope
from headwater.domain.errors import MovedMeanwhile, NotFound

HOUR = timedelta(hours=1)


async def test_a_key_is_found_by_its_secret_until_it_is_revoked(db):
    key, secret = await db.write(keys.add, name="ci", scopes=(Scope.READ, Scope.WRITE), at=AT)
    assert await db.read(keys.find, secret, AT) == key
    assert await db.read(keys.find, secret + "x", AT) is None
    assert await db.read(keys.is_valid, key.fid, AT)
    await db.write(keys.revoke, key.fid, at=AT)
    assert await db.read(keys.find, secret, AT) is None
    assert not await db.read(keys.is_valid, key.fid, AT)
    assert [(listed.fid, listed.revoked_at) for listed in await db.read(keys.listed)] == [(key.fid, AT)]


async def test_the_secret_of_a_key_is_stored_nowhere(db):
    _, secret = await db.write(keys.add, name="ci", scopes=(Scope.READ,), at=AT)
    rows = await db.read(lambda tx: str(tx.execute(select(tables.keys)).all()))
    assert secret not in rows
    assert secret.removeprefix(keys.PREFIX) not in rows


async def test_a_key_that_is_not_there_cannot_be_revoked(db):
    with pytest.raises(NotFound):
        await db.write(keys.revoke, "x", at=AT)


async def test_whether_any_key_was_ever_made_is_known(db):
    assert not await db.read(keys.are_there)
    await db.write(keys.add, name="ci", scopes=(Scope.READ,), at=AT)
    assert await db.read(keys.are_there)


async def test_a_first_key_is_made_where_none_was_ever_made(db):
    first = {"name": "admin", "scopes": (Scope.ADMIN,), "at": AT}
    key, _ = await db.write(keys.add_first, **first)
    await db.write(keys.revoke, key.fid, at=AT)
    assert await db.write(keys.add_first, **first) is None
    assert [listed.fid for listed in await db.read(keys.listed)] == [key.fid]


@pytest.mark.parametrize(
    ("held", "needed", "enough"),
    [
        (Scope.READ, Scope.READ, True),
        (Scope.READ, Scope.WRITE, False),
        (Scope.WRITE, Scope.READ, True),
        (Scope.WRITE, Scope.ADMIN, False),
        (Scope.ADMIN, Scope.WRITE, True),
    ],
)
def test_a_scope_holds_those_below_it(held, needed, enough):
    assert held.allows(needed) is enough


async def test_a_key_ends_when_it_expires(db):
    key, secret = await db.write(keys.add, name="ci", scopes=(Scope.READ,), at=AT, expires_at=AT + HOUR)
    assert await db.read(keys.find, secret, AT) == key
    assert await db.read(keys.find, secret, AT + HOUR) is None
    assert not await db.read(keys.is_valid, key.fid, AT + HOUR)


async def test_the_former_secret_of_a_rotated_key_works_for_a_while(db):
    key, first = await db.write(keys.add, name="ci", scopes=(Scope.READ,), at=AT)
    second = await db.write(keys.rotate, key, replace(key, version=2, former_until=AT + HOUR))
    for secret in (first, second):
        found = await db.read(keys.find, secret, AT)
        assert (found.fid, found.version) == (key.fid, 2)
    assert await db.read(keys.find, first, AT + HOUR) is None
    third = await db.write(keys.rotate, await db.read(keys.get, key.fid), replace(key, version=3, former_until=AT))
    assert [await db.read(keys.find, secret, AT) is None for secret in (first, second, third)] == [True, True, False]
    with pytest.raises(MovedMeanwhile):
        await db.write(keys.rotate, key, replace(key, version=2, former_until=AT))


async def test_a_revoked_key_can_neither_be_changed_nor_rotated(db):
    key, _ = await db.write(keys.add, name="ci", scopes=(Scope.READ,), at=AT)
    await db.write(keys.revoke, key.fid, at=AT)
    revoked = await db.read(keys.get, key.fid)
    with pytest.raises(NotFound, match="was revoked"):
        await db.write(keys.rotate, revoked, replace(revoked, version=2))
    with pytest.raises(NotFound, match="was revoked"):
        await db.write(keys.save, revoked, replace(revoked, name="other", version=2))
