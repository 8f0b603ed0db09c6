"""Post documents to the first service, as lists."""

from collections.abc import Sequence

from bench.peers.loading import Loaded
from bench.peers.postgres import postgres
from bench.peers.posting import Posting, accepted, posted, talking
from bench.peers.reviews import WARM_UP
from bench.peers.turn import Turn
from examples.packages_crawler.processes import free_ports, running

_BATCH = 1000
_CONNECTIONS = 4
#: Processes: as many as the goals are made for have cores.
_WORKERS = 2


def load_sqlite(turn: Turn) -> Loaded:
    """Let it keep them in a SQLite file."""
    return _load(turn, f"sqlite:///{(turn.folder / 'documents.sqlite').resolve()}")


def load_postgres(turn: Turn) -> Loaded:
    """Let it keep them in PostgreSQL."""
    with postgres() as url:
        return _load(turn, url.replace("postgresql:", "postgresql+psycopg:", 1))


def _load(turn: Turn, database: str) -> Loaded:
    warm_up, bodies = turn.reviews.bodies(_BATCH, _body)
    settings = turn.folder / "service.env"
    settings.write_text(f"DATABASE_URL={database}\n")
    # Before anything is served: two workers would both create it.
    turn.environment.run("python", "-m", "bench.peers.first_service.tables", database)
    port = free_ports()[0]
    command = [turn.environment.program("uvicorn"), "bench.peers.first_service.service:app"]
    options = ["--env-file", str(settings), "--port", str(port), "--workers", str(_WORKERS), "--no-access-log"]
    with running("the service", [*command, *options], log=turn.log) as child, talking(port, child) as client:
        posting = Posting(path="/documents", connections=_CONNECTIONS)
        posted(client, posting, warm_up)
        seconds = posted(client, posting, bodies)
        held = accepted(client.get("/documents/count")).json()
    return Loaded(seconds=seconds, held=held - WARM_UP)


def _body(lines: Sequence[bytes]) -> bytes:
    return b"[%b]" % b",".join(lines)
