"""A story for the console: a shop that is crawled for two days, once badly, and what else there is."""

import json
import random
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from console_places import Places

TITLES = (
    "The Odyssey",
    "Pride and Prejudice",
    "The Little Prince",
    "Moby-Dick",
    "Don Quixote",
    "Middlemarch",
    "Dracula",
)
AUTHORS = (("Homer", "gr"), ("Jane Austen", "gb"), ("Herman Melville", "us"), ("Franz Kafka", "cz"))
SCHEMA = {
    "required": ["isbn", "price"],
    "properties": {"isbn": {"type": "string"}, "price": {"type": "number", "minimum": 0}},
}
PARAMETERS = [
    {"name": "shop", "type": "list", "options": ["north", "south"], "req": True, "display_name": "Shop"},
    {"name": "pages", "type": "integer", "min": 1, "max": 500, "default": 50, "description": "How far it goes"},
    {"name": "token", "type": "password", "description": "Of the shop's interface"},
]
TRACEBACK = """Traceback (most recent call last):
  File "crawl.py", line 42, in crawl
    page = fetch(url)
HTTPError: 503 Service Unavailable"""


def books(count: int, *, seed: int, price: float | None = None) -> list[dict[str, Any]]:
    """Documents of the shop."""
    rnd = random.Random(seed)
    return [
        {
            "isbn": f"978014{number:07d}",
            "title": TITLES[number % len(TITLES)]
            + (f", volume {number // len(TITLES)}" if number >= len(TITLES) else ""),
            "author": dict(zip(("name", "country"), AUTHORS[number % len(AUTHORS)], strict=True)),
            "price": rnd.choice([6.5, 8, 9.9, 12.5]) if price is None else price,
            "stock": rnd.randrange(40) if number % 3 else 12,
            "languages": ["en", "de"][: 1 + number % 2],
        }
        for number in range(count)
    ]


class Teller:
    """Tells the story to a Headwater."""

    def __init__(self, client: httpx.Client, *, place: str = "") -> None:
        self.client = client
        #: What tells its crawlers from those of other stories.
        self.place = f" {place}" if place else ""

    def made(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        answer = self.client.post(path, json=body or {})
        assert answer.status_code in {200, 201}, answer.text
        return answer.json()["payload"]

    def crawler(self, external: str, name: str, stream: str, **fields: Any) -> dict[str, Any]:
        fid = self.made("/streams", {"meta": {"name": stream}})["fid"]
        meta = {"name": name + self.place, "links": [{"from": {"type": "streams", "fid": fid}}]}
        return self.made(f"/actions/externals/{external}/crawler", {"meta": meta, **fields})

    def run(
        self, crawler: str, docs: list[Any], *, code: int | None = 200, lenient: bool = False, **report: Any
    ) -> str:
        task = self.made(f"/actions/crawlers/{crawler}/task")["fid"]
        lines = [doc if isinstance(doc, str) else json.dumps(doc) for doc in docs]
        headers = {"Prefer": "handling=lenient"} if lenient else {}
        uploaded = self.client.post(f"/actions/tasks/{task}/upload", content="\n".join(lines).encode(), headers=headers)
        assert uploaded.status_code == 200, uploaded.text
        if code is not None:
            self.made(f"/actions/tasks/{task}/status", {"code": code, **report})
        return task

    def tell(self) -> Places:
        params = {"shop": "north", "token": "s3cret"}
        external = self.made(
            "/externals",
            {"meta": {"name": "Book prices"}, "docIdField": "isbn", "schema": SCHEMA, "parameters": PARAMETERS},
        )["fid"]
        north = self.crawler(external, "Northern shop", "Books", params=params)
        gates = {"max_shrink": 0.2, "min_docs": 10}
        gated = self.crawler(external, "Prices DE", "Prices DE", params=params, gates=gates)
        away = self.made("/externals", {"meta": {"name": "Reviews site"}, "endpoint": "http://127.0.0.1:9"})["fid"]
        schedule = {"cron": "30 2 * * *", "timezone": "Europe/Berlin"}
        self.crawler(away, "Reviews", "Reviews", schedule=schedule)
        for seed in range(5):
            count = 420 + 6 * seed
            statistics = {
                "downloader/request_count": count + 80,
                "item_scraped_count": count,
                "finish_reason": "finished",
            }
            self.run(north["fid"], books(count, seed=seed), message=f"{count} of {count}", detail=statistics)
        bad = self.run(north["fid"], books(450, seed=5, price=0), message="450 of 450")
        strange = ['{"isbn": "x", "price": "free"}', '{"isbn": "broken", ', '{"price": 4}']
        lenient = self.run(
            north["fid"], [*books(456, seed=6)[430:], *strange], lenient=True, message="with strange lines"
        )
        failed = self.run(
            north["fid"],
            books(440, seed=7)[400:],
            code=500,
            message="503 from shop.example",
            detail={"error": TRACEBACK},
        )
        good = [self.run(gated["fid"], books(300, seed=seed)) for seed in range(4)]
        assert self.client.delete(f"/tasks/{good[0]}").is_success
        withheld = self.run(gated["fid"], books(150, seed=9))
        running = self.run(gated["fid"], books(80, seed=3), code=None)
        for level, text in (("info", "page 1 of 20"), ("warning", "page 2 is slow"), ("error", "page 3: 503")):
            line = json.dumps({"level": level, "text": text, "url": "https://shop.example/" + text[5]})
            assert self.client.post(f"/actions/tasks/{running}/log", content=line.encode()).status_code == 202
        news = {
            "url": "jsons://nobody.invalid/",
            "events": ["task.failed"],
            "enabled": False,
            "meta": {"name": "Night shift"},
        }
        notification = self.made("/notifications", news)["fid"]
        key = self.made("/keys", {"name": "night shift", "scopes": ["read"]})["fid"]
        # The last: it would be told of what comes, and nobody listens.
        webhook = self.made("/webhooks", {"url": "https://hooks.example.org/hw", "meta": {"name": "Chat"}})["fid"]
        return Places(
            stream=north["stream"],
            document="9780140000000",
            where="price=0",
            crawler=north["fid"],
            gated=gated["fid"],
            name=north["meta"]["name"],
            external=external,
            bad=bad,
            undone=good[0],
            failed=failed,
            lenient=lenient,
            running=running,
            withheld=withheld,
            other=good[1],
            webhook=webhook,
            notification=notification,
            key=key,
        )


HOSTILE = "<script>alert(1)</script>'\"><b>abc\u202egnp.exe <img src=x onerror=alert(1)> " + "w" * 500


class HostileTeller(Teller):
    """Tells of the same objects, whose names, ids, values and messages are all meant to break pages."""

    def __init__(self, client: httpx.Client, *, place: str = "") -> None:
        super().__init__(client, place=place)
        self.place = f" {HOSTILE}{place}"

    def tell(self) -> Places:
        meta = {"name": HOSTILE}
        parameters = [{"name": "x" * 200, "type": "string", "description": HOSTILE, "default": "w" * 500}]
        schema = {"properties": {"price": {"type": "number"}}}
        definition = {"meta": meta, "docIdField": "id", "schema": schema, "parameters": parameters}
        external = self.made("/externals", definition)["fid"]
        crawler = self.crawler(external, "", HOSTILE, gates={"min_docs": 1})
        other = self.crawler(external, "", HOSTILE)
        doc = {
            "id": HOSTILE,
            HOSTILE: {HOSTILE: [HOSTILE, {HOSTILE: HOSTILE}]},
            "w" * 500: "w" * 500,
            "long": "x" * 3_000_000,
        }
        good = [self.run(crawler["fid"], [doc | {"n": number}]) for number in range(2)]
        assert self.client.delete(f"/tasks/{good[0]}").is_success
        withheld = self.run(crawler["fid"], [])
        bad = [{"id": HOSTILE, "price": HOSTILE}, '{"broken": "' + "w" * 5000]
        detail = {"traceback": f"{HOSTILE}\n" * 20, HOSTILE: HOSTILE}
        failed = self.run(crawler["fid"], [doc, *bad], code=500, lenient=True, message=HOSTILE, detail=detail)
        running = self.run(crawler["fid"], [doc | {"n": 9}], code=None)
        for text in (HOSTILE, "w" * 5000):
            line = json.dumps({"level": "error", "text": text, HOSTILE: HOSTILE, "w" * 200: "w" * 500})
            assert self.client.post(f"/actions/tasks/{running}/log", content=line.encode()).status_code == 202
        news = {"url": "jsons://nobody.invalid/" + "w" * 200, "enabled": False, "meta": meta}
        return Places(
            stream=crawler["stream"],
            document=HOSTILE,
            where=f"long={json.dumps('w' * 500)}",
            crawler=crawler["fid"],
            gated=crawler["fid"],
            name="script",
            external=external,
            bad=good[1],
            undone=good[0],
            failed=failed,
            lenient=failed,
            running=running,
            withheld=withheld,
            other=self.run(other["fid"], [doc]),
            webhook=self.made("/webhooks", {"url": "https://example.org/" + "w" * 500, "meta": meta})["fid"],
            notification=self.made("/notifications", news)["fid"],
            key=self.made("/keys", {"name": HOSTILE[:200], "scopes": ["read"]})["fid"],
        )


def spread_over_days(data: Path) -> None:
    """Move what happened apart, into the two days before now."""
    rnd = random.Random(5)
    now = datetime.now(UTC).replace(tzinfo=None)
    db = sqlite3.connect(data / "catalog.sqlite", timeout=30)
    try:
        with db:
            for (crawler,) in db.execute("SELECT DISTINCT crawler FROM tasks").fetchall():
                at = now - timedelta(minutes=rnd.randrange(4, 50))
                found = db.execute("SELECT fid, ended_at FROM tasks WHERE crawler = ? ORDER BY fid DESC", (crawler,))
                for fid, ended_at in found.fetchall():
                    began = at - timedelta(minutes=rnd.randrange(9, 50))
                    times = (_text(began), ended_at and _text(at), fid)
                    db.execute("UPDATE tasks SET started_at = ?, ended_at = ? WHERE fid = ?", times)
                    db.execute("UPDATE stream_log SET at = ? WHERE task = ?", (_text(at), fid))
                    db.execute("UPDATE segments SET created_at = ? WHERE task = ?", (_text(at), fid))
                    at -= timedelta(hours=rnd.choice([4, 5, 6]))
    finally:
        db.close()


def _text(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S.%f}"
