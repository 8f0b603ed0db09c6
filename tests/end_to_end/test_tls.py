"""A server that speaks TLS itself, and shows a renewed certificate."""

import ssl
import subprocess
import sys
import time

import httpx

from end_to_end.conftest import free_port
from test_tls import make_certificate

#: Seconds for a start, and for a certificate to be read again.
PATIENCE = 60


def _wait(done) -> None:
    until = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < until
        time.sleep(0.2)


def test_answers_come_by_tls_and_a_renewed_certificate_is_shown(tmp_path):
    cert, key = make_certificate(tmp_path, "first")
    trusted = ssl.create_default_context(cafile=cert)
    port = free_port()
    command = [sys.executable, "-m", "headwater", "serve", "--data", tmp_path / "data", "--port", str(port)]
    environment = {"HEADWATER_TLS_CERT": str(cert), "HEADWATER_TLS_KEY": str(key), "PATH": ""}
    with (tmp_path / "log").open("wb") as log:
        served = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=tmp_path)

    def is_ready() -> bool:
        try:
            return httpx.get(f"https://127.0.0.1:{port}/readyz", verify=trusted).is_success
        except httpx.HTTPError:
            assert served.poll() is None, (tmp_path / "log").read_text()
            return False

    try:
        _wait(is_ready)
        first = ssl.get_server_certificate(("127.0.0.1", port))
        assert first.strip() == cert.read_text().strip()
        make_certificate(tmp_path, "second")
        _wait(lambda: ssl.get_server_certificate(("127.0.0.1", port)).strip() == cert.read_text().strip())
    finally:
        served.terminate()
        served.wait(PATIENCE)
