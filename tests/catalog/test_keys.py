import pytest
from sqlalchemy import select

from builders import AT
from headwater.catalog import keys, tables
from headwater.catalog.keys import Scope
from headwater.domain.errors import NotFound


async def test_a_key_is_found_by_its_secret_until_it_is_revoked(db):
    key, secret = await db.write(keys.add, name="ci", scopes=(Scope.READ, Scope.WRITE), at=AT)
    assert await db.read(keys.find, secret) == key
    assert await db.read(keys.find, secret + "x") is None
    assert await db.read(keys.is_valid, key.fid)
    await db.write(keys.revoke, key.fid, at=AT)
    assert await db.read(keys.find, secret) is None
    assert not await db.read(keys.is_valid, key.fid)
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
