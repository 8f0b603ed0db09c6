"""compose.yaml: its variables are settings, its services fit together, and what it runs works together."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import yaml

from builders import ndjson
from deployed import image_variables, instructions, server_commands, settings_of
from docs_page import ROOT
from end_to_end.conftest import Served, a_crawler, free_port, made, wait_for

#: What the page has users put into ``.env``.
GIVEN = {"DATABASE_PASSWORD": "d" * 32, "STORE_SECRET": "s" * 32, "HEADWATER_SECRET_KEY": "k" * 64}
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
#: Those of our image.
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "headwater"}
NODES = sorted(name for name in OURS if name.startswith("node-"))
#: Of the settings: what a test has places of its own for.
PLACES = ("HEADWATER_DATA", "HEADWATER_PORT")
CADDYFILE = (ROOT / "deploy/Caddyfile").read_text()


def filled_in(text: str, given: dict[str, str]) -> str:
    """Return a value with its variables replaced, as Compose does."""

    def value(found: re.Match[str]) -> str:
        name, otherwise, default = found.groups()
        assert name in given or otherwise == ":-", f"{name} has no value"
        return given.get(name, default)

    return re.sub(r"\$\{(\w+)(?:(:-|:\?)([^}]*))?\}", value, text)


def environment(service: str) -> dict[str, str]:
    """Return a container's variables, those of its image included."""
    own = {name: filled_in(value, GIVEN) for name, value in SERVICES[service]["environment"].items()}
    return (image_variables() | own) if service in OURS else own


@pytest.mark.parametrize("service", sorted(OURS))
def test_variables_are_settings_and_commands_are_installed(service, monkeypatch):
    settings = settings_of(environment(service), monkeypatch)
    assert (settings.database_url, settings.lake_url) == (
        f"postgresql+psycopg://headwater:{'d' * 32}@database/headwater",
        "s3://headwater",
    )
    assert set(SERVICES[service].get("command", ["serve"])) <= server_commands()


def test_what_a_service_depends_on_or_mounts_is_there():
    for service in SERVICES.values():
        assert set(service.get("depends_on", [])) <= set(SERVICES)
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert (ROOT / source).is_file() if source.startswith(".") else source in COMPOSE["volumes"]
    assert {COMPOSE["volumes"][name] for name in COMPOSE["volumes"]} == {None}


def test_the_hosts_and_ports_that_are_named_are_those_of_services():
    settings = environment(NODES[0])
    assert "@database/" in settings["HEADWATER_DATABASE_URL"]
    assert settings["AWS_ENDPOINT_URL"] == "http://store:8333"
    assert "-ip=store" in SERVICES["store"]["command"]
    (upstreams,) = re.findall(r"reverse_proxy (.+) \{", CADDYFILE)
    assert upstreams.split() == [f"{node}:{settings['HEADWATER_PORT']}" for node in NODES]
    (published,) = SERVICES["proxy"]["ports"]
    address, _, inside = published.rpartition(":")
    assert address == settings["HEADWATER_PUBLIC_URL"].removeprefix("http://")
    assert f"\n:{inside} {{" in CADDYFILE


def test_containers_run_with_no_more_rights_than_they_need():
    for service in OURS.values():
        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    written = {volume.partition(":")[2] for node in NODES for volume in SERVICES[node]["volumes"]}
    assert written == {each.text for each in instructions() if each.name == "VOLUME"}


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """The nodes, and the key that the page creates."""

    nodes: list[Served]
    key: str


@pytest.fixture
def cluster(postgres_url, seaweedfs, tmp_path) -> Iterator[Cluster]:
    """The nodes, with a database and a store that tests have, prepared by the command of ``prepare``."""
    here = seaweedfs.environment | {"HEADWATER_DATABASE_URL": postgres_url, "HEADWATER_LAKE_URL": seaweedfs.url()}
    passed = {name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")}
    kept = {name: value for name, value in here.items() if name in environment("prepare")}
    assert kept == here  # nothing is set that the file does not set
    program = str(Path(sys.executable).with_name("headwater"))
    of_image = {"HEADWATER_DATA": str(tmp_path / "prepared")}
    prepared = passed | environment("prepare") | here | of_image
    subprocess.run([program, *SERVICES["prepare"]["command"]], env=prepared, cwd=tmp_path, check=True, timeout=120)
    with ExitStack() as stack:
        started = []
        for name in NODES:
            own = environment(name) | here | {"HEADWATER_HOST": "127.0.0.1"}
            served = Served(tmp_path / name, **{name: own[name] for name in own if name not in {"PATH", *PLACES}})
            served.start()
            stack.callback(served.stop)
            started.append(served)
        made_key = subprocess.run(
            [program, "keys", "create", "admin", "--scope", "admin", "--data", str(tmp_path / NODES[0])],
            env=passed | environment(NODES[0]) | here,
            cwd=tmp_path,
            check=True,
            capture_output=True,
            text=True,
            timeout=120,
        )
        yield Cluster(nodes=started, key=made_key.stdout.strip())


def test_the_nodes_work_together(cluster):
    with ExitStack() as stack:
        one, two = (stack.enter_context(node.client(cluster.key)) for node in cluster.nodes)
        crawler = a_crawler(one)
        task = made(two, f"/actions/crawlers/{crawler['fid']}/task")
        # Crawlers are told the address of the proxy.
        assert task["upload"]["endpoint"].startswith("http://127.0.0.1:8080/actions/tasks/")
        docs = [{"id": str(number), "text": "x" * 1000} for number in range(200)]
        for client in (one, two):
            assert client.post(f"/actions/tasks/{task['fid']}/upload", content=ndjson(docs)).status_code == 200
        assert one.post(f"/actions/tasks/{task['fid']}/status", json={"code": 200}).status_code == 200
        assert len(two.get(f"/streams/{crawler['stream']}/export").content.splitlines()) == len(docs)


@pytest.mark.skipif(shutil.which("caddy") is None, reason="needs caddy")
def test_the_proxy_leads_to_the_nodes(cluster, tmp_path):
    port = free_port()
    text = CADDYFILE.replace("\n:8080 {", f"\nhttp://127.0.0.1:{port} {{")
    for node, served in zip(NODES, cluster.nodes, strict=True):
        text = text.replace(f"{node}:8080", f"127.0.0.1:{served.port}")
    file = tmp_path / "Caddyfile"
    file.write_text("{\n\tadmin off\n}\n" + text)
    command = [shutil.which("caddy"), "run", "--adapter", "caddyfile", "--config", str(file)]
    with (tmp_path / "caddy.log").open("w") as log:
        proxy = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | {"HOME": str(tmp_path)})
    try:
        headers = {"Authorization": f"Bearer {cluster.key}"}
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=30) as client:
            assert wait_for(lambda: _status(client, "/readyz") == 200)
            crawler = a_crawler(client)
            task = made(client, f"/actions/crawlers/{crawler['fid']}/task")
            parts = (ndjson([{"id": str(number), "text": "x" * 1000}]) for number in range(20_000))
            assert client.post(f"/actions/tasks/{task['fid']}/upload", content=parts).status_code == 200
            cluster.nodes[0].stop()
            assert wait_for(lambda: {_status(client, "/streams") for _ in range(4)} == {200})
    finally:
        proxy.terminate()
        proxy.wait(40)


def _status(client: httpx.Client, path: str) -> int:
    with suppress(httpx.TransportError):
        return client.get(path).status_code
    return 0
