"""Waiting until a server that was started as a process answers."""

import http.client
import subprocess
import time
from contextlib import closing


def wait_until_ready(process: subprocess.Popen, port: int, *, path: str = "/healthz", seconds: float = 60) -> bool:
    """Return whether the server on a port of this machine answers 200 before its process ends or the time is over."""
    # By http.client, not httpx: each call of httpx.get loads the trusted certificates, which costs 100 times as much.
    until = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < until:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)) as connection:
            try:
                connection.request("GET", path)
                if connection.getresponse().status == http.client.OK:
                    return True
            except (OSError, http.client.HTTPException):
                pass
        time.sleep(0.05)
    return False
