"""The table of exchanges that the clients are held to, against what a served Headwater answers today."""

from collections.abc import Iterator

import pytest

import docs_tour
from docs_tour import Served
from exchange_table import cases
from recording import record


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[Served]:
    with docs_tour.serving(tmp_path_factory.mktemp("served")) as served:
        yield served


@pytest.mark.parametrize("case", cases(), ids=lambda case: case["name"])
def test_the_recorded_exchanges_are_what_the_server_answers(case, served):
    key = (served.data / "admin.key").read_text().strip()
    assert record(case, served.url, key)["exchanges"] == case["exchanges"], "'make exchanges' records them anew"
