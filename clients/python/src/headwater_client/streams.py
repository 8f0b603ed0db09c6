"""Calls for streams: objects, documents, change feeds, exports, reverts."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from headwater_client import resource
from headwater_client.exports import FORMATS, export_params
from headwater_client.models.objects import Stream
from headwater_client.models.results import (
    Bisected,
    Change,
    Document,
    DocumentVersion,
    Erased,
    LogEntry,
    Moved,
    Plan,
    PreparedExport,
    Removal,
    Restoration,
)
from headwater_client.requests import (
    Call,
    D,
    Pages,
    Pieces,
    Ref,
    Resource,
    document_path,
    endpoint,
    fid_of,
    given,
    paginated,
    payload_of,
    reading,
)

#: Seconds within which an export is prepared.
PREPARED_WITHIN = 3600.0
#: Page size of the change feed.
CHANGES = 10_000
#: Seconds that a long poll waits for changes, and the margin of its timeout.
WAIT = 30
LATE = 60.0


class Streams(Resource[D]):
    """``hw.streams``."""

    @endpoint
    def create(
        self, name: str | None = None, *, meta: Mapping[str, Any] | None = None, undo_days: int | None = None
    ) -> Call[Stream]:
        """Create a stream; its runs can be undone for ``undo_days``, or forever."""
        body = {"meta": resource.meta_of(name, meta), **given(undo_days=undo_days)}
        return Call("POST", "/streams", reading(Stream.read), json=body)

    @endpoint
    def get(self, stream: Ref) -> Call[Stream]:
        """Read a stream."""
        return resource.getting(Stream, "streams", stream)

    @paginated
    def list(self, *, name: str | None = None, fid: str | None = None, crawler: Ref | None = None) -> Pages[Stream]:
        """Iterate over streams, newest first; ``fid`` is the start of one."""
        filters = given(name=name, fid=fid, crawler=None if crawler is None else fid_of(crawler))
        return resource.listing(Stream, "streams", filters)

    @endpoint
    def update(self, stream: Ref, fields: Mapping[str, Any], *, if_version: int | None = None) -> Call[Stream]:
        """Merge fields into a stream (RFC 7396: null removes)."""
        return resource.writing(Stream, "PATCH", "streams", stream, fields=fields, if_version=if_version)

    @endpoint
    def replace(self, stream: Ref, fields: Mapping[str, Any], *, if_version: int | None = None) -> Call[Stream]:
        """Overwrite a stream's fields; omitted fields are reset to their defaults."""
        return resource.writing(Stream, "PUT", "streams", stream, fields=fields, if_version=if_version)

    @endpoint
    def delete(self, stream: Ref, *, cascade: bool = False) -> Call[None]:
        """Delete a stream permanently; with ``cascade`` also its crawler, with all tasks and documents."""
        return resource.deleting("streams", stream, cascade=cascade)

    @paginated
    def docs(
        self,
        stream: Ref,
        *,
        q: str | None = None,
        where: str | Sequence[str] | None = None,
        as_of: int | None = None,
        without: Sequence[Ref] | None = None,
    ) -> Pages[Document]:
        """Iterate over a stream's current documents in id order, all from the same stream version."""
        filters = given(q=q, where=where, limit=resource.PAGE, **_view(as_of, without))
        return Pages(f"/streams/{fid_of(stream)}/docs", Document.read, filters)

    @endpoint
    def doc(
        self, stream: Ref, doc_id: str, *, as_of: int | None = None, without: Sequence[Ref] | None = None
    ) -> Call[Document]:
        """Read one document."""
        path, asked = document_path(stream, doc_id)
        params = {**asked, **_view(as_of, without)}
        return Call("GET", path, reading(Document.read), params=params, is_harmless=True)

    @paginated
    def history(self, stream: Ref, doc_id: str) -> Pages[DocumentVersion]:
        """Iterate over the retained versions of a document, newest first."""
        path, params = document_path(stream, doc_id, "/history")
        return Pages(path, DocumentVersion.read, {**params, "limit": resource.PAGE})

    @endpoint
    def bisect(
        self,
        stream: Ref,
        *,
        q: str | None = None,
        where: str | Sequence[str] | None = None,
        doc_id: str | None = None,
        since: int | None = None,
        limit: int | None = None,
    ) -> Call[Bisected]:
        """Find the runs that brought documents that match, and those that removed them.

        ``preview_revert(stream, tasks=found.to_undo)`` tells what undoing the runs that are to blame would change.
        """
        asked = given(q=q, where=where, id=doc_id, since=since, limit=limit)
        path = f"/streams/{fid_of(stream)}/bisect"
        return Call("GET", path, reading(Bisected.read), params=asked, is_harmless=True)

    @endpoint
    def plan(
        self,
        stream: Ref,
        *,
        as_of: int | None = None,
        without: Sequence[Ref] | None = None,
        ranges: int | None = None,
        warehouse: str | None = None,
    ) -> Call[Plan]:
        """Plan how several machines read a stream at once: ranges of ids, and the files to read for each.

        ``headwater_client.plan_reader`` reads them.
        """
        asked = {**_view(as_of, without), **given(ranges=ranges, warehouse=warehouse)}
        path = f"/streams/{fid_of(stream)}/plan"
        return Call("GET", path, reading(Plan.read), params=asked, is_harmless=True)

    @endpoint
    def erase(self, stream: Ref, doc_id: str) -> Call[Erased]:
        """Permanently erase a document in all its versions; needs a key with the scope ``admin``."""
        path, params = document_path(stream, doc_id)
        return Call("DELETE", path, reading(Erased.read), params=params)

    @paginated
    def log(self, stream: Ref) -> Pages[LogEntry]:
        """Iterate over a stream's versions, newest first."""
        return Pages(f"/streams/{fid_of(stream)}/log", LogEntry.read, {"limit": resource.PAGE})

    @paginated
    def changes(
        self,
        stream: Ref,
        *,
        since: int = 0,
        follow: bool = False,
        as_of: int | None = None,
        without: Sequence[Ref] | None = None,
    ) -> ChangePages:
        """Iterate over the changes since the version ``since`` up to the current one; with ``follow`` without end.

        A change with ``op == "version"`` follows the changes that lead to that version: once they are applied, store
        its ``version`` to resume from it. If a connection breaks, changes after the last such marker may be repeated.
        """
        return ChangePages(fid_of(stream), since, follow=follow, view=_view(as_of, without))

    @paginated
    def export(
        self,
        stream: Ref,
        *,
        format: str = "ndjson",  # noqa: A002 - named so on the wire
        columns: str | None = None,
        as_of: int | None = None,
        without: Sequence[Ref] | None = None,
        **layout: Any,
    ) -> ExportChunks:
        """Export documents as a file, yielded in chunks of bytes: ``ndjson``, ``csv``, ``parquet`` or ``xlsx``.

        Args:
            stream: the stream.
            format: the file format.
            columns: ``infer`` for typed columns of Parquet.
            as_of: a stream version.
            without: tasks to exclude.
            layout: ``q``, ``where`` and ``fields`` select; ``document=False`` omits the document column of Parquet;
                ``defuse`` and ``bom`` are for CSV opened in spreadsheets.
        """
        asked = given(format=format, columns=columns, **_view(as_of, without), **export_params(**layout))
        return ExportChunks(_export(stream, None, asked))

    @endpoint
    def prepare_export(
        self,
        stream: Ref,
        *,
        format: str = "ndjson",  # noqa: A002 - named so on the wire
        columns: str | None = None,
        as_of: int | None = None,
        without: Sequence[Ref] | None = None,
        **layout: Any,
    ) -> Call[PreparedExport]:
        """Write an export to a file on the server, which is kept for a day; takes the arguments of ``export``.

        Tools download it by parts from its ``path``: ``polars.scan_parquet``, DuckDB, browsers.
        """
        asked = given(format=format, columns=columns, **_view(as_of, without), **export_params(**layout))
        path = f"/actions/streams/{fid_of(stream)}/export"
        return Call("POST", path, reading(PreparedExport.read), params=asked, retry_for=PREPARED_WITHIN)

    @endpoint
    def save(
        self,
        stream: Ref,
        path: str | os.PathLike[str],
        *,
        format: str | None = None,  # noqa: A002 - named so on the wire
        columns: str | None = None,
        as_of: int | None = None,
        without: Sequence[Ref] | None = None,
        **layout: Any,
    ) -> Call[Path]:
        """Export documents to a file, which is created atomically. The extension determines the default ``format``.

        Takes the arguments of ``export``.

        Raises:
            ValueError: the extension is of no supported format.
        """
        target = Path(path)
        known = format or FORMATS.get(target.suffix.lower())
        if known is None:
            raise ValueError(f"no format is known by the ending of {target.name}; give format=, such as 'ndjson'")
        asked = given(format=known, columns=columns, **_view(as_of, without), **export_params(**layout))
        return _export(stream, target, asked)

    @endpoint
    def revert(self, stream: Ref, **wanted: Any) -> Call[Moved]:
        """Delete all tasks that match a filter, in one stream version.

        Args:
            stream: the stream.
            wanted: ``since``, ``until``, ``external_version``, ``origin``, ``params``, ``tasks``; all must match.
        """
        return Call("POST", f"/actions/streams/{fid_of(stream)}/revert", reading(Moved.read), json=_filter(wanted))

    @endpoint
    def restore(self, stream: Ref, **wanted: Any) -> Call[Moved]:
        """Restore all deleted tasks that match a filter: that of ``revert``, and also ``stream_version``."""
        return Call("POST", f"/actions/streams/{fid_of(stream)}/restore", reading(Moved.read), json=_filter(wanted))

    @endpoint
    def preview_revert(self, stream: Ref, **wanted: Any) -> Call[Removal]:
        """Return what ``revert`` would change (dry run)."""
        path = f"/actions/streams/{fid_of(stream)}/revert"
        return Call("POST", path, reading(Removal.read), json=_filter(wanted), params=resource.DRY, is_harmless=True)

    @endpoint
    def preview_restore(self, stream: Ref, **wanted: Any) -> Call[Restoration]:
        """Return what ``restore`` would change (dry run)."""
        path = f"/actions/streams/{fid_of(stream)}/restore"
        return Call(
            "POST", path, reading(Restoration.read), json=_filter(wanted), params=resource.DRY, is_harmless=True
        )


@dataclass
class ChangePages:
    """The change feed of a stream, page by page."""

    stream: str
    #: The version up to which all changes were received.
    version: int
    follow: bool
    view: Mapping[str, Any]
    pieces: Pieces = Pieces.LINES
    call: Call[Any] | None = None

    def __post_init__(self) -> None:
        """Prepare the first page."""
        self.call = self._after(waits=False)

    def take(self, piece: bytes) -> Iterable[Change]:
        """Consume a line, and return its change."""
        line = json.loads(piece)
        if "last_version" not in line:
            return (Change(op=line["op"], id=line["id"], doc=line["doc"], task=line["task"]),)
        last = line["last_version"]
        is_all = last == self.version
        self.version = last
        if is_all and not self.follow:
            self.call = None
            return ()
        self.call = self._after(waits=is_all)
        return () if is_all else (Change(op="version", version=last),)

    def _after(self, *, waits: bool) -> Call[Any]:
        params = {**self.view, "since": self.version, "limit": CHANGES}
        headers: dict[str, str] = {}
        if waits:
            params["feed"] = "longpoll"
            headers["Prefer"] = f"wait={WAIT}"
        return Call(
            "GET",
            f"/streams/{self.stream}/changes",
            payload_of,
            params=params,
            headers=headers,
            is_harmless=True,
            retry_for=WAIT + LATE if waits else None,
        )


@dataclass
class ExportChunks:
    """An exported file, chunk by chunk."""

    call: Call[Any] | None
    pieces: Pieces = Pieces.BYTES

    def take(self, piece: bytes) -> Iterable[bytes]:
        """Return the chunk; after the first one, the export is not retried."""
        self.call = None
        return (piece,)


def _export(stream: Ref, target: Path | None, params: Mapping[str, Any]) -> Call[Path]:
    part = None if target is None else target.with_name(f".{target.name}.part")

    def rename(_answer: httpx.Response) -> Path:
        if part is None or target is None:
            raise TypeError("the file was asked for piece by piece")
        return part.replace(target)

    return Call("GET", f"/streams/{fid_of(stream)}/export", rename, params=params, is_harmless=True, into=part)


def _view(as_of: int | None, without: Sequence[Ref] | None) -> dict[str, Any]:
    return given(as_of=as_of, without=",".join(map(fid_of, without)) if without else None)


def _filter(wanted: Mapping[str, Any]) -> dict[str, Any]:
    texts = {name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in wanted.items()}
    if texts.get("tasks") is not None:
        texts["tasks"] = [fid_of(task) for task in texts["tasks"]]
    return texts
