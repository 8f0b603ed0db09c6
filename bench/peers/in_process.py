"""Peers without HTTP: their loader, in a process and with the Python of their own."""

import json
import subprocess
from dataclasses import asdict

from bench.peers.loading import ANSWER, Load, Loaded
from bench.peers.turn import Turn
from bench.served import PATIENCE
from examples.packages_crawler.processes import Failed, running


def load(turn: Turn, *, home: str, way: str, gzipped: bool = False) -> Loaded:
    """Run the loader of a peer, with one file of lines or with gzipped files.

    Raises:
        Failed: it did not answer.
    """
    reviews = turn.reviews
    source = reviews.gzipped() / "*.ndjson.gz" if gzipped else reviews.file
    asked = Load(way=way, reviews=str(source), warm_up=str(reviews.warm_up), folder=str(turn.folder))
    command = [turn.environment.program("python"), "-m", f"bench.peers.{home}.load", json.dumps(asdict(asked))]
    with running(home, command, log=turn.log) as child:
        try:
            code = child.process.wait(PATIENCE)
        except subprocess.TimeoutExpired as error:
            raise Failed(f"{home} was still loading after {PATIENCE:g} seconds") from error
    if code:
        words = turn.log.read_text(errors="replace").strip().splitlines() or [f"ended with {code}"]
        raise Failed(words[-1])
    return Loaded(**json.loads((turn.folder / ANSWER).read_text()))
