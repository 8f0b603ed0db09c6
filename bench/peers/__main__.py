"""How fast documents are taken in: Headwater, and what a team would use instead, in the same run.

Run it with ``make bench-peers``, or ``python -m bench.peers``. The first run installs the peers.
"""

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from bench import report
from bench.peers import table
from bench.peers.postgres import postgres_version
from bench.peers.roster import PEERS, Peer, headwater_of
from bench.peers.rounds import measured
from bench.served import end_on_signals
from examples.packages_crawler.processes import Failed


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description="Load Headwater and its peers.")
    # ClickHouse and DuckDB use all cores, and the service has a process for each as well.
    cores = os.cpu_count() or 1
    homes = sorted({peer.home for peer in PEERS})
    parser.add_argument("--only", nargs="+", choices=homes, metavar="NAME", help=f"Headwater and: {', '.join(homes)}")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="so many turns for each (3)")
    parser.add_argument("--workers", type=int, default=cores, metavar="N", help=f"processes of Headwater ({cores})")
    parser.add_argument("--plain", action="store_true", help="send lines that are not gzipped, as the peers read them")
    parser.add_argument("--smaller", type=int, default=1, metavar="TIMES", help="so many times fewer documents")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the numbers")
    return parser.parse_args()


def _smaller(peer: Peer, times: int) -> Peer:
    return replace(peer, docs=max(1, peer.docs // times))


def main() -> int:
    """Measure; return 0 whatever the numbers are, and 1 if Headwater has none."""
    chosen = _arguments()
    end_on_signals()
    console = Console(width=report.WIDTH, highlight=False)
    peers = [_smaller(peer, chosen.smaller) for peer in PEERS if chosen.only is None or peer.home in chosen.only]
    ours = _smaller(headwater_of(chosen.workers, gzipped=not chosen.plain), chosen.smaller)
    try:
        with console.status("") as status:
            run = measured(ours, peers, rounds=chosen.rounds, say=status.update)
    except KeyboardInterrupt:
        return 130
    except Failed as error:
        console.print(f"bench: {error}", style="red", markup=False)
        return 1
    facts = {**report.machine(), "postgres": postgres_version(), "others_used_cores": round(max(run.busy), 2)}
    if chosen.json is not None:
        table.kept(chosen.json, facts, run)
    table.shown(console, facts, run)
    return 0


if __name__ == "__main__":
    sys.exit(main())
