from datetime import timedelta

from builders import AT
from headwater.catalog import keys, sign_in_links
from headwater.catalog.keys import Scope
from headwater.catalog.sign_in_links import VALID_FOR


async def test_a_link_is_used_once(db):
    key, _ = await db.write(keys.add, name="anna", scopes=(Scope.READ,), at=AT)
    token = await db.write(sign_in_links.add, key, at=AT)
    assert await db.write(sign_in_links.use, token, at=AT) == key
    assert await db.write(sign_in_links.use, token, at=AT) is None


async def test_a_link_is_used_before_it_expires_and_forgotten_after(db):
    key, _ = await db.write(keys.add, name="anna", scopes=(Scope.READ,), at=AT)
    token = await db.write(sign_in_links.add, key, at=AT)
    assert await db.write(sign_in_links.use, token, at=AT + VALID_FOR) is None
    await db.write(sign_in_links.add, key, at=AT + VALID_FOR)
    assert await db.write(sign_in_links.use, token, at=AT) is None


async def test_a_link_ends_with_its_key(db):
    key, _ = await db.write(keys.add, name="anna", scopes=(Scope.READ,), at=AT)
    token = await db.write(sign_in_links.add, key, at=AT)
    await db.write(keys.revoke, key.fid, at=AT + timedelta(seconds=1))
    assert await db.write(sign_in_links.use, token, at=AT + timedelta(seconds=2)) is None
