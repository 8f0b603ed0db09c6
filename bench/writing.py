"""A crawler that does nothing but write: the documents of a file through a TaskWriter, in a process of its own.

``python -m bench.writing FILE ENDPOINT ENCODING`` prints as JSON how long it took, and the memory that writing added.
"""

import json
import resource
import sys
import time
from pathlib import Path

from headwater_client import TaskWriter


def _peak() -> int:
    """Resident bytes, at their highest."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    """Write, and print what came of it."""
    file, endpoint, encoding = sys.argv[1:]
    documents = [json.loads(line) for line in Path(file).read_bytes().splitlines()]
    before, cpu, began = _peak(), time.process_time(), time.perf_counter()
    with TaskWriter(endpoint, compress=encoding == "gzip") as writer:
        writer.write_all(documents)
    seconds = time.perf_counter() - began
    outcome = {
        "seconds": seconds,
        "cpu": time.process_time() - cpu,
        "memory": _peak() - before,
        "written": writer.written,
        "taken": writer.taken,
    }
    sys.stdout.write(json.dumps(outcome))


if __name__ == "__main__":
    main()
