"""One turn of one peer: what it is given."""

from dataclasses import dataclass
from pathlib import Path

from bench.peers.environment import Environment
from bench.peers.reviews import Reviews


@dataclass(frozen=True, kw_only=True)
class Turn:
    """What a peer is given for one load."""

    reviews: Reviews
    #: For its data and its log; empty.
    folder: Path
    environment: Environment

    @property
    def log(self) -> Path:
        """Where the peer writes what it has to say."""
        return self.folder / "peer.log"
