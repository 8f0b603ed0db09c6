"""deploy/grafana-dashboard.json and deploy/prometheus-alerts.yaml: they ask for metrics that there are."""

import json
import re
from collections import Counter

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from builders import AT
from docs_page import ROOT, Page
from headwater.api.monitoring.gauges import metric_families
from headwater.api.monitoring.metrics import Metrics
from headwater.catalog.event_order import Waiting
from headwater.catalog.stats import CatalogStats
from headwater.domain.task import TaskState
from openapi_document import openapi

BOARD = json.loads((ROOT / "deploy/grafana-dashboard.json").read_text())
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
(RULES,) = yaml.safe_load((ROOT / "deploy/prometheus-alerts.yaml").read_text())["groups"]
QUERIES = [target["expr"] for panel in PANELS for target in panel["targets"]]
ALERTS = [rule["expr"] for rule in RULES["rules"]]
#: A selector, and what it selects by.
SELECTOR = re.compile(r'\b(headwater_\w+)((?:\{(?:[^{}"]|"[^"]*")*\})?)')
#: A comparison of a label in it.
MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"([^"]*)"')
#: What Prometheus adds itself.
ADDED = {"job", "instance"}
NOTHING = CatalogStats(
    tasks=dict.fromkeys(TaskState, 0),
    streams=0,
    externals=0,
    crawlers=0,
    docs=0,
    segments=0,
    damaged_segments=0,
    notices=0,
    oldest_notice=None,
    unordered_events=Waiting(number=0, oldest_at=None),
)


@pytest.fixture(scope="module")
def exposed() -> dict[str, dict[str, set[str]]]:
    """By name of a sample: its labels, and the values that they have."""
    metrics = Metrics()
    for route in [*openapi()["paths"], "none"]:
        metrics.answered("GET", route, 500, seconds=0.1)
    found: dict[str, dict[str, set[str]]] = {}
    for family in text_string_to_metric_families(metrics.exposition(metric_families(NOTHING, at=AT)).decode()):
        for sample in family.samples:
            labels = found.setdefault(sample.name, {})
            for name, value in sample.labels.items():
                labels.setdefault(name, set()).add(value)
    return found


@pytest.mark.parametrize("query", [*QUERIES, *ALERTS])
def test_a_query_asks_for_samples_and_labels_that_there_are(query, exposed):
    selectors = SELECTOR.findall(query)
    assert selectors or query.startswith("up{")
    for name, braces in selectors:
        assert name in exposed
        for label, operator, value in MATCHER.findall(braces):
            assert label in exposed[name] or label in ADDED
            if label in {"state", "outcome", "route"}:
                wanted = value.split("|") if operator == "=~" else [value]
                assert set(wanted) <= exposed[name][label]
        grouped = {label for group in re.findall(r"by \(([\w, ]+)\)", query) for label in group.split(", ")}
        assert grouped <= exposed[name].keys() | ADDED


@pytest.mark.parametrize("query", [*QUERIES, *ALERTS])
def test_a_query_is_closed_and_takes_rates_of_counters_alone(query):
    bare = re.sub(r'"[^"]*"', "", query)
    for opened, closed in ("()", "{}", "[]"):
        assert bare.count(opened) == bare.count(closed)
    for name in re.findall(r"\b(?:rate|increase)\((headwater_\w+)", query):
        assert name.endswith(("_total", "_count", "_bucket"))
    # Gauges are the same on all nodes: the sum would count them several times.
    assert not re.search(r"\bsum\(headwater_|\bsum by \([^)]*\) \(headwater_", query)


def test_every_metric_is_on_the_dashboard(exposed):
    shown = {name for query in QUERIES for name, _ in SELECTOR.findall(query)}
    counted = {name.removesuffix("_bucket").removesuffix("_count") for name in shown}
    names = {re.sub(r"_(bucket|count|sum)$", "", name) for name in exposed if not name.endswith("_created")}
    assert names == counted


def test_a_legend_names_labels_that_the_query_keeps():
    for panel in PANELS:
        for target in panel["targets"]:
            for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
                assert label == "instance" or re.search(rf"by \([\w, ]*\b{label}\b", target["expr"])


def test_panels_have_ids_of_their_own_and_do_not_overlap():
    assert [number for number, count in Counter(panel["id"] for panel in BOARD["panels"]).items() if count > 1] == []
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        fields = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not fields & taken
        taken |= fields


def test_the_page_lists_every_alert():
    text = Page.of("docs/how-to/monitoring.md").text
    assert re.findall(r"^\| `(Headwater\w+)`", text, re.MULTILINE) == [rule["alert"] for rule in RULES["rules"]]
