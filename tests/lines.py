"""Lines of JSON for the scanner."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from headwater.ingest.scanner.compiler import plan_of
from headwater.ingest.scanner.library import scan


def scanned(lines: Sequence[bytes], schema: Any = None, *, field: str = "id") -> list[str | None]:
    """The id of each line that the scanner takes; None for those that it does not."""
    offsets = np.cumsum([0, *(len(line) + 1 for line in lines)], dtype=np.int32)
    data = b"".join(line + b"\n" for line in lines)
    ids, missed = scan(plan_of(schema, field=field), data, offsets)
    missing = set(missed)
    return [None if place in missing else doc_id for place, doc_id in enumerate(ids.to_pylist())]
