"""The example: what it makes of a package, that its crawler runs, and that its demo ends well."""

import asyncio
import gzip
import json
import os
import subprocess
import sys
from importlib.metadata import Distribution
from pathlib import Path

import httpx
import pytest
from jsonschema_rs import validator_for

from builders import SECRET
from examples.packages_crawler import packages
from examples.packages_crawler.crawler import crawl, crawler
from examples.packages_crawler.demo import compare
from headwater.api.routers.externals import NewExternal
from headwater.catalog.vault import Vault
from headwater.domain.errors import ParametersInvalid
from headwater.domain.parameter import check_parameters
from headwater_client.server import ExternalCrawler

ROOT = Path(__file__).parents[2]
EXTERNAL = crawler.definition("http://127.0.0.1:9000")
#: A test that waits longer than that hangs.
PATIENCE = 60


def sent(**given):
    """Return what Headwater sends for these parameters."""
    return check_parameters(NewExternal.model_validate(EXTERNAL).definition(Vault(SECRET)).parameters, given)


def params(**given):
    """Return what the crawler makes of that."""
    return packages.Params(**sent(**given))


def package(folder, *metadata, files=None, requires=()):
    """Return a package as an installer leaves it."""
    info = folder / "made_up-1.0.dist-info"
    info.mkdir(parents=True)
    lines = ["Metadata-Version: 2.4", "Name: Made_Up", "Version: 1.0", "Summary: Not there.", *metadata]
    (info / "METADATA").write_text("\n".join([*lines, *(f"Requires-Dist: {each}" for each in requires), "", ""]))
    if files is not None:
        (info / "RECORD").write_text("".join(f"{name},,{size}\n" for name, size in files.items()))
    return Distribution.at(info)


def test_a_package_becomes_a_document(tmp_path):
    found = package(tmp_path, "License-Expression: MIT", files={"b.py": 10, "a.py": 5, "RECORD": ""}, requires=["idna"])

    assert packages.document(found, params()) == {
        "name": "made-up",
        "version": "1.0",
        "summary": "Not there.",
        "licence": "MIT",
        "requires": ["idna"],
        "files": {"count": 3, "bytes": 15},
    }


def test_full_detail_tells_the_paths_of_the_files(tmp_path):
    found = package(tmp_path, files={"b.py": 10, "a.py": 5})

    document = packages.document(found, params(detail="full"))

    assert document["files"] == {"count": 2, "bytes": 15, "paths": ["a.py", "b.py"]}


def test_a_package_without_a_list_of_its_files_is_told_with_null(tmp_path):
    assert packages.document(package(tmp_path), params())["files"] is None


@pytest.mark.parametrize(("extras", "shown"), [(False, ["idna"]), (True, ["idna", "pytest; extra == 'test'"])])
def test_requirements_of_extras_are_told_when_they_are_asked_for(tmp_path, extras, shown):
    found = package(tmp_path, requires=["idna", "pytest; extra == 'test'"])

    assert packages.document(found, params(extras=extras))["requires"] == shown


@pytest.mark.parametrize(
    ("metadata", "told"),
    [
        (["License-Expression: MIT", "License: old"], "MIT"),
        (["License: BSD 2-Clause"], "BSD 2-Clause"),
        (
            ["License: Permission is\n  hereby granted", "Classifier: License :: OSI Approved :: ISC License"],
            "ISC License",
        ),
        (["Classifier: Topic :: Database"], None),
    ],
)
def test_a_licence_is_the_nearest_thing_to_an_expression(tmp_path, metadata, told):
    assert packages.licence(package(tmp_path, *metadata)) == told


def test_packages_are_chosen_by_name_in_order_and_once():
    names = [packages.normalized(found.metadata["Name"]) for found in packages.chosen(params(name="p*"))]

    assert {"pluggy", "pytest"} <= set(names)
    assert all(name.startswith("p") for name in names)
    assert names == sorted(set(names))


def test_what_a_broken_installation_left_behind_is_passed_over(tmp_path, monkeypatch):
    (tmp_path / "~nameless-1.0.dist-info").mkdir()
    package(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))

    assert [found.version for found in packages.chosen(params(name="made*"))] == ["1.0"]


def test_packages_are_chosen_by_their_number_of_files():
    some = packages.chosen(params(min_files=20, max_files=60))

    assert some
    assert all(20 <= len(found.files) <= 60 for found in some)
    assert len(some) < len(packages.chosen(params()))


def test_every_installed_package_matches_the_schema_of_the_external():
    validator = validator_for(EXTERNAL["schema"])

    for found in packages.chosen(params()):
        validator.validate(packages.document(found, params(detail="full", extras=True)))


def test_the_external_refuses_bounds_between_which_nothing_is():
    with pytest.raises(ParametersInvalid) as refused:
        sent(min_files=2, max_files=1)

    assert refused.value.flaws[0].pointer == "/params/max_files"


class FakeHeadwater:
    """Takes all that a crawler sends."""

    def __init__(self):
        self.documents = []
        self.statuses = []

    def answer(self, request):
        if request.url.path.endswith("/upload"):
            lines = gzip.decompress(request.read()).splitlines()
            self.documents += map(json.loads, lines)
            return httpx.Response(200, json={"success": True, "payload": {"count": len(lines), "total": 0, "bytes": 0}})
        self.statuses.append(json.loads(request.read()))
        moment = "2026-01-01T00:00:00Z"
        task = {"fid": "f1", "type": "tasks", "version": 1, "created_at": moment, "updated_at": moment, "meta": {}}
        return httpx.Response(200, json={"success": True, "payload": task, "version": 1})


async def crawled(*, ends=False, **given):
    """Let the crawler run a task, and end it in the middle if it is to be; return what Headwater heard."""
    headwater = FakeHeadwater()
    options = {"transport": httpx.MockTransport(headwater.answer)}
    served = ExternalCrawler("Installed packages", params=packages.Params, writer=options)
    served.task(crawl)
    order = {"fid": "f1", "params": sent(**given), "endpoint": "http://hw/actions/tasks/f1.t1", "token": "t1"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=served), base_url="http://ec") as client:
        answer = await client.post("/task", params={"version": 1}, json=order)
        assert answer.is_success, answer.text
        async with asyncio.timeout(PATIENCE):
            while ends and not headwater.statuses:  # noqa: ASYNC110 - the crawler runs in a thread
                await asyncio.sleep(0.01)
            if ends:
                await client.patch("/task/f1/status", json={"code": 410, "message": "stopped", "detail": None})
            while (await client.get("/healthz")).json()["payload"]["running"]:  # noqa: ASYNC110 - likewise
                await asyncio.sleep(0.01)
    return headwater


async def test_packages_are_uploaded_and_the_task_is_closed_as_done():
    headwater = await crawled(name="p*")

    found = packages.chosen(params(name="p*"))
    assert [document["name"] for document in headwater.documents] == [
        packages.normalized(package.metadata["Name"]) for package in found
    ]
    assert headwater.statuses[0]["detail"] == {"done": 5, "of": len(found)}
    assert {status["code"] for status in headwater.statuses[:-1]} == {102}
    assert headwater.statuses[-1] == {
        "code": 200,
        "message": f"{len(found)} packages",
        "detail": {"done": len(found), "of": len(found)},
    }


async def test_a_task_that_finds_nothing_is_done_without_an_upload():
    headwater = await crawled(name="no-such-package")

    assert headwater.documents == []
    assert [status["code"] for status in headwater.statuses] == [200]


async def test_a_crawler_stops_when_it_is_told_of_the_end():
    headwater = await crawled(ends=True, pause=20)

    assert {status["code"] for status in headwater.statuses} == {102}
    assert len(headwater.documents) < len(packages.chosen(params()))


def test_two_exports_are_told_apart_by_document():
    def export(**versions):
        return b"".join(
            json.dumps({"name": name, "version": version}).encode() + b"\n" for name, version in versions.items()
        )

    found = compare(export(a=1, b=1, c=1), export(b=1, c=2, d=1))

    assert (found.added, found.changed, found.unchanged, found.removed) == (["d"], ["c"], ["b"], ["a"])


def demo(folder):
    """Run the demo in a folder of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "examples.packages_crawler.demo"]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=4 * PATIENCE, check=False
    )


def test_the_demo_ends_with_0_and_the_stream_as_it_was(tmp_path):
    (tmp_path / "demo-data").mkdir()
    (tmp_path / "demo-data" / "left-over").touch()

    ended = demo(tmp_path)

    assert (ended.returncode, ended.stderr) == (0, "")
    assert "The stream is byte for byte what it was." in ended.stdout
    assert "200 done, gate_failed: not published, min_docs: 0 documents" in ended.stdout
    assert "Nothing of the stream has changed." in ended.stdout
    assert (tmp_path / "demo-data" / "admin.key").exists()
    assert not (tmp_path / "demo-data" / "left-over").exists()


def test_the_demo_ends_with_1_and_says_why_when_it_cannot_go_on(tmp_path):
    (tmp_path / "demo-data").touch()  # a file where its directory should be

    ended = demo(tmp_path)

    assert ended.returncode == 1
    assert ended.stderr.startswith("demo: ")
    assert len(ended.stderr.splitlines()) == 1
