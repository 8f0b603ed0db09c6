from datetime import UTC, datetime, timedelta

import pytest

from api.listening import Listening
from headwater.api import sse
from headwater.catalog import keys
from headwater.catalog.keys import Scope


@pytest.mark.parametrize(
    ("address", "before", "after"),
    [
        ("/events?last_event_id=0", "task.created", "task.done"),
        ("/streams/{fid}/changes?feed=eventsource", "the first", "the second"),
    ],
)
async def test_who_listens_with_a_key_that_is_revoked_is_told_nothing_more(
    api, made, monkeypatch, assert_problem, address, before, after
):
    monkeypatch.setattr(sse, "LOOK_AGAIN", timedelta(0))
    db = api.app.state.services.db
    key, secret = await db.write(keys.add, name="anna", scopes=(Scope.READ,), at=datetime.now(UTC))
    crawler = await made.crawler()
    task = await made.task(crawler)
    await made.upload(task, b'{"id": "the first"}\n')
    asking = {"url": address.format(fid=crawler["stream"]), "headers": {"Authorization": f"Bearer {secret}"}}
    listening = Listening(api, asking["url"], headers=asking["headers"])
    await listening.hears(before)
    await db.write(keys.revoke, key.fid, at=datetime.now(UTC))
    await made.upload(task, b'{"id": "the second"}\n')
    await api.post(f"/actions/tasks/{task['fid']}/status", json={"code": 200})
    assert after not in (await listening.end()).text
    assert_problem(await api.get(**asking), 401, "not-authenticated")
