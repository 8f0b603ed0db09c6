"""A read-only Iceberg REST catalog, in which each stream is a table; and the files of the tables."""

import asyncio
import re
from collections import Counter
from contextlib import ExitStack
from pathlib import Path as FilePath
from typing import Annotated, Any
from xml.sax.saxutils import escape

from fastapi import Depends, Path, Query, Request, Response, status
from pydantic import BaseModel, Field

from headwater.api import iceberg_access, key_limits, routing
from headwater.api.auth import READS, Reader
from headwater.api.dependencies import Services, ServicesOf
from headwater.api.head import file_response, is_head
from headwater.api.openapi import fails
from headwater.catalog import keys, objects
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.keys import Key
from headwater.catalog.objects import STREAMS
from headwater.domain.errors import NotFound
from headwater.domain.ids import is_fid
from headwater.domain.stream import Stream
from headwater.lake.store import Store
from headwater.streams.iceberg import Warehouse as NamedFiles

router = routing.router("iceberg")

#: The only namespace.
NAMESPACE = "streams"
#: A table, and perhaps the version of the stream that it shows.
_VERSIONED = re.compile(r"(.+)@(\d{1,15})")
#: Names that engines take as they are.
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,99}")
#: Streams that are read at a time for a list of all.
_PAGE = 500

_BASE = "/v1/{prefix}/namespaces"
_TABLE = _BASE + "/{namespace}/tables/{table}"
_ENDPOINTS = [
    f"{method} {path}"
    for path in (_BASE, _BASE + "/{namespace}", _BASE + "/{namespace}/tables", _TABLE, _TABLE + "/credentials")
    for method in ("GET", "HEAD")
]

Warehouse = Annotated[
    str,
    Path(
        description="The warehouse, as the configuration says: `headwater`, `local` or `store`.", examples=["headwater"]
    ),
]
Namespace = Annotated[str, Path(description="`streams`, the only one.", examples=[NAMESPACE])]
TableName = Annotated[
    str,
    Path(
        description="The stream's fid, or its `meta.name` if no other stream has it; `{table}@{version}` is an earlier "
        "version of the stream."
    ),
]


async def _whole_list(
    page_token: Annotated[str | None, Query(alias="pageToken", description="Ignored: a list is complete.")] = None,
    page_size: Annotated[int | None, Query(alias="pageSize", description="Ignored: a list is complete.")] = None,
) -> None:
    del page_token, page_size


_WHOLE_LIST = Depends(_whole_list)


class CatalogConfig(BaseModel):
    """The configuration of the catalog."""

    defaults: dict[str, str] = Field(default_factory=dict)
    overrides: dict[str, str]
    endpoints: list[str]


class Namespaces(BaseModel):
    """The namespaces of the catalog."""

    namespaces: list[list[str]]


class NamespaceOut(BaseModel):
    """A namespace."""

    namespace: list[str]
    properties: dict[str, str]


class TableIdentifier(BaseModel):
    """A table's name."""

    namespace: list[str]
    name: str


class Tables(BaseModel):
    """The tables of a namespace."""

    identifiers: list[TableIdentifier]


class StorageCredential(BaseModel):
    """Credentials for the files whose locations begin with a prefix."""

    prefix: str
    config: dict[str, str]


class StorageCredentials(BaseModel):
    """Credentials for the files of a table."""

    storage_credentials: list[StorageCredential] = Field(serialization_alias="storage-credentials")


class LoadedTable(StorageCredentials):
    """A table: its metadata, and how to read its files."""

    metadata_location: str = Field(serialization_alias="metadata-location")
    metadata: dict[str, Any] = Field(description="The metadata of the table, as the Iceberg specification has it.")
    config: dict[str, str]


@router.get("/iceberg/v1/config", dependencies=[READS], responses=fails(404))
async def get_iceberg_config(
    warehouse: Annotated[
        str,
        Query(
            description="`headwater`: engines read files over HTTP, with credentials of an hour. `local`: they read "
            "the files of the data directory, on the same machine. `store`: they read the files of the object store, "
            "with credentials of an hour from there."
        ),
    ] = iceberg_access.SERVED,
) -> CatalogConfig:
    """Read the configuration of the Iceberg catalog.

    The catalog is that of the [Iceberg REST specification](https://iceberg.apache.org/rest-catalog-spec/), read only.
    """
    return CatalogConfig(overrides={"prefix": _warehouse(warehouse)}, endpoints=_ENDPOINTS)


@router.get("/iceberg/v1/{prefix}/namespaces", dependencies=[READS, _WHOLE_LIST], responses=fails(404))
async def list_iceberg_namespaces(
    prefix: Warehouse,
    parent: Annotated[str | None, Query(description="Only the namespaces in this one.")] = None,
) -> Namespaces:
    """List the namespaces of the catalog: `streams`."""
    _warehouse(prefix)
    if parent:
        _require_namespace(parent)
        return Namespaces(namespaces=[])
    return Namespaces(namespaces=[[NAMESPACE]])


@router.get("/iceberg/v1/{prefix}/namespaces/{namespace}", dependencies=[READS], responses=fails(404))
async def get_iceberg_namespace(prefix: Warehouse, namespace: Namespace) -> NamespaceOut:
    """Read a namespace."""
    _warehouse(prefix)
    _require_namespace(namespace)
    return NamespaceOut(namespace=[NAMESPACE], properties={})


@router.get("/iceberg/v1/{prefix}/namespaces/{namespace}/tables", dependencies=[_WHOLE_LIST], responses=fails(404))
async def list_iceberg_tables(
    prefix: Warehouse,
    namespace: Namespace,
    key: Reader,
    services: ServicesOf,
) -> Tables:
    """List the tables: each stream by its `meta.name` if that is an identifier of its own, or else by its fid."""
    _warehouse(prefix)
    _require_namespace(namespace)
    found = await services.db.read(_all_streams, key)
    names = [str(stream.meta.get("name") or "") for stream in found]
    counts = Counter(names)
    names = [
        name if _PLAIN.fullmatch(name) and counts[name] == 1 else stream.fid
        for name, stream in zip(names, found, strict=True)
    ]
    return Tables(identifiers=[TableIdentifier(namespace=[NAMESPACE], name=name) for name in names])


@router.get(
    "/iceberg/v1/{prefix}/namespaces/{namespace}/tables/{table}",
    responses=fails(404, 503, 507),
    response_model=LoadedTable,
)
async def load_iceberg_table(
    prefix: Warehouse,
    namespace: Namespace,
    table: TableName,
    key: Reader,
    services: ServicesOf,
    request: Request,
    snapshots: Annotated[str | None, Query(description="Ignored: all that were asked for are listed.")] = None,
) -> LoadedTable | Response:
    """Load a table: the stream as it is now, or as of a version.

    Each stream version that is asked for becomes a snapshot of the table, whose id is the version. A snapshot is made
    when it is first asked for, which takes as long as reading the ids of the stream.
    """
    del snapshots
    warehouse = iceberg_access.warehouse(_warehouse(prefix), services.store, services.store_reader)
    stream, version = await _stream(services, key, namespace, table)
    if is_head(request.scope):
        return Response(status_code=status.HTTP_204_NO_CONTENT)
    loaded = await services.iceberg_tables.table(stream, version, warehouse)
    granted = await _credentials(services, stream, key, request, warehouse)
    return LoadedTable(
        metadata_location=loaded.metadata_location,
        metadata=loaded.metadata,
        config=granted[0].config if granted else {},
        storage_credentials=granted,
    )


@router.get("/iceberg/v1/{prefix}/namespaces/{namespace}/tables/{table}/credentials", responses=fails(404, 503))
async def load_iceberg_credentials(
    prefix: Warehouse, namespace: Namespace, table: TableName, key: Reader, services: ServicesOf, request: Request
) -> StorageCredentials:
    """Return credentials for the files of a table, valid for an hour."""
    warehouse = iceberg_access.warehouse(_warehouse(prefix), services.store, services.store_reader)
    stream, _ = await _stream(services, key, namespace, table)
    granted = await _credentials(services, stream, key, request, warehouse)
    return StorageCredentials(storage_credentials=granted)


@router.get("/iceberg/files/{key:path}", include_in_schema=False)
async def get_iceberg_file(key: str, services: ServicesOf, request: Request) -> Response:
    """Return a file of a table, whole or by `Range`, as S3 does."""
    at = services.clock()
    grant = iceberg_access.grant_of(request.headers.get(iceberg_access.TOKEN_HEADER), services.vault, at=at)
    if grant is None or not await services.db.read(keys.is_valid, grant.key, at):
        return _s3_error(status.HTTP_403_FORBIDDEN, "ExpiredToken", "the credentials are invalid or have expired")
    path = iceberg_access.granted_path(grant, key)
    if path is None:
        return _s3_error(status.HTTP_403_FORBIDDEN, "AccessDenied", "the credentials are for another stream")
    try:
        return await asyncio.to_thread(_sent, services.store, path, request)
    except FileNotFoundError:
        gone = "there is no such file any more; load the table again"
        return _s3_error(status.HTTP_404_NOT_FOUND, "NoSuchKey", gone)
    except OSError as error:
        why = f"the object store does not answer: {error.strerror or error}"
        return _s3_error(status.HTTP_503_SERVICE_UNAVAILABLE, "ServiceUnavailable", why)


def _sent(store: Store, path: str, request: Request) -> Response:
    """Return the response with a file of the lake, which is held until it is sent.

    Raises:
        OSError: it is missing, or cannot be read.
    """
    headers = {"Cache-Control": "private"}
    with ExitStack() as stack:
        stack.enter_context(store.reading([path]))
        file = FilePath(store.locate(path))
        if not file.is_file():
            raise FileNotFoundError(path)
        release = stack.pop_all().close
    return file_response(request.scope, file, media_type="application/octet-stream", headers=headers, release=release)


def _warehouse(name: str) -> str:
    if name not in iceberg_access.WAREHOUSES:
        raise NotFound(f"there is no warehouse {name!r}; there are {', '.join(iceberg_access.WAREHOUSES)}")
    return name


def _require_namespace(name: str) -> None:
    if name != NAMESPACE:
        raise NotFound(f"there is no namespace {name!r}; the only one is {NAMESPACE}")


async def _stream(services: Services, key: Key, namespace: str, table: str) -> tuple[str, int | None]:
    """Return the stream that a table's name means, and its version."""
    _require_namespace(namespace)
    fid = await services.db.read(_fid_of, key, table)
    version = None
    if fid is None and (named := _VERSIONED.fullmatch(table)):
        fid, version = await services.db.read(_fid_of, key, named[1]), int(named[2])
    if fid is None:
        raise NotFound(f"there is no stream {table!r}, or several have this name; name it by its fid")
    await key_limits.require_object(key, "streams", fid, services.db)
    return fid, version


async def _credentials(
    services: Services, stream: str, key: Key, request: Request, warehouse: NamedFiles
) -> list[StorageCredential]:
    config = await iceberg_access.properties(stream, key, request, services, warehouse)
    return [StorageCredential(prefix=warehouse.location(stream), config=config)] if config else []


def _fid_of(tx: Transaction, key: Key, name: str) -> str | None:
    if is_fid(name):
        found = objects.find(tx, STREAMS, name)
        return None if found is None else found.fid
    named = objects.page(tx, STREAMS, where={"name": name}, after=None, limit=2, within=key_limits.within(key, STREAMS))
    return named[0].fid if len(named) == 1 else None


def _all_streams(tx: Transaction, key: Key) -> list[Stream]:
    found: list[Stream] = []
    while page := objects.page(
        tx,
        STREAMS,
        where={},
        after=found[-1].fid if found else None,
        limit=_PAGE,
        within=key_limits.within(key, STREAMS),
    ):
        found += page
    return found


def _s3_error(code: int, kind: str, message: str) -> Response:
    error = f"<Error><Code>{kind}</Code><Message>{escape(message)}</Message></Error>"
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n{error}'
    return Response(text, code, media_type="application/xml")
