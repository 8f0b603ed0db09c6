"""The run: who has a turn when, and what came of it."""

import os
import re
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.measure import Neighbours
from bench.peers.environment import FOLDER, Environment, prepared
from bench.peers.reviews import reviews
from bench.peers.roster import Peer
from bench.peers.turn import Turn
from examples.packages_crawler.processes import Failed

#: Seconds for which the machine is watched before each round.
_LOOK = 1.0


@dataclass(kw_only=True)
class Outcome:
    """What came of a peer's turns so far."""

    peer: Peer
    #: None until it is known.
    version: str | None = None
    #: Of each turn.
    seconds: list[float] = field(default_factory=list)
    #: Why it has no more turns, in one line.
    failure: str | None = None

    @property
    def median(self) -> float | None:
        """The median of its seconds; None if it failed."""
        return statistics.median(self.seconds) if self.seconds and self.failure is None else None

    @property
    def rate(self) -> float | None:
        """Documents a second."""
        return None if self.median is None else self.peer.docs / self.median

    def ratio(self, headwater: "Outcome") -> float | None:
        """Return how many times as fast Headwater is."""
        ours, theirs = headwater.rate, self.rate
        return ours / theirs if ours and theirs else None

    def is_met(self, headwater: "Outcome") -> bool | None:
        """Whether the goal is reached; None if that cannot be told."""
        ratio = self.ratio(headwater)
        return None if ratio is None else self.peer.goal.is_met_by(ratio)


@dataclass(frozen=True, kw_only=True)
class Run:
    """All outcomes of a run."""

    headwater: Outcome
    others: tuple[Outcome, ...]
    #: Cores that other processes used just before each round.
    busy: tuple[float, ...]


def measured(ours: Peer, peers: Sequence[Peer], *, rounds: int, say: Callable[[str], None]) -> Run:
    """Let each peer have a turn in each round; Headwater has two, the first and the last.

    Raises:
        Failed: Headwater itself did.
    """
    headwater, others = Outcome(peer=ours), tuple(Outcome(peer=peer) for peer in peers)
    environments = {ours.home: Environment(folder=Path(sys.prefix))}
    busy: list[float] = []
    for each in (headwater, *others):
        _install(each, environments, say)
    for number in range(rounds):
        busy.append(_cores_in_use())
        for each in (headwater, *others[:: -1 if number % 2 else 1], headwater):
            if each.failure is None:
                say(f"round {number + 1} of {rounds}: {each.peer.name}")
                _take_turn(each, environments[each.peer.home])
        if headwater.failure is not None:
            raise Failed(headwater.failure)
    return Run(headwater=headwater, others=others, busy=tuple(busy))


def _install(outcome: Outcome, environments: dict[str, Environment], say: Callable[[str], None]) -> None:
    peer = outcome.peer
    try:
        if peer.home not in environments:
            say(f"{peer.home}: preparing its environment, once; some minutes at most")
            environments[peer.home] = prepared(peer.home)
        outcome.version = environments[peer.home].version(peer.distribution)
    except Exception as error:  # noqa: BLE001 - whatever ails a peer, the others go on
        outcome.failure = _one_line(error)


def _take_turn(outcome: Outcome, environment: Environment) -> None:
    peer = outcome.peer
    folder = FOLDER / "turns" / re.sub(r"\W+", "-", peer.name.lower())
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    # Nobody pays for what another has left to be written.
    os.sync()
    try:
        turn = Turn(reviews=reviews(peer.docs), folder=folder, environment=environment)
        outcome.seconds.append(_seconds(peer, turn))
    except Exception as error:  # noqa: BLE001 - likewise
        # What it left, its log with it, may say more.
        outcome.failure = _one_line(error)
    else:
        shutil.rmtree(folder, ignore_errors=True)


def _seconds(peer: Peer, turn: Turn) -> float:
    loaded = peer.load(turn)
    if loaded.held != peer.docs:
        raise Failed(f"it holds {loaded.held:,} of {peer.docs:,} documents")
    return loaded.seconds


def _cores_in_use() -> float:
    neighbours = Neighbours(os.getpid())
    time.sleep(_LOOK)
    return neighbours.cores()


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
