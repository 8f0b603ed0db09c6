"""Object stores that tests start: SeaweedFS as a program, moto as a server of this process.

SeaweedFS comes from PyPI, so that tests need not be left out where it is not installed.
"""

from collections.abc import Generator
from contextlib import contextmanager

from examples.cluster.store import READ_ROLE, S3, make_bucket, seaweedfs, seaweedfs_process

__all__ = ["READ_ROLE", "S3", "moto", "seaweedfs", "seaweedfs_process"]


@contextmanager
def moto() -> Generator[S3]:
    """Run moto's S3 in a thread of this process."""
    from moto.server import ThreadedMotoServer  # noqa: PLC0415 - it imports all of AWS

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        store = S3(endpoint=f"http://{host}:{port}")
        make_bucket(store)
        yield store
    finally:
        server.stop()
