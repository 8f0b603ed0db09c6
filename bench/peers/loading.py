"""What the loader of a peer without HTTP is asked, and what it answers.

Loaders run in the environments of their peers: this module needs nothing but the standard library.
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

#: Where a loader leaves its answer, in the folder of its turn.
ANSWER = "loaded.json"


@dataclass(frozen=True, kw_only=True)
class Load:
    """What is asked of a loader."""

    #: Which of its ways it takes.
    way: str
    #: A file of documents, one a line, or a pattern (``*``) of gzipped files.
    reviews: str
    #: A small file of others, loaded before, elsewhere, and not timed.
    warm_up: str
    #: For whatever it writes; empty.
    folder: str


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """What came of a load."""

    seconds: float
    #: Distinct documents that the peer holds of it, as it says itself.
    held: int


def answer(load: Callable[[Load], Loaded]) -> None:
    """Load what the command line asks for, and leave the answer."""
    asked = Load(**json.loads(sys.argv[1]))
    Path(asked.folder, ANSWER).write_text(json.dumps(asdict(load(asked))))


def seconds(work: Callable[..., Any], *arguments: Any) -> float:
    """Return how long it takes to do something."""
    began = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - began
