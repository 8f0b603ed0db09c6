"""What versions that change nothing take on disk, once they are folded."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from headwater.domain.ids import new_fid
from headwater.lake.segment import FOLDED, FOLDED_ROW_GROUP_BYTES, SegmentWriter
from headwater.lake.segment_format import FOLDED_SCHEMA
from headwater.lake.store import LocalStore

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
TEXT = 250


@pytest.mark.parametrize(("runs", "ids"), [(100, 300), (8_760, 8)], ids=["some", "a year of hourly ones"])
def test_an_unchanged_version_takes_less_than_a_twentieth_of_its_text(tmp_path, runs, ids):
    store = LocalStore(tmp_path / "lake")
    rng = np.random.default_rng(16)
    tasks = [new_fid(BEGIN + timedelta(hours=run)) for run in range(runs)]
    path = "streams/s/folded/f.parquet"
    writer = SegmentWriter(store, path, staged_as="f", row_group_bytes=FOLDED_ROW_GROUP_BYTES, form=FOLDED)
    texts = rng.bytes(ids * TEXT // 2).hex()
    for number in range(ids):
        text = texts[number * TEXT : (number + 1) * TEXT] + "\n"
        columns = [
            pa.array([f"id-{number:05}"] * runs),
            pa.array(tasks),
            pa.array([text] * runs),
            # Each run brings its documents in another order.
            pa.array(rng.integers(0, 2_000, runs)),
            pa.array(range(1, runs + 1)),
            pa.array(np.full(runs, rng.integers(1 << 62), np.uint64)),
        ]
        batch = pa.record_batch(columns, schema=FOLDED_SCHEMA)
        for start in range(0, runs, FOLDED.most_rows // 2):
            writer.add(batch.slice(start, FOLDED.most_rows // 2), size=TEXT)
    written = writer.finish()
    assert written is not None
    first = ids * TEXT
    assert written.size - first < 0.05 * (ids * runs - ids) * TEXT
