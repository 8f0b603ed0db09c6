"""Put documents as records of a Kinto collection that has a schema, by way of the batch endpoint."""

import json
import secrets
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path

import httpx

from bench import documents
from bench.peers.loading import Loaded
from bench.peers.postgres import postgres
from bench.peers.posting import Posting, accepted, posted, talking
from bench.peers.reviews import WARM_UP
from bench.peers.turn import Turn
from examples.packages_crawler.processes import Failed, free_ports, running

#: The most that a batch may have, of its own accord and in its advice for production; more is no faster.
_BATCH = 25
#: Two batches for one collection at once fail now and then: no two of its records may be of the same millisecond.
_CONNECTIONS = 1
_COLLECTION = "/buckets/bench/collections/reviews"


def load(turn: Turn) -> Loaded:
    """Start Kinto over a new PostgreSQL, create what records need, and put them."""
    warm_up, bodies = turn.reviews.bodies(_BATCH, _body)
    settings, password, port = turn.folder / "kinto.ini", secrets.token_hex(), free_ports()[0]
    with postgres() as database:
        form = Path(__file__).with_name("kinto.ini").read_text()
        settings.write_text(form.format(database=database, secret=secrets.token_hex()))
        turn.environment.run("kinto", "migrate", "--ini", settings)
        turn.environment.run("kinto", "create-user", "--ini", settings, "--username", "admin", "--password", password)
        command = [turn.environment.program("gunicorn"), "--paste", str(settings), "--bind", f"127.0.0.1:{port}"]
        with (
            running("Kinto", command, log=turn.log) as child,
            talking(port, child, auth=("admin", password)) as client,
        ):
            accepted(client.put("/v1/buckets/bench"))
            accepted(client.put(f"/v1{_COLLECTION}", json={"data": {"schema": documents.SCHEMA}}))
            posting = Posting(path="/v1/batch", connections=_CONNECTIONS, look=_require_all)
            posted(client, posting, warm_up)
            seconds = posted(client, posting, bodies)
            held = int(accepted(client.head(f"/v1{_COLLECTION}/records")).headers["Total-Objects"])
    return Loaded(seconds=seconds, held=held - WARM_UP)


def _body(lines: Sequence[bytes]) -> bytes:
    records = [json.loads(line) for line in lines]
    requests = [{"path": f"{_COLLECTION}/records/{each['id']}", "body": {"data": each}} for each in records]
    return json.dumps({"defaults": {"method": "PUT"}, "requests": requests}).encode()


def _require_all(answer: httpx.Response) -> None:
    for each in answer.json()["responses"]:
        if each["status"] != HTTPStatus.CREATED:
            raise Failed(f"{each['path']} was answered with {each['status']}: {json.dumps(each['body'])[:300]}")
