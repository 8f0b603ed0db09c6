"""The table of a stream: its columns, and its metadata as JSON.

The columns have the field ids of segment files (``lake/segment_format.py``), so that folded files are data files of
the table as they are.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

import pyarrow as pa

from headwater.lake.segment_format import FIELD_IDS

#: The columns of the table, by the names of the columns in segment files.
COLUMNS: Mapping[str, str] = {"doc_id": "id", "task": "task", "doc": "document"}
ID = FIELD_IDS["doc_id"]

SCHEMA: Mapping[str, Any] = {
    "type": "struct",
    "schema-id": 0,
    "fields": [
        {"id": FIELD_IDS[stored], "name": name, "required": True, "type": "string"} for stored, name in COLUMNS.items()
    ],
}
#: For files without field ids.
_NAMES = [{"field-id": FIELD_IDS[stored], "names": [name, stored]} for stored, name in COLUMNS.items()]

#: The schema of the data files that are written for the table alone.
ARROW = pa.schema(
    [
        pa.field(name, pa.string(), nullable=False).with_metadata({"PARQUET:field_id": str(FIELD_IDS[stored])})
        for stored, name in COLUMNS.items()
    ]
)


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A stream version as a snapshot; its id is the version."""

    version: int
    #: When the version began, in milliseconds since 1970.
    at_ms: int
    manifest_list: str
    docs: int
    files: int
    deletes: int
    #: Paths in the lake of the copies that it uses.
    copies: list[str]

    def encoded(self) -> bytes:
        """Return it as JSON."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decoded(cls, text: bytes) -> "Snapshot":
        """Return it from JSON."""
        return cls(**json.loads(text))

    def as_metadata(self) -> dict[str, Any]:
        """Return it as an entry of the table's metadata."""
        return {
            "snapshot-id": self.version,
            "sequence-number": self.version,
            "timestamp-ms": self.at_ms,
            "manifest-list": self.manifest_list,
            "schema-id": 0,
            "summary": {
                "operation": "overwrite",
                "total-records": str(self.docs + self.deletes),
                "total-position-deletes": str(self.deletes),
                "total-equality-deletes": "0",
                "total-data-files": str(self.files),
                "headwater.stream-version": str(self.version),
            },
        }


def metadata(
    stream: str, snapshots: Sequence[Snapshot], *, current: Snapshot | None, location: str, at_ms: int
) -> dict[str, Any]:
    """Return the metadata of a stream's table: ``current`` is what it shows, None for an empty stream."""
    shown = sorted(snapshots, key=lambda one: one.version)
    newest = max([at_ms, *(one.at_ms for one in shown)])
    refs = {} if current is None else {"main": {"snapshot-id": current.version, "type": "branch"}}
    return {
        "format-version": 2,
        "table-uuid": str(UUID(stream)),
        "location": location,
        "last-sequence-number": max((one.version for one in shown), default=0),
        "last-updated-ms": newest,
        "last-column-id": max(FIELD_IDS.values()),
        "schemas": [SCHEMA],
        "current-schema-id": 0,
        "partition-specs": [{"spec-id": 0, "fields": []}],
        "default-spec-id": 0,
        "last-partition-id": 999,
        "sort-orders": [{"order-id": 0, "fields": []}],
        "default-sort-order-id": 0,
        "properties": {"schema.name-mapping.default": json.dumps(_NAMES), "headwater.stream": stream},
        "current-snapshot-id": -1 if current is None else current.version,
        "snapshots": [one.as_metadata() for one in shown],
        "snapshot-log": [] if current is None else [{"snapshot-id": current.version, "timestamp-ms": newest}],
        "metadata-log": [],
        "statistics": [],
        "refs": refs,
    }
