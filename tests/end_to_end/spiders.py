"""Spiders, a site for them, and how they are run."""

import json
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from end_to_end.conftest import Served

SPIDER = '''
import os
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import attrs
import pydantic
import scrapy


class Row(scrapy.Item):
    id, text = scrapy.Field(), scrapy.Field()


@dataclass
class Priced:
    id: str
    price: Decimal


@attrs.define
class Dated:
    id: str
    day: date


class Named(pydantic.BaseModel):
    id: str
    long_name: str = pydantic.Field(serialization_alias="longName")


class Kinds(scrapy.Spider):
    """Brings an item of each kind, and one that is none."""

    name = "kinds"
    start_urls = [os.environ["SITE"]]

    def parse(self, response):
        yield {"id": "dict"}
        yield Row(id="item", text="a")
        yield Priced(id="dataclass", price=Decimal("8.5"))
        yield Dated(id="attrs", day=date(2026, 1, 31))
        yield Named(id="pydantic", long_name="b")
        yield {"id": "response", "page": response}


class Pages(scrapy.Spider):
    """Follows the site from page to page; fails on one if it is told to."""

    name = "pages"
    start_urls = [os.environ["SITE"]]

    def parse(self, response):
        yield from response.follow_all(css="a")
        number = int(response.css("h1::text").get())
        if getattr(self, "odd", False):
            self.crawler.stats.inc_value(404)
            self.crawler.stats.set_value("last\\0page\\ud83d", "a\\0b\\udc00")
            if number == int(getattr(self, "close_after", -1)):
                raise scrapy.exceptions.CloseSpider("enough\\0\\ud83d")
        if number == int(getattr(self, "bad", -1)):
            raise LookupError("no price on this page")
        yield {"id": str(number), "price": number}
'''


class Site:
    """Page n leads to page n + 1."""

    def __init__(self, pages: int, *, seconds: float = 0.0) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                time.sleep(seconds)
                number = int(self.path[1:] or 0)
                link = f'<a href="/{number + 1}">next</a>' if number + 1 < pages else ""
                content = f"<h1>{number}</h1>{link}".encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Project:
    """A folder with a spider in it, and how to run that."""

    def __init__(self, folder: Path, headwater: Served) -> None:
        self._folder = folder
        self._headwater = headwater
        self._runs: list[Run] = []
        (folder / "pages.py").write_text(SPIDER)

    def start(self, site: Site, crawler: dict | None, *, spider: str = "pages", **settings) -> "Run":
        used = {
            "ITEM_PIPELINES": json.dumps({"headwater_client.scrapy.HeadwaterPipeline": 800}),
            "SPIDER_MODULES": "pages",
            "TELNETCONSOLE_ENABLED": False,
        } | settings
        command = [sys.executable, "-m", "scrapy", "crawl", spider]
        command += [word for name, value in used.items() for word in _option(name, value)]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")}
        environment |= {"HEADWATER_URL": self._headwater.url, "HEADWATER_KEY": self._headwater.key(), "SITE": site.url}
        environment |= {"HEADWATER_CRAWLER": crawler["fid"]} if crawler else {}
        (self._folder / "scrapy.cfg").write_text("[settings]\n")
        self._runs.append(Run(command, self._folder, environment, self._folder / f"log-{len(self._runs)}"))
        return self._runs[-1]

    def crawl(self, *args, **options) -> "Run":
        run = self.start(*args, **options)
        run.wait()
        return run

    def end(self) -> None:
        for run in self._runs:
            run.process.kill()
            run.process.wait()


def _option(name: str, value: object) -> list[str]:
    return ["-a", f"{name}={value}"] if name.islower() else ["-s", f"{name}={value}"]


class Run:
    """A spider that runs, or has run."""

    def __init__(self, command: list[str], folder: Path, environment: dict[str, str], log: Path) -> None:
        self._log = log
        with log.open("w") as file:
            self.process = subprocess.Popen(command, cwd=folder, env=environment, stdout=file, stderr=file)

    def wait(self) -> int:
        return self.process.wait(60)

    @property
    def log(self) -> str:
        return self._log.read_text()
