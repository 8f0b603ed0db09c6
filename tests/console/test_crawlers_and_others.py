import json
import re

from headwater.catalog import scheduled_backups, scrub_progress
from headwater.catalog.scheduled_backups import MadeBackup

PARAMETERS = [
    {"name": "shop", "type": "list", "options": ["north", "south"], "req": True},
    {"name": "pages", "type": "integer", "min": 1, "max": 9},
    {"name": "token", "type": "password"},
    {"name": "kinds", "type": "multi_search", "options": ["fiction", "poetry"]},
    {"name": "deep", "type": "bool"},
]


async def test_an_empty_installation_makes_a_first_crawler_with_a_key_to_paste(browser, api, say):
    assert "Nothing has run yet" in say(await browser.open("/console/"))
    page = (await browser.send("/console/begin", status=200)).text
    secret = re.search(r"hw_[\w-]{40,}", page)[0]
    crawler = re.search(r"/actions/crawlers/([0-9a-f]{32})/task", page)[1]
    assert "headwater_client" in page
    assert "HeadwaterPipeline" in page
    key = {"Authorization": f"Bearer {secret}"}
    waiting = await browser.client.get(f"/console/first-run/{crawler}")
    assert "hx-redirect" not in waiting.headers
    task = (await api.post(f"/actions/crawlers/{crawler}/task", headers=key)).json()["payload"]["fid"]
    led = await browser.client.get(f"/console/first-run/{crawler}")
    assert led.headers["hx-redirect"] == f"/console/runs/{task}"
    await browser.send("/console/begin", status=200)  # again: another stream and crawler, of the same External
    made = (await api.get("/crawlers")).json()["payload"]
    assert len({each["stream"] for each in made}) == 2
    assert len({each["external"] for each in made}) == 1
    refused = await browser.send("/console/externals", status=409, name="First script")
    assert "the name 'First script' is that of External" in say(refused.text)


async def test_a_crawler_is_made_by_a_form_from_its_externals_parameters(browser, api, say):
    definition = {"docIdField": "id", "meta": {"name": "Shop"}, "parameters": PARAMETERS}
    external = (await api.post("/externals", json=definition)).json()["payload"]["fid"]
    place = f"/console/externals/{external}/crawler"
    form = await browser.open(place)
    for name in ("shop", "pages", "token", "kinds", "deep"):
        assert f'name="param.{name}"' in form
    typed = {"name": "North", "timeout": "60", "param.shop": "north", "param.token": "s3cret"}
    wrong = await browser.send(place, status=400, **typed | {"param.pages": "99", "timeout": "0"})
    said = say(wrong.text)
    assert "99 is more than 9" in said
    assert "from 1 to 2,678,400" in said
    assert "s3cret" not in wrong.text
    fields = {"param.pages": "3", "param.kinds": ["fiction", "poetry"], "param.deep": "true", "min_docs": "5"}
    made = await browser.send(place, **typed | fields)
    crawler = (await api.get(made.headers["location"].removeprefix("/console"))).json()["payload"]
    assert crawler["params"] == {
        "shop": "north",
        "pages": 3,
        "token": "********",
        "kinds": ["fiction", "poetry"],
        "deep": True,
    }
    assert (crawler["timeout"], crawler["gates"]["min_docs"], crawler["meta"]["name"]) == (60, 5, "North")
    edit = f"/console/crawlers/{crawler['fid']}/edit"
    assert "s3cret" not in await browser.open(edit)
    await browser.send(edit, **typed | {"param.token": "", "param.pages": "4"})
    stored = await browser.services.db.read(lambda tx: _params(tx, crawler["fid"]))
    assert browser.services.vault.unseal_passwords(stored)["token"] == "s3cret"
    assert stored["pages"] == 4


async def test_a_crawler_takes_snapshots_of_a_part(browser, api, a_shop, say):
    shop = await a_shop()
    edit = f"/console/crawlers/{shop.fid}/edit"
    typed = {"name": "Shop", "timeout": "60", "mode": "snapshot"}
    wrong = await browser.send(edit, status=400, **typed, scope="shop=north\nprice<<")
    assert "price<<" in say(wrong.text)
    await browser.send(edit, **typed, scope=" shop=north\r\n\r\nprice<9 ")
    crawler = (await api.get(f"/crawlers/{shop.fid}")).json()["payload"]
    assert (crawler["mode"], crawler["scope"]) == ("snapshot", ["shop=north", "price<9"])
    assert "shop=north\nprice&lt;9</textarea>" in await browser.open(edit)
    await browser.send(edit, **typed, scope="")
    assert (await api.get(f"/crawlers/{shop.fid}")).json()["payload"]["scope"] is None


def _params(tx, fid):
    from headwater.catalog import objects  # noqa: PLC0415
    from headwater.catalog.objects import CRAWLERS  # noqa: PLC0415

    return objects.get(tx, CRAWLERS, fid).params


async def test_a_schedule_is_told_in_words_with_its_next_runs_and_paused(browser, api, a_shop, say):
    shop = await a_shop(external={"docIdField": "id", "endpoint": "http://127.0.0.1:9"})
    edit = f"/console/crawlers/{shop.fid}/edit"
    typed = {"name": "Shop", "timeout": "60", "when": "cron", "cron": "30 2 * * *", "timezone": "Europe/Berlin"}
    checked = say((await browser.send(f"/console/crawlers/{shop.fid}/check-form", status=200, **typed)).text)
    assert "Everything fits" in checked
    # Those of the schedule's own zone, wherever somebody looks at them.
    assert re.search(r"Runs daily at 02:30 \(Europe/Berlin\); next (\w{3} \d\d \w{3} 02:30 ?, ?){4}", checked)
    wrong = await browser.send(f"/console/crawlers/{shop.fid}/check-form", status=200, **typed | {"cron": "x"})
    assert "five fields are expected" in say(wrong.text)
    await browser.send(edit, **typed)
    page = say(await browser.open(f"/console/crawlers/{shop.fid}"))
    assert "runs daily at 02:30 (Europe/Berlin)" in page
    await browser.send(f"/console/crawlers/{shop.fid}/pause")
    crawler = (await api.get(f"/crawlers/{shop.fid}")).json()["payload"]
    assert (crawler["schedule"]["paused"], crawler["next_run_at"]) == (True, None)
    await browser.send(f"/console/crawlers/{shop.fid}/pause")
    assert (await api.get(f"/crawlers/{shop.fid}")).json()["payload"]["next_run_at"] is not None


async def test_a_run_is_started_and_its_address_shown_once(browser, api, a_shop, say):
    shop = await a_shop()
    assert "A run of Northern shop begins now" in say(await browser.open(f"/console/crawlers/{shop.fid}/start"))
    started = await browser.send(f"/console/crawlers/{shop.fid}/start")
    page = await browser.open(started.headers["location"])
    endpoint = re.search(r"uploads to (\S+)/upload", say(page))[1]
    assert (await api.post(f"{endpoint}/upload", content=b'{"id": "a"}\n', headers={"Authorization": ""})).is_success
    assert "uploads to" not in say(await browser.open(started.headers["location"]))
    task = (await api.get(started.headers["location"].replace("/console/runs", "/tasks"))).json()["payload"]
    assert task["origin"] == "console"
    again = await browser.send(f"/console/crawlers/{shop.fid}/start")
    assert "under way already" in say(await browser.open(again.headers["location"]))


async def test_gates_tell_what_they_would_have_said(browser, a_shop, api, say):
    shop = await a_shop()
    for count in (10, 4):
        await shop.run(b"".join(json.dumps({"id": f"{n}"}).encode() + b"\n" for n in range(count)))
    await api.patch(f"/crawlers/{shop.fid}", json={"gates": {"max_shrink": 0.5}})
    page = say(await browser.open(f"/console/crawlers/{shop.fid}"))
    assert "60.0% fewer than the 10 of the last good run" in page
    assert "passes" in page


async def test_an_external_is_registered_checked_changed_and_published(browser, api, a_shop, say):
    made = await browser.send("/console/externals", name="Shop", doc_id_field="id", schema='{"type": "object"}')
    fid = made.headers["location"].rpartition("/")[2]
    assert (await api.get(f"/externals/{fid}")).json()["payload"]["docIdField"] == "id"
    wrong = await browser.send("/console/externals", status=400, name="Shop", schema="{")
    assert "the schema is not JSON" in say(wrong.text)
    shop = await a_shop()
    await shop.run(b'{"id": "a", "price": 1}\n{"id": "b", "price": 9}\n')
    place = f"/console/externals/{shop.external}"
    strict = '{"properties": {"price": {"maximum": 5}}}'
    said = say((await browser.send(f"{place}/check", status=200, schema=strict)).text)
    assert "1 of 2 documents would be refused" in said
    assert "9 is greater than the maximum of 5" in said
    await browser.send(f"{place}/schema", schema=strict, version="1")
    stale = await browser.send(f"{place}/schema", status=412, schema="{}", version="1")
    assert "is at version 2" in say(stale.text)
    assert "Let crawlers run with version 1" in say(await browser.open(f"{place}/publish?version=1"))
    await browser.send(f"{place}/publish", version="1")
    page = say(await browser.open(place))
    assert "crawlers run with 1" in page
    assert "schema" in page


async def test_a_webhook_is_made_tested_disabled_and_deleted(browser, say):
    made = await browser.send("/console/webhooks", status=200, url="https://hooks.example.org/a", name="Chat")
    assert "whsec_" in made.text
    place = re.search(r"/console/webhooks/[0-9a-f]{32}", made.text)[0]
    private = await browser.send("/console/webhooks", status=400, url="https://127.0.0.1/a")
    assert "is not called" in say(private.text)
    await browser.send(f"{place}/enabled", disable="1")
    assert "Disabled" in say(await browser.open(place))
    await browser.send(f"{place}/enabled", enable="1")
    await browser.send(f"{place}/delete", status=400, typed="no")
    await browser.send(f"{place}/delete", typed="delete")
    await browser.open(place, status=404)


async def test_a_key_is_shown_once_and_revoked_by_its_word(browser, api, say):
    made = await browser.send("/console/keys", status=200, name="nightly", scope="write")
    secret = re.search(r"hw_[\w-]{40,}", made.text)[0]
    key = {"Authorization": f"Bearer {secret}"}
    assert (await api.get("/streams", headers=key)).status_code == 200
    page = await browser.open("/console/keys")
    assert secret not in page
    revoke = re.search(r"nightly.*?(/console/keys/[0-9a-f]{32}/revoke)", page, re.DOTALL)[1]
    assert "Whatever uses 'nightly' is refused" in say(await browser.open(revoke))
    await browser.send(revoke, status=400, typed="x")
    await browser.send(revoke, typed="revoke")
    assert (await api.get("/streams", headers=key)).status_code == 401


async def test_the_system_hides_its_secrets(browser, say, url):
    from builders import SECRET  # noqa: PLC0415

    page = await browser.open("/console/system")
    catalog = "SQLite" if url.startswith("sqlite") else "PostgreSQL"
    assert f"Catalog {catalog} Lake a folder of the data directory" in say(page)
    assert SECRET not in page
    assert "secret_key ********** set" in say(page)


async def test_the_system_shows_the_last_backup_and_why_later_ones_failed(browser, say):
    assert "Last backup" not in await browser.open("/console/system")
    services = browser.services
    made = MadeBackup(name="20260301T120000Z-1a2b3c4d", files=1, new_files=1, bytes=1, new_bytes=1)
    await services.db.write(scheduled_backups.succeed, made, at=services.clock())
    assert "20260301T120000Z-1a2b3c4d" in say(await browser.open("/console/system"))
    for _ in range(2):
        await services.db.write(scheduled_backups.fail, "the <disk> is full", at=services.clock())
    assert "failed 2 times since: the <disk> is full" in say(await browser.open("/console/system"))


async def test_the_system_shows_when_all_files_were_verified(browser, say):
    services = browser.services
    await services.db.write(scrub_progress.begin, None, at=services.clock())
    assert "All files verified" not in await browser.open("/console/system")
    await services.db.write(scrub_progress.complete, findings=0, at=services.clock())
    assert "All files verified" in say(await browser.open("/console/system"))


async def test_things_are_found_by_a_part_of_their_name(browser, a_shop, say):
    shop = await a_shop()
    task = await shop.run(b'{"id": "a"}\n')
    assert "Northern shop crawlers" in say(await browser.open("/console/jump?q=NORTH"))
    assert f"run {task}" in say(await browser.open(f"/console/jump?q={task}"))
    assert "Nothing is called" in say(await browser.open("/console/jump?q=zebra"))
    # On the pages of a stream, also its documents by id.
    hits = await browser.open(f"/console/jump?q=a&stream={shop.stream}")
    assert f'href="/console/streams/{shop.stream}/document?id=a"' in hits
    assert f'name="stream" value="{shop.stream}"' in await browser.open(f"/console/streams/{shop.stream}/log")
    for stream in (shop.stream, "0" * 32, "nonsense", ""):
        assert "Nothing is called" in say(await browser.open(f"/console/jump?q=zebra&stream={stream}"))
