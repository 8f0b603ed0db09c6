"""What the catalog says of the lake, and whether it agrees with itself: for backups and verification."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import msgspec
from sqlalchemy import ColumnElement, Integer, cast, func, or_, select, true

from headwater.catalog import tables
from headwater.catalog.core.transaction import Transaction
from headwater.domain.stream import FLOORS, inlined_path, is_floor, is_inlined

_segments = tables.segments.c
_streams = tables.streams.c


@dataclass(frozen=True, kw_only=True)
class LakeFile:
    """A file that the catalog names, by one row or several."""

    path: str
    #: Null for files from before digests existed.
    size: int | None
    digest: str | None
    #: Documents of its rows, each row of one task, attempt and layer counted once.
    docs: int
    is_damaged: bool


def of_lake() -> list[ColumnElement[bool]]:
    """Select segments with a file: neither inlined ones nor floors."""
    return [~_segments.path.startswith(inlined_path("")), ~_segments.path.startswith(FLOORS)]


def files(tx: Transaction, *, paths: Collection[str] | None = None) -> list[LakeFile]:
    """Return the files that the catalog names, or those of the paths, by path."""
    layers = (
        select(
            _segments.path,
            func.max(_segments.size).label("size"),
            func.max(_segments.digest).label("digest"),
            func.max(_segments.docs).label("docs"),
            func.count(_segments.damaged_at).label("damaged"),
        )
        .where(true() if paths is None else _segments.path.in_(paths))
        .group_by(_segments.path, _segments.task, _segments.attempt, _segments.layer)
        .subquery()
    )
    found = select(
        layers.c.path,
        func.max(layers.c.size).label("size"),
        func.max(layers.c.digest).label("digest"),
        cast(func.sum(layers.c.docs), Integer).label("docs"),
        (func.sum(layers.c.damaged) > 0).label("is_damaged"),
    )
    rows = tx.execute(found.group_by(layers.c.path).order_by(layers.c.path))
    return [
        LakeFile(path=row.path, size=row.size, digest=row.digest, docs=row.docs, is_damaged=bool(row.is_damaged))
        for row in rows
        if not is_inlined(row.path) and not is_floor(row.path)
    ]


def parts(tx: Transaction, path: str) -> set[int]:
    """Return the parts of a folded file that segments name; what else is in it is of purged segments."""
    return set(tx.execute(select(_segments.part).where(_segments.path == path, _segments.part > 0)).scalars())


def garbage(tx: Transaction) -> set[str]:
    """Return the files that no row names any more, and that are deleted soon."""
    return set(tx.execute(select(tables.garbage.c.path)).scalars())


def id_fields(tx: Transaction, path: str) -> set[str | None]:
    """Return the fields that documents of a file may have their id in: those of all versions of the External."""
    versions = tables.external_versions.c
    found = (
        select(versions.definition)
        .join(tables.tasks, tables.tasks.c.external == versions.external)
        .where(tables.tasks.c.fid.in_(select(_segments.task).where(_segments.path == path)))
    )
    definitions = [msgspec.to_builtins(definition) for definition in tx.execute(found).scalars()]
    return {definition.get("docIdField") or definition.get("doc_id_field") for definition in definitions}


def disagreements(tx: Transaction) -> Iterator[tuple[str, str]]:
    """Yield what in the catalog contradicts itself: the kind of fault, and a sentence."""
    wrong = or_(
        _segments.layer > _streams.top_layer,
        _segments.added_version > _streams.stream_version,
        _segments.removed_version > _streams.stream_version,
        _segments.removed_version < _segments.added_version,  # equal if replayed into a withheld run
    )
    joined = select(_segments.fid, _segments.stream).join(tables.streams, _streams.fid == _segments.stream)
    for row in tx.execute(joined.where(wrong)):
        detail = f"segment {row.fid} of stream {row.stream} has a layer or version beyond its stream's"
        yield "segment-misplaced", detail
    inlined = select(_segments.fid, _segments.path).where(_segments.path.like("inlined/%"))
    for row in tx.execute(inlined.where(_segments.path.not_in(select(tables.inlined.c.path)))):
        yield "rows-missing", f"segment {row.fid} is stored in the catalog as {row.path}, and is not there"
    yield from _gaps(tx)


def _gaps(tx: Transaction) -> Iterator[tuple[str, str]]:
    log = tables.stream_log.c
    seen = select(
        log.stream,
        func.count().label("logged"),
        func.min(log.version).label("first"),
        func.max(log.version).label("last"),
    )
    # The lines of uploads before the readable versions are merged.
    seen = seen.join(tables.streams, _streams.fid == log.stream).where(log.version > _streams.purged_version)
    counted = {row.stream: row for row in tx.execute(seen.group_by(log.stream))}
    wanted = select(_streams.fid, _streams.stream_version)
    for stream in tx.execute(wanted.where(_streams.stream_version > _streams.purged_version)):
        found = counted.get(stream.fid)
        if found is None or found.last != stream.stream_version or found.logged != found.last - found.first + 1:
            detail = f"the log of stream {stream.fid} has gaps before its version {stream.stream_version}"
            yield "versions-missing", detail
