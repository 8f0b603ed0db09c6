"""The run of a crawler that a stream of Singer becomes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from headwater_client.singer.schemas import DELETED_AT, KEY, METADATA, id_field_of, schema_of_documents
from headwater_client.writer import TaskWriter

if TYPE_CHECKING:
    from headwater_client.headwater import Headwater
    from headwater_client.models.objects import Crawler, External, Task

#: In a task's ``meta``: that a target has begun it.
META = "singer"
#: In the detail of a task that ended well: the version of the table that it activated.
ACTIVATED = "activated_version"
#: In a record: the version of its table.
_TABLE_VERSION = "_sdc_table_version"
_DONE, _ENDED_EARLY = 200, 500


class StreamTaken(ValueError):
    """Something else of that name is in the way."""


class Run:
    """One run of the crawler of a stream: its task begins with the first record."""

    def __init__(
        self, headwater: Headwater, name: str, schema: Mapping[str, Any], keys: Sequence[str], *, timeout: int
    ) -> None:
        """Set up External, stream and crawler of that name, for records of this schema and key."""
        self._headwater, self.name = headwater, name
        self._keys = keys
        self._id_field = id_field_of(schema, keys)
        self._crawler = _crawler(headwater, name, schema_of_documents(schema), self._id_field, timeout=timeout)
        self._writer: TaskWriter | None = None
        self._is_snapshot = False
        #: The version that the tap has activated.
        self._activated: int | None = None
        #: Whether the tap has sent no state since the last record.
        self._is_midway = False
        self._has_states = False

    def write(self, record: Mapping[str, Any]) -> None:
        """Write a record, or delete the document of one that is gone; raises as ``TaskWriter.write``."""
        writer = self._writer or self._begin(record.get(_TABLE_VERSION))
        document = {name: value for name, value in record.items() if not name.startswith(METADATA)}
        if self._id_field == KEY:
            document[KEY] = json.dumps([record[key] for key in self._keys], ensure_ascii=False, default=str)
        self._is_midway = True
        if record.get(DELETED_AT) is None:
            writer.write(document)
        elif self._id_field is not None:
            writer.delete(document[self._id_field])

    def activate(self, version: int) -> None:
        """Have the stream show nothing of former versions once the run has ended."""
        if self._writer is None:
            self._begin(version)
        self._activated = version

    def note_state(self) -> None:
        """Note that the tap has told how far it is."""
        self._is_midway, self._has_states = False, True

    def flush(self) -> None:
        """Wait until every record is on the server's disk."""
        if self._writer is not None:
            self._writer.flush()

    def end(self) -> None:
        """Close the task."""
        writer, self._writer = self._writer, None
        if writer is None:
            return
        if self._is_snapshot and (self._activated is None or (self._is_midway and self._has_states)):
            # As a snapshot that ends well, it would hide what the tap has not told yet.
            writer.status(_ENDED_EARLY, "the tap ended before it had told the whole table")
        else:
            writer.status(_DONE, detail=None if self._activated is None else {ACTIVATED: self._activated})

    def fail(self, error: BaseException) -> None:
        """Close the task as failed."""
        if self._writer is not None:
            self._writer.fail(error)

    def change_schema(self, schema: Mapping[str, Any], keys: Sequence[str]) -> None:
        """Go on with records of another schema, in a task of its own.

        Raises:
            StreamTaken: the run is a snapshot, which is one task.
        """
        if self._is_snapshot:
            raise StreamTaken(f"the schema of {self.name} has changed within a full table, which is one run")
        self.end()
        self._keys, self._id_field = keys, id_field_of(schema, keys)
        timeout = self._crawler.timeout
        self._crawler = _crawler(
            self._headwater, self.name, schema_of_documents(schema), self._id_field, timeout=timeout
        )

    def _begin(self, table_version: int | None) -> TaskWriter:
        self._is_snapshot = table_version is not None and table_version != _activated(self._headwater, self._crawler)
        mode = "snapshot" if self._is_snapshot else "merge"
        task = self._headwater.tasks.create(self._crawler, mode=mode)
        if task.already_running:
            self._stop(task)
            task = self._headwater.tasks.create(self._crawler, mode=mode)
        if task.upload is None:
            raise StreamTaken(f"another process has begun task {task.fid} of the crawler {self.name}")
        self._headwater.tasks.update(task, {META: True})
        self._writer = TaskWriter(task.upload.endpoint)
        return self._writer

    def _stop(self, task: Task) -> None:
        """Stop a task that a target has left open when it was killed; what it uploaded stays."""
        if not task.meta.get(META):
            raise StreamTaken(f"task {task.fid} of the crawler {self.name} is open, and was not begun by this target")
        self._headwater.tasks.stop(task)


def _activated(headwater: Headwater, crawler: Crawler) -> int | None:
    """Return the version of the table that the crawler has activated last."""
    for task in headwater.tasks.list(crawler=crawler, state="done"):
        detail: object = task.detail
        if task.removed_at is None and isinstance(detail, Mapping) and ACTIVATED in detail:
            return cast("Mapping[str, int]", detail)[ACTIVATED]
    return None


def _crawler(
    headwater: Headwater, name: str, schema: Mapping[str, Any], id_field: str | None, *, timeout: int
) -> Crawler:
    """Return the crawler of that name, with an External of this schema; what is missing is created."""
    external = _external(headwater, name, schema, id_field)
    crawler = next(headwater.crawlers.list(external=external, name=name), None)
    if crawler is not None:
        return crawler
    stream = next(headwater.streams.list(name=name), None)
    if stream is not None and next(headwater.crawlers.list(stream=stream), None) is not None:
        raise StreamTaken(f"the stream {name} is fed by another crawler; give the setting prefix")
    return headwater.crawlers.create(external, stream or headwater.streams.create(name), name, timeout=timeout)


def _external(headwater: Headwater, name: str, schema: Mapping[str, Any], id_field: str | None) -> External:
    external = next(headwater.externals.list(name=name), None)
    if external is None:
        return headwater.externals.create(name, schema=schema, doc_id_field=id_field, meta={META: True})
    if not external.meta.get(META):
        raise StreamTaken(f"the External {name} was not created by this target; give the setting prefix")
    if external.doc_id_field != id_field:
        raise StreamTaken(
            f"records of {name} now have their id in {id_field}, and had it in {external.doc_id_field}: delete the "
            "stream, or give the setting prefix"
        )
    if external.schema != schema:
        # Taken as a whole: merged (RFC 7396), it would keep fields that are gone.
        return headwater.externals.replace(
            external, {"schema": schema, "doc_id_field": id_field, "meta": external.meta}
        )
    return external
