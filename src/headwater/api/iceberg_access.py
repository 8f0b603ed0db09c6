"""How engines reach the files of tables: on the same machine, over HTTP with credentials of an hour, or in the store.

Over HTTP, Headwater answers as a read-only S3: engines know how to read from one, and take its address and credentials
from the catalog. The session token alone decides: it is sealed, and names a stream, an API key and a time. Signatures
are not verified, since a token is as secret as a key is.

Of a lake in an object store, engines can also read the files from there, with credentials of the store.
"""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from cryptography.fernet import InvalidToken
from fastapi import Request

from headwater.api.dependencies import Services
from headwater.catalog.keys import Key
from headwater.catalog.vault import Vault
from headwater.domain.errors import NotFound
from headwater.lake.store import STREAMS, Store
from headwater.lake.store_credentials import StoreReader
from headwater.streams.iceberg import FOLDER, Warehouse

#: Names of the warehouses: files over HTTP, files of the data directory, and files of the object store.
SERVED = "headwater"
LOCAL = "local"
STORE = "store"
WAREHOUSES = (SERVED, LOCAL, STORE)
#: The bucket is the first part of the path at which files are served, and the prefix the second.
BUCKET = "iceberg"
PREFIX = "files"
#: For how long credentials are valid.
VALID_FOR = timedelta(hours=1)
#: The header with the token of credentials.
TOKEN_HEADER = "x-amz-security-token"  # noqa: S105 - the name of it
#: Identifiers that S3 asks for and Headwater ignores.
_REGION = "us-east-1"
_ACCESS_KEY = "headwater"


@dataclass(frozen=True, kw_only=True)
class Grant:
    """What credentials allow: reading the files of a stream."""

    stream: str
    #: The key that asked for them: if it is revoked, they are void.
    key: str
    until: datetime


def warehouse(name: str, store: Store, reader: StoreReader | None) -> Warehouse:
    """Return how a warehouse names files.

    Raises:
        NotFound: it is not there, with this lake.
    """
    if name == STORE:
        if reader is None:
            raise NotFound(
                f"the warehouse {STORE!r} needs a lake in S3 (setting lake_url) and a role that may read it (setting "
                f"lake_read_role); the warehouse {SERVED!r} needs neither"
            )
        url = reader.url
        return Warehouse(
            name=STORE, location=lambda stream: f"{url}/{STREAMS}/{stream}", locate=lambda path: f"{url}/{path}"
        )
    if name == LOCAL:
        if store.is_remote:
            raise NotFound(
                f"there is no warehouse {LOCAL!r} while the lake is in an object store (setting lake_url); use "
                f"{SERVED!r}, or {STORE!r} with the setting lake_read_role"
            )
        root = f"file://{store.root}"
        return Warehouse(
            name=LOCAL,
            location=lambda stream: f"{root}/{FOLDER}/{stream}/{LOCAL}",
            locate=lambda path: f"{root}/{path}",
        )
    # Paths of the lake have the stream in second place.
    return Warehouse(
        name=SERVED,
        location=lambda stream: f"s3://{BUCKET}/{PREFIX}/{stream}",
        locate=lambda path: f"s3://{BUCKET}/{PREFIX}/{path.split('/')[1]}/{path}",
    )


async def properties(stream: str, key: Key, request: Request, services: Services, files: Warehouse) -> dict[str, str]:
    """Return the properties by which an engine reads the files of a stream in a warehouse; none if it needs none.

    Raises:
        Unavailable: the object store gives no credentials.
    """
    if files.name == LOCAL:
        return {}
    at = services.clock()
    if files.name == STORE and services.store_reader is not None:
        return await asyncio.to_thread(credentials_of_store, stream, services.store_reader, at=at)
    return credentials(stream, key, request, public_url=services.public_url, vault=services.vault, at=at)


def credentials(
    stream: str, key: Key, request: Request, *, public_url: str, vault: Vault, at: datetime
) -> dict[str, str]:
    """Return the properties by which an engine reads the files of a stream over HTTP."""
    until = at + VALID_FOR
    token = vault.seal({"iceberg": stream, "key": key.fid, "until": until.timestamp()})
    return {
        # ClickHouse compares locations with it, and needs the slash.
        "s3.endpoint": f"{_address(request, public_url)}/",
        "s3.path-style-access": "true",
        "s3.region": _REGION,
        "client.region": _REGION,
        "s3.access-key-id": _ACCESS_KEY,
        "s3.secret-access-key": _ACCESS_KEY,
        "s3.session-token": token,
        "s3.session-token-expires-at-ms": str(int(until.timestamp() * 1000)),
    }


def credentials_of_store(stream: str, reader: StoreReader, *, at: datetime) -> dict[str, str]:
    """Return the properties by which an engine reads the files of a stream from the object store.

    Raises:
        Unavailable: the store gives no credentials.
    """
    issued = reader.credentials(f"{STREAMS}/{stream}", at=at)
    place = {}
    if issued.endpoint is not None:
        place = {"s3.endpoint": f"{issued.endpoint.rstrip('/')}/", "s3.path-style-access": "true"}
    return place | {
        "s3.region": issued.region,
        "client.region": issued.region,
        "s3.access-key-id": issued.access_key,
        "s3.secret-access-key": issued.secret_key,
        "s3.session-token": issued.session_token,
        "s3.session-token-expires-at-ms": str(int(issued.until.timestamp() * 1000)),
    }


def grant_of(token: str | None, vault: Vault, *, at: datetime) -> Grant | None:
    """Return what credentials allow; None if they are not ours, or have expired."""
    if not token:
        return None
    try:
        found: dict[str, Any] = vault.unseal(token)
        grant = Grant(stream=found["iceberg"], key=found["key"], until=datetime.fromtimestamp(found["until"], UTC))
    except (InvalidToken, ValueError, KeyError, TypeError):
        return None
    return grant if at < grant.until else None


def granted_path(grant: Grant, key: str) -> str | None:
    """Return the path in the lake of an object of the bucket; None if it is no file of the stream that is granted."""
    stream, _, path = key.partition("/")
    parts = path.split("/")
    is_plain = not any(part in {"", ".", ".."} or "\0" in part for part in parts)
    of_stream = stream == grant.stream and parts[:2] in ([STREAMS, stream], [FOLDER, stream])
    return path if is_plain and of_stream else None


def _address(request: Request, public_url: str) -> str:
    """Return the address at which the caller reached Headwater; its scheme may be known to the settings alone."""
    reached = f"{request.url.scheme}://{request.url.netloc}"
    public = urlsplit(public_url)
    return f"{public.scheme}://{public.netloc}" if public.netloc == request.url.netloc else reached
