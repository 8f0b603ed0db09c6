"""The command line of somebody who has put URL and key into the environment."""

import json
import os
import subprocess
import sys
from pathlib import Path

from end_to_end.conftest import Served, a_crawler
from end_to_end.terminal import Terminal

HEADWATER = [sys.executable, "-m", "headwater_client"]


class CommandLine:
    """Runs ``headwater``, waits for it or sits at it."""

    def __init__(self, served: Served, home: Path, *, key: str | None = None) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")}
        kept |= {"XDG_CONFIG_HOME": str(home / "config"), "HOME": str(home), "COLUMNS": "80"}
        self.served = served
        self.home = home
        self.environment = kept | {"HEADWATER_URL": served.url, "HEADWATER_KEY": key or served.key()}

    def __call__(self, *words: object, stdin: bytes | None = None) -> subprocess.CompletedProcess:
        command = [*HEADWATER, *map(str, words)]
        given = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
        ran = subprocess.run(
            command, **given, cwd=self.home, env=self.environment, capture_output=True, timeout=60, check=False
        )
        ran.stdout, ran.stderr = ran.stdout.decode(), ran.stderr.decode()
        return ran

    def answer(self, *words: object) -> dict:
        ran = self(*words, "--json")
        assert (ran.returncode, ran.stderr) == (0, "")
        return json.loads(ran.stdout)

    def begin(self, *words: object) -> subprocess.Popen:
        command = [*HEADWATER, *map(str, words)]
        return subprocess.Popen(
            command, cwd=self.home, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def terminal(self, *words: object, columns: int = 80) -> Terminal:
        kept = {name: value for name, value in self.environment.items() if name != "COLUMNS"}
        return Terminal([*HEADWATER, *map(str, words)], columns=columns, environment=kept)


def empty(served: Served) -> None:
    """Take out all that another test has left."""
    with served.client() as client:
        for kind in ("streams", "externals"):
            for each in client.get(f"/{kind}?limit=1000").json()["payload"]:
                client.delete(f"/{kind}/{each['fid']}?cascade=true").raise_for_status()


def set_up(cli: CommandLine, *, schema: dict | None = None, **fields) -> dict:
    """A crawler called Shop that feeds a stream called Books."""
    with cli.served.client() as client:
        external = {"meta": {"name": "Pages"}, "docIdField": "id", "schema": schema}
        crawler = a_crawler(client, external=external, **fields)
        client.patch(f"/crawlers/{crawler['fid']}", json={"meta": {"name": "Shop"}}).raise_for_status()
        client.patch(f"/streams/{crawler['stream']}", json={"meta": {"name": "Books"}}).raise_for_status()
    return crawler


def tasks_of(cli: CommandLine) -> list[dict]:
    with cli.served.client() as client:
        return client.get("/tasks").json()["payload"]


def exported(cli: CommandLine) -> str:
    return cli("streams", "export", "Books").stdout


def line(number: int) -> bytes:
    return b'{"id": "%08d", "title": "%s"}\n' % (number, b"a long title " * 12)
