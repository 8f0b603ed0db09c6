"""The configurations of docs/how-to/proxy.md: what they say, and a Headwater behind nginx and Caddy that run them."""

import os
import re
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from docs_page import Page
from end_to_end.conftest import Served, a_crawler, free_port, made, wait_for
from headwater.settings import Settings
from test_tls import make_certificate

BLOCKS = Page.of("docs/how-to/proxy.md").blocks
NGINX, NGINX_BELOW = (block.text for block in BLOCKS if block.language == "nginx")
CADDY, CADDY_BELOW = (block.text for block in BLOCKS if block.language == "caddy")
#: A directive of nginx or of Caddy, and what follows it.
DIRECTIVE = re.compile(r"^\s*([a-z_]+) (.+?);?$", re.MULTILINE)
SERVER = "127.0.0.1:8080"
#: More than proxies take or hold unless they are told to.
BODY = 20 << 20


@pytest.mark.parametrize("text", [NGINX, NGINX_BELOW])
def test_nginx_is_told_what_a_proxy_must_do(text):
    said = {f"{name} {value}" for name, value in DIRECTIVE.findall(text)}
    assert said >= {
        "client_max_body_size 0",
        "proxy_request_buffering off",
        "proxy_buffering off",
        "proxy_http_version 1.1",
        'proxy_set_header Connection ""',
        "proxy_set_header Host $http_host",
        "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for",
        "proxy_set_header X-Forwarded-Proto $scheme",
    }
    assert text.count("{") == text.count("}")


@pytest.mark.parametrize("text", [NGINX, CADDY, CADDY_BELOW])
def test_a_proxy_asks_at_the_default_port_and_closes_idle_connections_first(text):
    defaults = Settings.model_fields
    assert f"{defaults['host'].default}:{defaults['port'].default}" == SERVER
    assert SERVER in text
    ((_, seconds),) = [each for each in DIRECTIVE.findall(text) if each[0] in {"keepalive_timeout", "keepalive"}][-1:]
    assert int(seconds.removesuffix("s")) < defaults["keep_alive_timeout"].default


class Proxy:
    """A proxy that runs, with a certificate of its own making."""

    def __init__(self, name: str, folder: Path) -> None:
        """Choose a port, and make a certificate."""
        self.name = name
        self.folder = folder
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self.cert, self.key = make_certificate(folder, name)

    @contextmanager
    def running(self, text: str, *, server: int) -> Iterator[None]:
        """Run it in front of a server."""
        here = text.replace(SERVER, f"127.0.0.1:{server}")
        write = self._nginx if self.name == "nginx" else self._caddy
        command = write(here)
        with (self.folder / "proxy.log").open("w") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | {"HOME": str(self.folder)})
        try:
            yield
        finally:
            process.terminate()
            process.wait(40)

    def _nginx(self, text: str) -> list[str]:
        replaced = {
            "listen 443 ssl": f"listen 127.0.0.1:{self.port} ssl",
            "/etc/nginx/headwater.pem": str(self.cert),
            "/etc/nginx/headwater.key": str(self.key),
        }
        for old, new in replaced.items():
            assert old in text
            text = text.replace(old, new)
        places = "".join(
            f"{kind}_temp_path {self.folder / kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        file = self.folder / "nginx.conf"
        file.write_text(
            f"daemon off;\npid {self.folder / 'nginx.pid'};\nuser root;\nerror_log stderr;\nevents {{}}\n"
            f"http {{\naccess_log off;\n{places}{text}}}\n"
        )
        return [str(shutil.which("nginx")), "-p", str(self.folder), "-c", str(file)]

    def _caddy(self, text: str) -> list[str]:
        site, _, rest = text.partition(" {\n")
        assert site.endswith("example.org")
        file = self.folder / "Caddyfile"
        tls = f"\ttls {self.cert} {self.key}\n"
        file.write_text(
            f"{{\n\tadmin off\n\tauto_https disable_redirects\n}}\n{self.url} {{\n\tbind 127.0.0.1\n{tls}{rest}"
        )
        return [str(shutil.which("caddy")), "run", "--adapter", "caddyfile", "--config", str(file)]


@pytest.fixture(params=["nginx", "caddy"])
def proxy(request, tmp_path) -> Proxy:
    if shutil.which(request.param) is None:
        pytest.skip(f"needs {request.param}")
    return Proxy(request.param, tmp_path)


@pytest.mark.parametrize("path", ["", "/headwater"])
def test_a_server_behind_a_proxy_takes_uploads_and_tells_events_at_once(proxy, path, serve):
    text = {"nginx": (NGINX, NGINX_BELOW), "caddy": (CADDY, CADDY_BELOW)}[proxy.name][bool(path)]
    served = serve(HEADWATER_PUBLIC_URL=proxy.url + path)
    if proxy.name == "nginx" and path:
        text = NGINX.partition("    location")[0] + text + "}\n"
    with proxy.running(text, server=served.port), _client(proxy, path, served) as client:
        assert wait_for(lambda: _is_ready(client))
        crawler = a_crawler(client)
        task = made(client, f"/actions/crawlers/{crawler['fid']}/task")
        upload = urlsplit(task["upload"]["endpoint"])
        assert f"{upload.scheme}://{upload.netloc}{upload.path}".startswith(f"{proxy.url}{path}/actions/tasks/")
        with client.stream("GET", "/events", params={"last_event_id": 0}) as events:
            lines = events.iter_lines()
            assert any("task" in line for line in _until_quiet(lines))
            line = b'{"id": "%d/b", "text": "' + b"x" * 1000 + b'"}\n'
            answer = client.post(
                f"{task['upload']['endpoint']}/upload", content=(line % n for n in range(BODY // 1000))
            )
            assert (answer.status_code, answer.json()["payload"]["count"]) == (200, BODY // 1000)
            assert client.post(f"{task['upload']['endpoint']}/status", json={"code": 200}).status_code == 200
            assert any("done" in line for line in lines)  # it is an endless stream: it came while it was open
        found = client.get(f"/streams/{crawler['stream']}/docs/7%2Fb")
        assert (found.status_code, found.json()["payload"]["id"]) == (200, "7/b")
        page = client.get(f"/streams/{crawler['stream']}/docs", params={"limit": 1})
        assert client.get(str(page.url.join(page.links["next"]["url"]))).status_code == 200
        assert len(client.get(f"/streams/{crawler['stream']}/export").content) > BODY // 2


def _until_quiet(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        yield line
        if "task" in line:
            return


def _client(proxy: Proxy, path: str, served: Served) -> httpx.Client:
    return httpx.Client(
        base_url=proxy.url + path,
        headers={"Authorization": f"Bearer {served.key()}"},
        verify=ssl.create_default_context(cafile=proxy.cert),
        timeout=30,
    )


def _is_ready(client: httpx.Client) -> bool:
    with suppress(httpx.TransportError):
        return client.get("/readyz").status_code == 200
    return False
