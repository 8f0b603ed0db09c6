"""Spark reads exactly what an export holds, in ranges: ``make test-engines``."""

import json
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.served import serving
from builders import SECRET, World, a_stream
from docs_page import Page
from engines.readers import digest
from iceberg_history import exported, play

PYTHON = os.environ.get("TEST_ENGINES")
PROGRAM = Path(__file__).with_name("spark_program.py")

pytestmark = [
    pytest.mark.skipif(PYTHON is None, reason="make test-engines installs the engines"),
    pytest.mark.skipif(shutil.which("java") is None, reason="Spark needs Java: apt install openjdk-17-jre-headless"),
]


@pytest.fixture
def url(sqlite_url):
    """One engine of the catalog is enough: the files do not depend on it."""
    return sqlite_url


def run(headwater, program: list[str], said: str = "") -> subprocess.CompletedProcess[str]:
    """Run a program of Spark, which is told where the server is and has its key."""
    environment = os.environ | {
        "HEADWATER_URL": str(headwater.client.base_url).rstrip("/"),
        "HEADWATER_KEY": key_of(headwater),
        "PYSPARK_PYTHON": str(PYTHON),
        "PYSPARK_DRIVER_PYTHON": str(PYTHON),
        "PYTHONPATH": str(PROGRAM.parents[1]),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "NO_PROXY": "127.0.0.1",
    }
    return subprocess.run(
        [str(PYTHON), *program],
        input=said,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env=environment,
    )


def key_of(headwater) -> str:
    return (headwater.data / "admin.key").read_text().strip()


@contextmanager
def served(data: Path, sqlite_url: str) -> Iterator:
    """A server of what a world has made in a folder."""
    shutil.copyfile(sqlite_url.removeprefix("sqlite:///"), data / "catalog.sqlite")
    settings = {"HEADWATER_SECRET_KEY": SECRET, "HEADWATER_RETENTION_DAYS": "10000"}  # the history is of another time
    with serving(data, log=data / "log", settings=settings) as headwater:
        yield headwater


async def test_spark_reads_each_view_of_any_history_as_it_is_exported(db, sqlite_url, tmp_path):
    data, folder = tmp_path / "data", tmp_path / "spark"
    folder.mkdir()
    world = World(db, data)
    try:
        stream = await play(world, seed=104)
        present = (await world.stream(stream)).stream_version
        rows = await exported(world, stream)
        views = [(present, []), (present // 2, []), (present, [rows[0][1]]), (0, [])]
        expected = [await exported(world, stream, version, without=without) for version, without in views]
    finally:
        world.close()
    db.close()
    options = [
        {"stream": stream, "as_of": f"{version}", "without": ",".join(without), "ranges": "5"}
        for version, without in views
    ]
    wrong = [
        ({"stream": "nothing"}, "no stream has the name 'nothing'"),
        ({"stream": stream, "asof": "1"}, "there is no option 'asof'; there are url, token"),
        ({"stream": stream, "as_of": "latest"}, "the option 'as_of' is a number"),
        ({"stream": stream, "as_of": "999"}, "there is no version 999 yet"),
    ]
    with served(data, sqlite_url) as headwater:
        key = key_of(headwater)
        others = [{"stream": stream, "warehouse": "local"}, {"stream": stream, "token": key}]
        question = {"folder": str(folder), "views": [*options, *others, *(one for one, _ in wrong)]}
        told = run(headwater, [str(PROGRAM)], json.dumps(question))
    assert told.returncode == 0, told.stderr
    answers = [json.loads(line) for line in told.stdout.splitlines() if line.startswith("{")]
    read, refused, chosen = answers[: len(views) + 2], answers[len(views) + 2 : -1], answers[-1]
    expected += [rows, rows]
    assert [(one["rows"], one["digest"]) for one in read] == [digest(some) for some in expected]
    assert [one["by_task"] for one in read] == [dict(Counter(row[1] for row in some)) for some in expected]
    assert [one["partitions"] for one in read[: len(views)]] == [min(5, max(1, len(some))) for some in expected[:-2]]
    assert [text in one["error"] for one, (_, text) in zip(refused, wrong, strict=True)] == [True] * len(wrong)
    assert chosen == {"columns": ["id"], "rows": len(rows)}
    # The key was an option of one of the views: it stands in no plan and in no log.
    logs = [file.read_text(errors="replace") for file in folder.rglob("*") if file.is_file()]
    assert any("SparkListenerJobStart" in text for text in logs)
    assert not any(key in text for text in [told.stdout, told.stderr, *logs])


PAGE = Page.of("docs/how-to/spark.md")
PROGRAMS = [block.text for block in PAGE.blocks if block.language == "python"]


async def test_the_programs_of_the_how_to_page_count_the_documents(db, sqlite_url, tmp_path):
    data = tmp_path / "data"
    world = World(db, data)
    try:
        crawler = await world.crawler(stream=a_stream(meta={"name": "books"}))
        for run_of in range(2):
            docs = [{"id": f"book-{n}", "run": run_of, "text": f"{n % 3}"} for n in range(run_of * 50, 200)]
            await world.done(crawler, docs)
    finally:
        world.close()
    db.close()
    with served(data, sqlite_url) as headwater:
        found = [run(headwater, ["-c", program]) for program in PROGRAMS]
    assert [one.returncode for one in found] == [0] * len(PROGRAMS), [one.stderr for one in found]
    assert [one.stdout.split()[-1] for one in found] == ["200"] * len(PROGRAMS)
