import json
import re


async def _log(api, task: str, *lines: dict) -> None:
    body = "".join(json.dumps(line) + "\n" for line in lines)
    sent = await api.post(f"/actions/tasks/{task}/log", content=body.encode())
    assert (sent.status_code, sent.json()["payload"]["lines"]) == (202, len(lines))


async def test_a_run_without_a_log_says_how_it_would_come_to_have_one(browser, a_shop, say):
    task = await (await a_shop()).run(b'{"id": 1}\n')
    assert "This run has logged nothing. A crawler" in say(await browser.open(f"/console/runs/{task}/log"))


async def test_lines_are_filtered_by_level_and_text_and_never_run(api, browser, a_shop, say):
    task = await (await a_shop()).run(b'{"id": 1}\n')
    script = {"level": "error", "text": "<script>alert(1)</script>", "url": "https://shop.example/3"}
    await _log(api, task, {"text": "page 1"}, {"level": "warning", "text": "page 2 is slow"}, script)
    page = await browser.open(f"/console/runs/{task}/log")
    assert "<script>alert" not in page
    said = say(page)
    assert "3 lines" in said
    assert "error <script>alert(1)</script> url= https://shop.example/3" in said
    warned = say(await browser.open(f"/console/runs/{task}/log?level=warning"))
    assert "page 1" not in warned
    assert "page 2 is slow" in warned
    found = say(await browser.open(f"/console/runs/{task}/log?q=SLOW"))
    assert "alert" not in found
    assert "No line on this page is like that" in say(await browser.open(f"/console/runs/{task}/log?q=nowhere"))


async def test_a_long_log_begins_with_its_last_lines_and_is_read_from_the_beginning_in_pages(api, browser, a_shop, say):
    task = await (await a_shop()).run(b'{"id": 1}\n')
    await _log(api, task, *({"text": f"line {number:03} {'x' * 500}"} for number in range(200)))
    last = await browser.open(f"/console/runs/{task}/log")
    assert "From the beginning" in last
    seen, url = [], f"/console/runs/{task}/log?after=0"
    while url:
        page = await browser.open(url)
        assert len(page) < 100_000
        seen += re.findall(r"line (\d{3}) x", say(page))
        following = page.partition('rel="next"')[0].rpartition('href="')[2].partition('"')[0]
        url = following if 'rel="next"' in page else None
    assert seen == [f"{number:03}" for number in range(200)]


async def test_what_an_open_run_logs_comes_behind_what_is_shown(api, browser, a_shop, say):
    shop = await a_shop()
    task = await shop.run(b'{"id": 1}\n', code=None)
    await _log(api, task, {"text": "page 1"})
    page = await browser.open(f"/console/runs/{task}/log")
    more = page.partition('<div hx-get="')[2].partition('"')[0]
    await _log(api, task, {"text": "page 2"})
    part = (await browser.client.get(more, headers={"HX-Request": "true"})).text
    assert "page 2" in part
    assert "page 1" not in part
    assert "<html" not in part
    await api.post(f"/actions/tasks/{task}/status", json={"code": 200})
    ended = part.partition('<div hx-get="')[2].partition('"')[0]
    assert say((await browser.client.get(ended, headers={"HX-Request": "true"})).text) == ""
