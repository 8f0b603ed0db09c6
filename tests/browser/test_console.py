"""The console in a real Chromium, against a served Headwater with a real crawler."""

import json
import re
import subprocess
import sys

import pytest
from playwright.sync_api import expect

from browser.path_proxy import PathProxy
from browser.story import Story, Teller
from end_to_end.conftest import made
from end_to_end.crawler_server import CrawlerServer, call


def _pages(story: Story) -> list[str]:
    run, stream = f"/console/runs/{story.bad}", f"/console/streams/{story.stream}"
    return [
        "/console/",
        "/console/runs",
        "/console/streams",
        "/console/crawlers",
        "/console/externals",
        "/console/webhooks",
        "/console/notifications",
        "/console/keys",
        "/console/audit",
        "/console/system",
        run,
        f"{run}/documents",
        f"{run}/details",
        f"/console/runs/{story.running}/log",
        f"{run}/undo",
        f"/console/runs/{story.lenient}/rejected",
        f"/console/runs/{story.running}",
        stream,
        f"{stream}?without={story.bad}",
        f"{stream}/bisect?where=price%3D0",
        f"{stream}/differences?without={story.bad}&show=older",
        f"{stream}/log",
        f"{stream}/settings",
        f"{stream}/document?id=9780140000000",
        f"/console/crawlers/{story.gated}",
        f"/console/crawlers/{story.crawler}/edit",
        f"/console/externals/{story.external}",
        f"/console/externals/{story.external}/crawler",
        f"/console/webhooks/{story.webhook}",
    ]


@pytest.mark.parametrize(("width", "scheme"), [(1400, "light"), (1400, "dark"), (390, "light"), (390, "dark")])
def test_nothing_on_any_page_keeps_anybody_out_or_is_wider_than_the_window(told, visit, width, scheme):
    served, story, _ = told
    visitor = visit(served, color_scheme=scheme)
    visitor.page.set_viewport_size({"width": width, "height": 844})
    visitor.page.goto("/console/sign-in")
    assert visitor.barriers() == []
    visitor.sign_in()
    found = {}
    for place in _pages(story):
        visitor.page.goto(place)
        barriers, overflow = visitor.barriers(), visitor.overflow()
        if barriers or overflow > 0:
            found[place] = (overflow, barriers)
    assert found == {}


def test_from_the_first_start_to_the_first_run(serve, visit):
    served = serve()
    command = [sys.executable, "-m", "headwater", "console", "--print", "--data", str(served.data)]
    command += ["--port", str(served.port)]
    link = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    visitor = visit(served)
    visitor.page.goto(link)
    expect(visitor.page.get_by_role("heading", name="Nothing has run yet")).to_be_visible()
    visitor.page.get_by_role("button", name="Make a first crawler").click()
    script = visitor.page.locator("pre", has_text="headwater.writer").text_content()
    subprocess.run([sys.executable, "-c", script], check=True)
    # The page has waited for it, and leads there by itself.
    expect(visitor.page.get_by_role("heading", name="Run of First crawler")).to_be_visible()
    expect(visitor.page.locator("#progress")).to_contain_text("2 documents")
    again = visit(served)
    again.page.goto(link)
    expect(again.page.get_by_role("alert")).to_contain_text("used before")


def test_a_bad_run_is_found_looked_past_undone_and_restored(told, visit):
    served, story, client = told
    visitor = visit(served)
    visitor.sign_in()
    page = visitor.page
    page.locator("nav").get_by_role("link", name="Runs").click()
    page.locator(f"td a[href='/console/runs/{story.bad}']").click()
    expect(page.get_by_role("row").filter(has_text="price").first).to_contain_text("→ 0")
    page.get_by_role("link", name="Stream", exact=True).click()
    page.locator(f".without[value='{story.bad}']").click()
    expect(page.locator(".undo-bar")).to_contain_text("Without 1 run")
    assert f"without={story.bad}" in page.url
    expect(page.locator("td.is-changed-cell").first).to_be_visible()
    assert client.get(f"/streams/{story.stream}/doc?id=9780140000000").json()["payload"]["doc"]["price"] == 0
    page.locator(".undo-bar").get_by_role("link", name="Undo this run…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("documents show an older version again")
    dialog.get_by_role("button", name="Undo this run").click()
    expect(page.get_by_role("status").first).to_contain_text("Undone 1 run")
    assert client.get(f"/streams/{story.stream}/doc?id=9780140000000").json()["payload"]["doc"]["price"] != 0
    page.get_by_role("button", name="Restore").click()
    expect(page.locator(".notice")).to_contain_text("1 run is back at its place")
    assert client.get(f"/streams/{story.stream}/doc?id=9780140000000").json()["payload"]["doc"]["price"] == 0


def test_runs_of_several_streams_are_chosen_by_keyboard_and_undone_together(told, visit):
    served, story, client = told
    visitor = visit(served)
    visitor.sign_in()
    page = visitor.page
    page.goto("/console/runs?state=done")
    button = page.get_by_role("button", name=re.compile("Undo the"))
    expect(button).to_be_disabled()
    boxes = page.locator("tbody input[name='run']:enabled")
    found = [box.get_attribute("value") for box in boxes.all()]
    # One of each crawler of this story, by going down from the first row.
    published = client.get("/tasks", params={"crawler": story.gated, "limit": 5}).json()["payload"]
    chosen = [next(task["fid"] for task in published if task["state"] == "done" and task["reason"] != "gate_failed")]
    chosen.append(story.lenient)
    for fid in found[: found.index(story.lenient) + 1]:
        page.keyboard.press("j")
        if fid in chosen:
            page.keyboard.press("x")
    expect(button).to_have_text("Undo the 2 chosen runs…")
    button.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Undo 2 runs of 2 streams?")
    page.get_by_role("button", name="Undo 2 runs").click()
    expect(page.get_by_role("status").first).to_contain_text("Undone 2 runs")
    assert all(client.get(f"/tasks/{fid}").json()["payload"]["removed_at"] for fid in chosen)
    page.get_by_role("button", name="Restore").click()
    expect(page.locator(".notice")).to_contain_text("2 runs are back")
    assert page.url.endswith("/console/runs?state=done")


def test_from_wrong_documents_to_the_run_that_broke_them_and_its_undo(told, visit):
    served, story, client = told
    visitor = visit(served)
    visitor.sign_in()
    page = visitor.page
    page.goto(f"/console/streams/{story.stream}?where=price%3D0")
    page.get_by_role("link", name="Which run broke this?").click()
    expect(page.get_by_role("status")).to_contain_text("+450 came to be like that.")
    box = page.locator(f"input[name='without'][value='{story.bad}']")
    expect(box).to_be_checked()
    page.get_by_role("button", name="Show the stream without the ticked runs").click()
    expect(page.locator(".undo-bar")).to_contain_text("Without 1 run")
    expect(page.locator("td.is-changed-cell").first).to_be_visible()
    page.get_by_role("link", name="Undo this run…").click()
    page.get_by_role("dialog").get_by_role("button", name="Undo this run").click()
    expect(page.get_by_role("status").first).to_contain_text("Undone 1 run")
    bisected = client.get(f"/streams/{story.stream}/bisect?where=price%3D0").json()["payload"]
    assert (bisected["docs"], bisected["runs"][-1]["change"]) == (0, "remove")


def test_a_live_run_is_watched(headwater, visit):
    served, ec = headwater, CrawlerServer()
    with served.client() as client:
        external = made(client, "/externals", {"docIdField": "id", "endpoint": ec.url, "meta": {"name": "Shop"}})
        stream = made(client, "/streams", {"meta": {"name": "Goods"}})
        meta = {"name": "Shop", "links": [{"from": {"type": "streams", "fid": stream["fid"]}}]}
        crawler = made(client, f"/actions/externals/{external['fid']}/crawler", {"meta": meta})
        visitor = visit(served)
        visitor.sign_in()
        page = visitor.page
        page.goto(f"/console/crawlers/{crawler['fid']}")
        page.get_by_role("link", name="Start a run…").first.click()
        page.get_by_role("dialog").get_by_role("button", name="Start a run").click()
        page.wait_for_url("**/console/runs/**")
        progress = page.locator("#progress")
        expect(progress).to_contain_text("running")
        endpoint = ec.starts[0]["endpoint"]
        assert call(f"{endpoint}/upload", b'{"id": "a"}\n{"id": "b"}\n') == 200
        expect(progress).to_contain_text("2 documents")
        assert call(f"{endpoint}/status", json.dumps({"code": 200, "message": "all of it"}).encode()) == 200
        expect(progress).to_contain_text("done")
        expect(progress).to_contain_text("all of it")
    ec.close()


def test_parameters_are_checked_as_one_types_and_passwords_never_shown(told, visit):
    served, story, client = told
    visitor = visit(served)
    visitor.sign_in()
    page = visitor.page
    page.goto(f"/console/crawlers/{story.crawler}/edit")
    assert "s3cret" not in page.content()
    page.get_by_label("pages").fill("900")
    expect(page.locator("#checked")).to_contain_text("900 is more than 500")
    page.get_by_label("pages").fill("90")
    expect(page.locator("#checked")).to_contain_text("Everything fits")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".notice")).to_contain_text("Saved")
    params = client.get(f"/crawlers/{story.crawler}").json()["payload"]["params"]
    assert params == {"shop": "north", "pages": 90, "token": "********"}


def test_a_schema_is_checked_against_what_is_stored(told, visit):
    served, story, _ = told
    visitor = visit(served)
    visitor.sign_in()
    page = visitor.page
    page.goto(f"/console/externals/{story.external}")
    page.get_by_label("Schema").fill('{"properties": {"price": {"minimum": 1}}}')
    page.get_by_role("button", name="Check against what is stored").click()
    expect(page.locator("#check")).to_contain_text("documents would be refused")
    expect(page.locator("#check")).to_contain_text("/price")


def test_a_key_that_is_revoked_is_out_and_one_that_may_read_changes_nothing(told, visit):
    served, story, _ = told
    admin, reader = visit(served), visit(served)
    admin.sign_in()
    admin.page.goto("/console/keys")
    admin.page.get_by_label("Name").fill("anna")
    admin.page.get_by_role("button", name="Create a key").click()
    secret = admin.page.locator(".notice code").text_content()
    reader.sign_in(secret)
    reader.page.goto(f"/console/runs/{story.bad}")
    undo = reader.page.get_by_role("button", name=re.compile("Undo"))
    expect(undo).to_be_disabled()
    assert undo.get_attribute("title") == "needs scope write"
    admin.page.goto("/console/keys")
    admin.page.get_by_role("row").filter(has_text="anna").get_by_role("link", name="Revoke…").click()
    dialog = admin.page.get_by_role("dialog")
    dialog.get_by_role("textbox").fill("revoke")
    dialog.get_by_role("button", name="Revoke it").click()
    expect(admin.page.locator(".notice")).to_contain_text("revoked")
    reader.page.reload()
    expect(reader.page.get_by_label("API key")).to_be_visible()


def test_a_withheld_run_is_published_from_home(told, visit):
    served, story, client = told
    assert client.post(f"/actions/tasks/{story.running}/status", json={"code": 200}).is_success
    visitor = visit(served)
    visitor.sign_in()
    page = visitor.page
    need = page.locator(".needs li").filter(has=page.locator(f"a[href='/console/runs/{story.running}']"))
    need.get_by_role("link", name="Publish…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("beside the 300 of the last good run")
    dialog.get_by_role("button", name="Publish").click()
    expect(page.locator(".notice")).to_contain_text("Published")


def test_the_keyboard_alone_is_enough(told, visit):
    served, story, _ = told
    visitor = visit(served)
    visitor.sign_in()
    page = visitor.page
    page.keyboard.press("/")
    page.keyboard.type(story.name)
    expect(page.locator("#hits a")).to_have_count(1)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/console/crawlers/{story.crawler}")
    page.keyboard.press("g")
    page.keyboard.press("s")
    page.wait_for_url("**/console/streams")
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()


def test_without_scripts_a_run_is_undone_all_the_same(told, visit):
    served, story, client = told
    visitor = visit(served, java_script_enabled=False)
    visitor.sign_in()
    page = visitor.page
    page.goto(f"/console/streams/{story.stream}")
    page.locator(f".without[value='{story.bad}']").check()
    page.get_by_role("button", name="Show the stream without those left out").click()
    page.get_by_role("link", name="Undo this run…").click()
    page.get_by_role("button", name="Undo this run").click()
    expect(page.get_by_role("status").first).to_contain_text("Undone 1 run")
    assert client.get(f"/tasks/{story.bad}").json()["payload"]["removed_at"] is not None


def test_below_the_path_of_a_proxy_everything_works(serve, visit):
    proxy = PathProxy("/headwater")
    served = serve(HEADWATER_PUBLIC_URL=proxy.url)
    proxy.server = served.port
    with served.client() as client:
        story = Teller(client).tell()
        # From here on, whatever is asked for beside the path fails the test.
        served.url = proxy.url
        visitor = visit(served)
        visitor.sign_in()
        page = visitor.page
        page.keyboard.press("g")
        page.keyboard.press("r")
        page.wait_for_url(f"{proxy.url}/console/runs")
        page.locator(f"td a[href='/headwater/console/runs/{story.bad}']").click()
        page.get_by_role("link", name="Undo…").first.click()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text("documents show an older version again")
        dialog.get_by_role("button", name="Undo this run").click()
        expect(page.locator(".notice")).to_contain_text("Undone")
        page.goto(f"{proxy.url}/console/runs/{story.running}")
        body = b'{"isbn": "live", "price": 1}\n'
        assert client.post(f"/actions/tasks/{story.running}/upload", content=body).is_success
        expect(page.locator("#progress")).to_contain_text("81 documents")
        page.goto(f"{proxy.url}/docs")
        operation = page.locator(".opblock-summary-path", has_text="crawlers").first
        expect(operation).to_be_visible(timeout=60_000)
        page.get_by_role("link", name="Headwater").click()
        page.wait_for_url(f"{proxy.url}/console/")
        page.get_by_role("button", name="Sign out").click()
        page.wait_for_url(f"{proxy.url}/console/sign-in")
    proxy.close()


def test_the_reference_of_the_api_loads_nothing_from_elsewhere(headwater, visit):
    visitor = visit(headwater)
    visitor.page.goto("/docs")
    operation = visitor.page.locator(".opblock-summary-path", has_text="crawlers").first
    expect(operation).to_be_visible(timeout=60_000)
