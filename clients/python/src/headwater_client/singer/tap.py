"""``tap-headwater``: streams of a server as streams of Singer, incrementally from their change feeds."""

from __future__ import annotations

# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# singer-sdk's annotations name no types of members.
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar, cast

from singer_sdk import Stream, Tap
from singer_sdk.helpers.conform import TypeConformanceLevel

from headwater_client.errors import VersionForgotten
from headwater_client.net_changes import NetChanges
from headwater_client.singer.schemas import DELETED_AT, DOCUMENT, ID, TASK, fields_of, schema_of_records
from headwater_client.singer.settings import connected, settings

if TYPE_CHECKING:
    from headwater_client.headwater import Headwater
    from headwater_client.models.objects import Stream as HeadwaterStream

#: In the state of a stream: its fid, the version up to which it was told, and that of the table (ACTIVATE_VERSION).
STREAM, VERSION, TABLE_VERSION = "stream", "version", "table_version"
_LOG_BASED = "LOG_BASED"


class DocumentsStream(Stream):
    """The documents of a stream of Headwater.

    The first run tells all documents, each later one the net changes since the version in its state; documents that are
    gone, or whose run was deleted, with ``_sdc_deleted_at``. The state advances when a run has told everything.
    """

    TYPE_CONFORMANCE_LEVEL = TypeConformanceLevel.NONE
    primary_keys: ClassVar[Sequence[str]] = (ID,)  # pyright: ignore[reportIncompatibleMethodOverride]

    def __init__(self, tap: Tap, *, headwater: Headwater, stream: HeadwaterStream, name: str) -> None:
        """Tell the documents of ``stream`` by this name."""
        crawler = next(headwater.crawlers.list(stream=stream), None)
        schema = None if crawler is None else headwater.externals.get(crawler.external).schema
        self._fields = fields_of(schema)
        self._headwater, self._of = headwater, stream
        self._is_whole = bool(tap.config.get("whole_documents")) or not self._fields
        super().__init__(tap, schema=schema_of_records(schema, whole=self._is_whole), name=name)

    @property
    def replication_method(self) -> str:
        """Return ``LOG_BASED``, unless the catalog says otherwise."""
        return self.forced_replication_method or _LOG_BASED

    def get_records(self, context: Mapping[str, Any] | None) -> Iterator[dict[str, Any]]:
        """Yield a record for each document that has changed, or all of them."""
        state = cast("dict[str, Any]", self.get_context_state(cast("Any", context)))
        version = self._headwater.streams.get(self._of).stream_version
        since = self._told(state, version)
        lines = None if since is None else self._changes(since, version)
        is_all = lines is None
        if is_all:
            # Targets that know such versions delete what they hold of former ones.
            self._stream_version = self._stream_version or self._initialized_at
            lines = self._everything(version)
        else:
            self._stream_version = state[TABLE_VERSION]
        for line in lines:
            yield self._record(json.loads(line))
        if is_all:
            if self.emit_activate_version_messages:
                self._write_activate_version_message(cast("int", self._stream_version))
            elif since is not None:
                self.logger.warning("stream %s was told anew, and documents that are gone were not", self.name)
        state.clear()
        state.update({STREAM: self._of.fid, VERSION: version, TABLE_VERSION: self._stream_version})

    def _told(self, state: Mapping[str, Any], version: int) -> int | None:
        """Return the version that was told; None if there is none, or it is of another stream."""
        told: int | None = state.get(VERSION)
        if self.replication_method != _LOG_BASED or state.get(STREAM) != self._of.fid or told is None:
            return None
        return told if told <= version else None  # else the server was restored from a backup

    def _changes(self, since: int, until: int) -> Iterator[bytes] | None:
        """Return the lines of the change feed; None if it cannot tell them any more."""
        lines = self._headwater.driver.iterate(NetChanges(stream=self._of.fid, since=since, until=until))
        try:
            first = next(lines, None)
        except VersionForgotten:
            return None
        return iter(()) if first is None else chain([first], lines)

    def _everything(self, version: int) -> Iterator[bytes]:
        if version == 0:
            return
        lines = self._changes(0, version)
        if lines is not None:
            yield from lines
            return
        for document in self._headwater.streams.docs(self._of, as_of=version):
            yield json.dumps({"op": "upsert", "id": document.id, "task": document.task, "doc": document.doc}).encode()

    def _record(self, change: Mapping[str, Any]) -> dict[str, Any]:
        document: Mapping[str, Any] | None = change["doc"] if change["op"] == "upsert" else None
        gone = None if document is not None else datetime.now(UTC).isoformat()
        record: dict[str, Any] = {ID: change["id"], TASK: change["task"], DELETED_AT: gone}
        record |= {name: (document or {}).get(field) for name, field in self._fields.items()}
        return record | ({DOCUMENT: document} if self._is_whole else {})


class TapHeadwater(Tap):
    """Tells the documents of a server's streams."""

    name = "tap-headwater"
    package_name = "headwater-client"
    config_jsonschema: ClassVar[dict[str, Any]] = settings(  # pyright: ignore[reportIncompatibleVariableOverride]
        {
            "streams": {
                "type": "array",
                "items": {"type": "string"},
                "title": "Streams",
                "description": "Names or fids of streams; all unless given",
            },
            "whole_documents": {
                "type": "boolean",
                "default": False,
                "title": "Whole documents",
                "description": "Whether records also have the whole document, as _document; they always have it where "
                "the External's schema names no fields",
            },
            "emit_activate_version_messages": {
                "type": "boolean",
                "default": True,
                "title": "ACTIVATE_VERSION",
                "description": "Whether a stream that is told anew ends with an ACTIVATE_VERSION message, by which "
                "targets delete what is gone",
            },
        }
    )

    def discover_streams(self) -> Sequence[Stream]:
        """Return the streams that the settings name.

        Raises:
            ValueError: there is none of a name.
        """
        headwater = connected(self.config)
        found = list(headwater.streams.list())
        names = Counter(stream.name for stream in found)
        wanted: list[str] | None = self.config.get("streams")
        missing = set(wanted or ()) - {stream.fid for stream in found} - set(names)
        if missing:
            raise ValueError(f"the server has no stream with the name or fid {', '.join(sorted(missing))}")
        return [
            DocumentsStream(
                self,
                headwater=headwater,
                stream=stream,
                # Of several with one name, each is told by its fid.
                name=stream.name if stream.name and names[stream.name] == 1 else f"stream_{stream.fid}",
            )
            for stream in found
            if wanted is None or {stream.name, stream.fid} & {*wanted}
        ]


main = TapHeadwater.cli
