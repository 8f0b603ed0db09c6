from collections import Counter

import pytest
from prometheus_client.parser import text_string_to_metric_families

from headwater.api.monitoring.metrics import Metrics


@pytest.fixture
def metrics() -> Metrics:
    """The metrics of a process that knows two crawlers by name."""
    made = Metrics()
    made.label({"c1": ("Shop", "Items"), "c2": ("News", "Articles")})
    return made


def _of(metrics: Metrics, name: str) -> dict[tuple[str, str], float]:
    """What a counter says, by crawler and stream."""
    found: Counter[tuple[str, str]] = Counter()
    for family in text_string_to_metric_families(metrics.exposition([]).decode()):
        for sample in family.samples:
            if sample.name == name:
                found[sample.labels["crawler"], sample.labels["stream"]] += sample.value
    return found


def test_uploads_are_counted_by_the_names_of_the_crawler_and_its_stream(metrics):
    metrics.accepted("c1", docs=3, size=30, rejected=1)
    metrics.replayed("c1")
    metrics.refused("c2")
    assert _of(metrics, "headwater_upload_documents_total") == {
        ("Shop", "Items"): 3,
        ("News", "Articles"): 0,
        ("other", "other"): 0,
    }
    assert _of(metrics, "headwater_upload_bytes_total")["Shop", "Items"] == 30
    assert _of(metrics, "headwater_rejected_documents_total")["Shop", "Items"] == 1
    assert _of(metrics, "headwater_uploads_total") == {
        ("Shop", "Items"): 2,
        ("News", "Articles"): 1,
        ("other", "other"): 0,
    }


def test_crawlers_without_labels_of_their_own_are_counted_together(metrics):
    metrics.accepted("c3", docs=3, size=30)
    metrics.accepted("c4", docs=4, size=40)
    assert _of(metrics, "headwater_upload_documents_total")["other", "other"] == 7


def test_what_was_counted_stays_when_other_crawlers_are_labelled(metrics):
    metrics.accepted("c1", docs=3, size=30)
    metrics.label({"c1": ("Shop of Monday", "Items")})
    metrics.accepted("c1", docs=4, size=40)
    found = _of(metrics, "headwater_upload_documents_total")
    assert (found["Shop", "Items"], found["Shop of Monday", "Items"]) == (3, 4)


def test_names_of_any_characters_are_told(metrics):
    metrics.label({"c1": ('A "b"\\\n{c}', "Ü😀")})
    metrics.accepted("c1", docs=3, size=30)
    assert _of(metrics, "headwater_upload_documents_total")['A "b"\\\n{c}', "Ü😀"] == 3
