"""Headwater: a task of uploads, beginning with its creation and over when the stream shows it."""

import time
from collections.abc import Mapping
from http import HTTPStatus

from bench import documents
from bench.peers.loading import Loaded
from bench.peers.posting import Posting, posted
from bench.peers.reviews import UPLOAD, WARM_UP, compressed
from bench.peers.turn import Turn
from bench.served import Served, serving

_CONNECTIONS = 4
_HEADERS = {"Content-Type": "application/x-ndjson"}


def load(turn: Turn, *, workers: int = 1, gzipped: bool = True) -> Loaded:
    """Upload the documents to a new Headwater of so many processes."""
    warm_up, bodies = turn.reviews.bodies(UPLOAD, compressed if gzipped else b"\n".join)
    headers = _HEADERS | ({"Content-Encoding": "gzip"} if gzipped else {})
    # Said only if it is asked for: the other is what an operator gets.
    options = () if workers == 1 else ("--workers", str(workers))
    with serving(turn.folder / "headwater-data", log=turn.log, options=options) as served:
        stream, crawler = _set_up(served)
        _run(served, crawler, warm_up, headers)
        began = time.perf_counter()
        _run(served, crawler, bodies, headers)
        seconds = time.perf_counter() - began
        return Loaded(seconds=seconds, held=served.wait_until_counted(stream) - WARM_UP)


def _set_up(served: Served) -> tuple[str, str]:
    """Create stream, External and crawler; return the fids of stream and crawler."""
    created = HTTPStatus.CREATED
    stream = served.call("POST", "/streams", json={"meta": {"name": "reviews"}}, expect=created)["fid"]
    definition = {"meta": {"name": "reviews"}, "docIdField": "id", "schema": documents.SCHEMA}
    external = served.call("POST", "/externals", json=definition, expect=created)["fid"]
    body = {"meta": {"name": "reviews", "links": [{"from": {"type": "streams", "fid": stream}}]}}
    path = f"/actions/externals/{external}/crawler"
    return stream, served.call("POST", path, json=body, expect=created)["fid"]


def _run(served: Served, crawler: str, bodies: list[bytes], headers: Mapping[str, str]) -> None:
    task = served.call("POST", f"/actions/crawlers/{crawler}/task", expect=HTTPStatus.CREATED)["fid"]
    path = f"/actions/tasks/{task}/upload"
    posted(served.client, Posting(path=path, headers=headers, connections=_CONNECTIONS), bodies)
    served.call("POST", f"/actions/tasks/{task}/status", json={"code": HTTPStatus.OK})
