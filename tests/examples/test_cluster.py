"""``make cluster``: three nodes that go on without one of them, and end with Ctrl-C."""

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import psutil

ROOT = Path(__file__).parents[2]
#: Seconds for the demo and all parts to start, on a busy machine.
LONGEST = 280.0


def test_the_demo_runs_on_a_cluster_that_outlives_a_node_and_ends_with_ctrl_c(tmp_path):
    cluster = subprocess.Popen(
        [sys.executable, "-m", "examples.cluster.cluster"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": "/tmp"},  # noqa: S108 - PostgreSQL runs as another user
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    giving_up = threading.Timer(LONGEST, os.killpg, [cluster.pid, signal.SIGINT])
    giving_up.start()
    shown = ""
    try:
        for line in cluster.stdout:
            shown += line
            if "runs until Ctrl-C" in line:
                break
        assert cluster.poll() is None, shown
        assert "The stream is byte for byte what it was." in shown
        url, key = (re.search(f"export HEADWATER_{name}=(.*)", shown)[1] for name in ("URL", "KEY"))
        folder = Path(re.search(r"Data and logs: (\S+)", shown)[1])
        children = psutil.Process(cluster.pid).children(recursive=True)
        nodes = [child for child in children if "serve" in child.cmdline()]
        assert len(nodes) == 3

        nodes[0].kill()
        nodes[0].wait()
        headers = {"Authorization": f"Bearer {key}"}
        # Each connection goes to another node.
        answers = [httpx.get(f"{url}/streams", headers=headers, trust_env=False) for _ in range(6)]
        assert {answer.status_code for answer in answers} == {200}
        streams = answers[0].json()["payload"]
        assert streams
        assert all(answer.json()["payload"] == streams for answer in answers)

        os.killpg(cluster.pid, signal.SIGINT)
        rest, _ = cluster.communicate()
        assert cluster.returncode == 0, rest
        assert "its data are deleted" in rest
        assert not folder.exists()
        assert psutil.wait_procs(children, timeout=10)[1] == []
    finally:
        giving_up.cancel()
        if cluster.poll() is None:
            os.killpg(cluster.pid, signal.SIGINT)
        cluster.wait()
        cluster.stdout.close()
