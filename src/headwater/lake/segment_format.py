"""The file format of segments.

A segment is a Parquet file. Format 2 is written today; files of format 1 have the same first three columns and none of
the rest, and stay readable.

Columns, each with the Parquet field id in brackets:

- ``doc_id`` [1] string: the document's id.
- ``pos`` [2] int64: its position in the upload, from 0; in a merged segment, its position in the concatenated uploads.
- ``doc`` [3] string: the JSON text exactly as it was uploaded, with a trailing LF, so that an NDJSON export is the
  concatenated bytes of this column. Empty in a *deletion*: while it is the current version of its id, the stream shows
  no document of the id.

A folded file holds the documents of many segments, in the order of ``doc_id``, then layer, then ``pos``, and has more
columns:

- ``part`` [4] int64: the number of the segment's documents in the stream; the catalog names a segment by the file and
  this number. The catalog also tells the segment's layer, which may change, and when the segment is visible. A part
  that the catalog does not name is left over from a segment that was purged.
- ``task`` [5] string: the task that wrote the document.
- ``text_hash`` [6] uint64: the lower half of the MD5 digest of ``doc`` (DuckDB's ``md5_number_lower``), so that
  versions can be compared without their texts.

Field ids never change and are never reused for another column, so that a table format such as Iceberg can map them.
Readers find columns by name or field id. A folded file is written with the columns that its stream has as an Iceberg
table first: Daft 0.7 takes a column by its place among those of the table. Older folded files have another order.

Key-value metadata of the footer, all of it text:

- ``headwater.format``: the number of the format, ``2``.
- ``headwater.stream``, ``headwater.task``, ``headwater.attempt``: the origin of the documents. A folded file has no
  task and no attempt.
- ``headwater.external_version``: the version of the External that the attempt ran with; absent if unknown.
- ``headwater.settled_version``: in a folded file, the stream version up to which covered versions were left out.

Every data page has a CRC-32 checksum, for readers that verify it: Arrow does on request, DuckDB does not. A page
checksum covers neither page headers, nor the footer, nor bloom filters, so that the catalog also stores the size of the
file and a digest of all its bytes (``lake/integrity.py``).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import pyarrow as pa

#: The format that is written.
FORMAT = 2

#: The Parquet field id of each column, including folded files.
FIELD_IDS: Mapping[str, int] = {"doc_id": 1, "pos": 2, "doc": 3, "part": 4, "task": 5, "text_hash": 6}

_PREFIX = "headwater."

#: The columns of a segment in memory.
SCHEMA = pa.schema(
    [
        pa.field("doc_id", pa.string(), nullable=False),
        pa.field("pos", pa.int64(), nullable=False),
        pa.field("doc", pa.string(), nullable=False),
    ]
)

#: The columns of a folded file in memory.
FOLDED_SCHEMA = pa.schema(
    [
        pa.field("doc_id", pa.string(), nullable=False),
        pa.field("task", pa.string(), nullable=False),
        pa.field("doc", pa.string(), nullable=False),
        pa.field("pos", pa.int64(), nullable=False),
        pa.field("part", pa.int64(), nullable=False),
        pa.field("text_hash", pa.uint64(), nullable=False),
    ]
)


def with_field_ids(schema: pa.Schema) -> pa.Schema:
    """Return a schema whose columns have the field ids of the format, for writing a file."""
    fields = [field.with_metadata({"PARQUET:field_id": str(FIELD_IDS[field.name])}) for field in cast("Any", schema)]
    return pa.schema(fields)


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The origin of a file's documents, as its footer states it."""

    stream: str
    #: None in a file with documents of several tasks.
    task: str | None = None
    attempt: int | None = None
    #: The version of the External that the attempt ran with; None if unknown.
    external_version: int | None = None
    #: In a folded file: the stream version up to which versions that others cover for good were left out.
    settled_version: int | None = None


def metadata_of(origin: Origin | None) -> dict[str, str]:
    """Return the key-value metadata of a file."""
    stated: dict[str, Any] = {} if origin is None else dict(vars(origin))
    values = {"format": FORMAT} | {name: value for name, value in stated.items() if value is not None}
    return {_PREFIX + name: str(value) for name, value in values.items()}


def format_of(metadata: Mapping[bytes, bytes] | None) -> int:
    """Return the format number of a file, from the key-value metadata of its footer."""
    return int((metadata or {}).get((_PREFIX + "format").encode(), b"1"))


def settled_version_of(metadata: Mapping[bytes, bytes] | None) -> int:
    """Return the stream version up to which a folded file has only the newest of settled versions; 0 if it has all."""
    return int((metadata or {}).get((_PREFIX + "settled_version").encode(), b"0"))
