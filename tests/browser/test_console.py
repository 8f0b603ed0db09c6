"""The console in a real Chromium, against a served Headwater with a real crawler."""

import json
import re
import subprocess
import sys

import pytest
from playwright.sync_api import Route, expect

from browser.path_proxy import PathProxy
from browser.story import HostileTeller, Teller, books
from console_places import unseen
from end_to_end.conftest import made, wait_for
from end_to_end.crawler_server import CrawlerServer, call


@pytest.mark.parametrize("width", [1400, 390])
def test_nothing_on_any_page_keeps_anybody_out_or_is_wider_than_the_window(told, visit, width):
    served, story, _ = told
    assert unseen(story.by_name().values()) == set()
    visitor = visit(served, reduced_motion="reduce")
    visitor.page.set_viewport_size({"width": width, "height": 844})
    visitor.page.goto("/console/sign-in")
    assert visitor.barriers() == []
    visitor.sign_in()
    found = {}
    for name, place in story.by_name().items():
        visitor.go(place)
        barriers, overflow = [], visitor.overflow()
        # The reference of the API is a program of others.
        if name != "docs":
            barriers += visitor.barriers()
            visitor.page.emulate_media(color_scheme="dark")
            barriers += visitor.barriers("color-contrast")
            visitor.page.emulate_media(color_scheme="light")
        if barriers or overflow > 0:
            found[name] = (overflow, barriers)
    assert found == {}


def test_the_keyboard_reaches_all_of_every_page_and_shows_where_it_is(told, visit):
    served, story, _ = told
    visitor = visit(served)
    visitor.sign_in()
    found = {}
    # The reference of the API is a program of others.
    for name, place in story.by_name().items() - {("docs", "/docs")}:
        visitor.go(place)
        if missing := visitor.out_of_reach():
            found[name] = missing
    assert found == {}


@pytest.mark.parametrize("width", [1400, 390])
def test_no_text_of_a_crawler_runs_or_makes_a_page_wider_than_the_window(headwater, visit, width):
    with headwater.client() as client:
        story = HostileTeller(client, place=f"{width}").tell()
    visitor = visit(headwater)
    visitor.page.set_viewport_size({"width": width, "height": 844})
    visitor.sign_in()
    wide = {}
    for name, place in story.by_name().items():
        visitor.go(place)
        if (overflow := visitor.overflow()) > 0:
            wide[name] = overflow
    assert wide == {}


def test_home_shows_what_runs_while_it_runs_and_moves_nobody(serve, visit):
    served = serve()
    with served.client() as client:
        teller = Teller(client)
        story = teller.tell()
        evening = teller.crawler(story.external, "Evening shop", "Evening", params={"shop": "south"})
        visitor = visit(served)
        visitor.sign_in()
        page = visitor.page
        lane = page.get_by_role("group", name="Runs of Evening shop")
        expect(page.get_by_role("group", name=f"Runs of {story.name}")).to_be_visible()
        expect(lane).to_have_count(0)
        page.evaluate("window.isSame = true")
        page.locator(".needs a").first.focus()
        task = teller.run(evening["fid"], books(3, seed=1), code=None)
        expect(lane.locator(".run.is-running")).to_have_count(1)
        assert client.post(f"/actions/tasks/{task}/status", json={"code": 200}).is_success
        expect(lane.locator(".run.is-done")).to_have_count(1)
        expect(page.locator(".needs a").first).to_be_focused()
        assert page.evaluate("window.isSame && window.scrollY === 0")


def test_a_page_is_live_though_a_script_comes_late(told, visit):
    visitor = visit(told[0])
    visitor.sign_in()
    page = visitor.page
    late: list[Route] = []
    page.route("**/hx-sse.min.js", lambda route: late.append(route))  # noqa: PLW0108 - Playwright marks it
    page.goto("/console/runs", wait_until="commit")
    page.wait_for_timeout(500)
    with page.expect_request("**/console/happenings*"):
        late[0].continue_()


def test_a_list_is_sorted_by_the_heads_of_its_columns_with_the_keyboard(told, visit):
    visitor = visit(told[0])
    visitor.sign_in()
    page = visitor.page
    page.goto("/console/streams")
    head = page.get_by_role("columnheader", name="Documents", exact=True)
    assert head.get_attribute("aria-sort") is None
    head.get_by_role("link").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/console/streams?sort=most")
    expect(head).to_have_attribute("aria-sort", "descending")
    page.keyboard.press("g")
    page.keyboard.press("r")
    page.wait_for_url("**/console/runs")
    page.keyboard.press("g")
    page.keyboard.press("s")
    # What a list was sorted and filtered by last is remembered.
    page.wait_for_url("**/console/streams?sort=most")
    page.get_by_role("link", name="Clear").click()
    page.wait_for_url("**/console/streams")
    page.get_by_label("Sorted").select_option("by name, A to Z")
    page.wait_for_url("**/console/streams?*sort=name")
    expect(page.get_by_role("columnheader", name="Stream")).to_have_attribute("aria-sort", "ascending")


def test_rejected_lines_are_replayed_once_the_schema_takes_them(told, visit):
    served, story, client = told
    visitor = visit(served)
    visitor.sign_in()
    page = visitor.page
    page.goto(f"/console/externals/{story.external}")
    page.get_by_label("Schema").fill("{}")
    page.get_by_role("button", name="Store as version 2").click()
    expect(page.locator(".notice")).to_contain_text("Stored as version 2")
    page.goto(f"/console/runs/{story.lenient}/rejected")
    expect(page.locator("#tab")).to_contain_text('"free" is not of type "number"')
    page.get_by_role("link", name="Replay…").click()
    page.get_by_role("dialog").get_by_role("button", name="Replay").click()
    expect(page.locator(".notice")).to_contain_text("2 lines are documents now, 1 is still rejected")
    assert client.get(f"/streams/{story.stream}/doc?id=x").json()["payload"]["doc"]["price"] == "free"


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
        endpoint = wait_for(lambda: ec.starts)[0]["endpoint"]
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
    page.goto(f"/console/streams/{story.stream}")
    page.keyboard.press("Control+k")
    page.keyboard.type(story.document)
    expect(page.locator("#hits a")).to_have_count(1)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/console/streams/{story.stream}/document?id={story.document}")
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
        expect(operation).to_be_visible()
        page.get_by_role("link", name="Headwater").click()
        page.wait_for_url(f"{proxy.url}/console/")
        page.get_by_role("button", name="Sign out").click()
        page.wait_for_url(f"{proxy.url}/console/sign-in")
    proxy.close()


def test_the_reference_of_the_api_loads_nothing_from_elsewhere(headwater, visit):
    visitor = visit(headwater)
    visitor.page.goto("/docs")
    operation = visitor.page.locator(".opblock-summary-path", has_text="crawlers").first
    expect(operation).to_be_visible()
