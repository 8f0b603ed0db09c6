"""docs/reference/metrics.md against what is scraped."""

import re

from prometheus_client.parser import text_string_to_metric_families

from builders import AT
from docs_page import Page
from headwater.api.monitoring.gauges import metric_families
from headwater.api.monitoring.metrics import Metrics
from headwater.catalog.event_order import Waiting
from headwater.catalog.stats import CatalogStats

PAGE = Page.of("docs/reference/metrics.md").text
NOTHING = CatalogStats(
    tasks={},
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


def test_every_metric_has_a_row_with_its_type_and_labels():
    metrics = Metrics()
    metrics.answered("GET", "/streams", 200, seconds=0.1)
    told = set()
    for family in text_string_to_metric_families(metrics.exposition(metric_families(NOTHING, at=AT)).decode()):
        labels = {name for sample in family.samples for name in sample.labels} - {"le"}
        counted = "_total" if family.type == "counter" else ""
        told.add((f"{family.name}{counted}", family.type, frozenset(labels)))
    rows = re.findall(r"^\| (`headwater_.+?`) \| (\w+) \|", PAGE, re.MULTILINE)
    shown = {
        (name, kind, frozenset(filter(None, labels.split(","))))
        for names, kind in rows
        for name, labels in re.findall(r"`(\w+)(?:{([\w,]+)})?`", names)
    }
    # Made when a client's library is loaded, not ours.
    assert {each for each in told if not each[0].endswith("_created")} == shown
