"""Streams: as objects, and what can be read of them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from headwater_client import parts
from headwater_client.answers import Change, Document, DocumentVersion, Erased, LogEntry, Moved, Removal, Restoration
from headwater_client.objects import Stream
from headwater_client.questions import (
    D,
    Pages,
    Part,
    Pieces,
    Question,
    Ref,
    call,
    fid_of,
    given,
    payload_of,
    reading,
    walk,
)

#: Documents that one answer of a change feed holds, about.
CHANGES = 10_000
#: Seconds that a long poll waits for changes, and how much later its answer may come.
WAIT = 30
LATE = 60.0


class Streams(Part[D]):
    """``hw.streams``."""

    @call
    def create(self, name: str | None = None, *, meta: Mapping[str, Any] | None = None) -> Question[Stream]:
        """Create a stream."""
        body = {"meta": parts.meta_of(name, meta)}
        return Question("POST", "/streams", reading(Stream.read), json=body)

    @call
    def get(self, stream: Ref) -> Question[Stream]:
        """Read a stream."""
        return parts.getting(Stream, "streams", stream)

    @walk
    def list(self, *, name: str | None = None, crawler: Ref | None = None) -> Pages[Stream]:
        """Iterate over streams, newest first."""
        filters = given(name=name, crawler=None if crawler is None else fid_of(crawler))
        return parts.listing(Stream, "streams", filters)

    @call
    def update(self, stream: Ref, fields: Mapping[str, Any], *, if_version: int | None = None) -> Question[Stream]:
        """Merge fields into a stream (RFC 7396: null removes)."""
        return parts.writing(Stream, "PATCH", "streams", stream, fields=fields, if_version=if_version)

    @call
    def replace(self, stream: Ref, fields: Mapping[str, Any], *, if_version: int | None = None) -> Question[Stream]:
        """Overwrite a stream's fields; those that are not given go back to their defaults."""
        return parts.writing(Stream, "PUT", "streams", stream, fields=fields, if_version=if_version)

    @call
    def delete(self, stream: Ref, *, cascade: bool = False) -> Question[None]:
        """Delete a stream; with ``cascade`` its crawler too, and all their documents, for good."""
        return parts.deleting("streams", stream, cascade=cascade)

    @walk
    def docs(
        self,
        stream: Ref,
        *,
        q: str | None = None,
        where: str | Sequence[str] | None = None,
        as_of: int | None = None,
        without: Sequence[Ref] | None = None,
    ) -> Pages[Document]:
        """Iterate over the documents that a stream shows, in id order, all of one version of it."""
        filters = given(q=q, where=where, limit=parts.PAGE, **_view(as_of, without))
        return Pages(f"/streams/{fid_of(stream)}/docs", Document.read, filters)

    @call
    def doc(
        self, stream: Ref, doc_id: str, *, as_of: int | None = None, without: Sequence[Ref] | None = None
    ) -> Question[Document]:
        """Read one document."""
        path = _document(stream, doc_id)
        return Question("GET", path, reading(Document.read), params=_view(as_of, without), is_harmless=True)

    @call
    def history(self, stream: Ref, doc_id: str) -> Question[list[DocumentVersion]]:
        """Return every version of a document that is kept, newest first."""
        path = f"{_document(stream, doc_id)}/history"
        return Question("GET", path, _versions, is_harmless=True)

    @call
    def erase(self, stream: Ref, doc_id: str) -> Question[Erased]:
        """Erase a document for good, in every version; needs a key with the scope ``admin``."""
        return Question("DELETE", _document(stream, doc_id), reading(Erased.read))

    @walk
    def log(self, stream: Ref) -> Pages[LogEntry]:
        """Iterate over a stream's versions, newest first."""
        return Pages(f"/streams/{fid_of(stream)}/log", LogEntry.read, {"limit": parts.PAGE})

    @walk
    def changes(
        self,
        stream: Ref,
        *,
        since: int = 0,
        follow: bool = False,
        as_of: int | None = None,
        without: Sequence[Ref] | None = None,
    ) -> Following:
        """Iterate over what changed after the version ``since``, to the present one; with ``follow`` without end.

        A change with ``op == "version"`` stands behind those that lead to that version: who has applied them keeps
        its ``version`` and goes on from it another time. If a connection breaks, changes after the last such one may
        come twice.
        """
        return Following(fid_of(stream), since, follow=follow, view=_view(as_of, without))

    @walk
    def export(
        self,
        stream: Ref,
        *,
        format: str = "ndjson",  # noqa: A002 - named so on the wire
        columns: str | None = None,
        as_of: int | None = None,
        without: Sequence[Ref] | None = None,
    ) -> Pouring:
        """Iterate over the bytes of all documents as a file: ``ndjson``, ``csv`` or ``parquet``."""
        return Pouring(_export(stream, None, given(format=format, columns=columns, **_view(as_of, without))))

    @call
    def save(
        self,
        stream: Ref,
        path: str | os.PathLike[str],
        *,
        format: str | None = None,  # noqa: A002 - named so on the wire
        columns: str | None = None,
        as_of: int | None = None,
        without: Sequence[Ref] | None = None,
    ) -> Question[Path]:
        """Write all documents to a file, whose name says the format unless ``format`` does; there once it is whole."""
        target = Path(path)
        said = format or target.suffix.lstrip(".").lower()
        known = said if said in {"ndjson", "csv", "parquet"} else "ndjson"
        return _export(stream, target, given(format=format or known, columns=columns, **_view(as_of, without)))

    @call
    def revert(self, stream: Ref, **wanted: Any) -> Question[Moved]:
        """Delete all tasks that a filter means, in one stream version.

        Args:
            stream: whose tasks.
            wanted: ``since``, ``until``, ``external_version``, ``origin``, ``params``, ``tasks``; all must hold.
        """
        return Question("POST", f"/actions/streams/{fid_of(stream)}/revert", reading(Moved.read), json=_filter(wanted))

    @call
    def restore(self, stream: Ref, **wanted: Any) -> Question[Moved]:
        """Put back all deleted tasks that a filter means; beside those of ``revert`` it knows ``stream_version``."""
        return Question("POST", f"/actions/streams/{fid_of(stream)}/restore", reading(Moved.read), json=_filter(wanted))

    @call
    def preview_revert(self, stream: Ref, **wanted: Any) -> Question[Removal]:
        """Count what ``revert`` would do."""
        path = f"/actions/streams/{fid_of(stream)}/revert"
        return Question("POST", path, reading(Removal.read), json=_filter(wanted), params=parts.DRY, is_harmless=True)

    @call
    def preview_restore(self, stream: Ref, **wanted: Any) -> Question[Restoration]:
        """Count what ``restore`` would do."""
        path = f"/actions/streams/{fid_of(stream)}/restore"
        return Question(
            "POST", path, reading(Restoration.read), json=_filter(wanted), params=parts.DRY, is_harmless=True
        )


@dataclass
class Following:
    """The change feed of a stream, answer by answer."""

    stream: str
    #: The version of which all is told.
    version: int
    follow: bool
    view: Mapping[str, Any]
    pieces: Pieces = Pieces.LINES
    question: Question[Any] | None = None

    def __post_init__(self) -> None:
        """Begin with what there is already."""
        self.question = self._after(waits=False)

    def take(self, piece: bytes) -> Iterable[Change]:
        """Return what a line tells."""
        line = json.loads(piece)
        if "last_version" not in line:
            return (Change(op=line["op"], id=line["id"], doc=line["doc"], task=line["task"]),)
        last = line["last_version"]
        is_all = last == self.version
        self.version = last
        if is_all and not self.follow:
            self.question = None
            return ()
        self.question = self._after(waits=is_all)
        return () if is_all else (Change(op="version", version=last),)

    def _after(self, *, waits: bool) -> Question[Any]:
        params = {**self.view, "since": self.version, "limit": CHANGES}
        headers: dict[str, str] = {}
        if waits:
            params["feed"] = "longpoll"
            headers["Prefer"] = f"wait={WAIT}"
        return Question(
            "GET",
            f"/streams/{self.stream}/changes",
            payload_of,
            params=params,
            headers=headers,
            is_harmless=True,
            patience=WAIT + LATE if waits else None,
        )


@dataclass
class Pouring:
    """A file of the server's, piece by piece."""

    question: Question[Any] | None
    pieces: Pieces = Pieces.BYTES

    def take(self, piece: bytes) -> Iterable[bytes]:
        """Return the piece; after the first one, the file is not asked for again."""
        self.question = None
        return (piece,)


def _export(stream: Ref, target: Path | None, params: Mapping[str, Any]) -> Question[Path]:
    part = None if target is None else target.with_name(f".{target.name}.part")

    def there(_answer: httpx.Response) -> Path:
        if part is None or target is None:
            raise TypeError("the file was asked for piece by piece")
        return part.replace(target)

    return Question("GET", f"/streams/{fid_of(stream)}/export", there, params=params, is_harmless=True, into=part)


def _document(stream: Ref, doc_id: str) -> str:
    return f"/streams/{fid_of(stream)}/docs/{quote(doc_id, safe='')}"


def _view(as_of: int | None, without: Sequence[Ref] | None) -> dict[str, Any]:
    return given(as_of=as_of, without=",".join(map(fid_of, without)) if without else None)


def _versions(answer: httpx.Response) -> list[DocumentVersion]:
    return [DocumentVersion.read(version) for version in payload_of(answer)]


def _filter(wanted: Mapping[str, Any]) -> dict[str, Any]:
    texts = {name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in wanted.items()}
    if texts.get("tasks") is not None:
        texts["tasks"] = [fid_of(task) for task in texts["tasks"]]
    return texts
