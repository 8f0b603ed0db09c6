"""Reads streams in PySpark: the extra ``spark``.

::

    register(spark)
    books = spark.read.format("headwater").option("stream", "books").load()

Each range of a plan is a partition, which an executor reads from the files of the stream.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if find_spec("pyspark") is None or find_spec("pyarrow") is None:
    raise ImportError("headwater_client.spark needs pyspark 4 and pyarrow: install headwater-client[spark]")

from pyspark.sql.datasource import (  # pyright: ignore[reportMissingImports] - it is 400 MB
    DataSource,  # pyright: ignore[reportUnknownVariableType]
    DataSourceReader,  # pyright: ignore[reportUnknownVariableType]
    InputPartition,  # pyright: ignore[reportUnknownVariableType]
)

from headwater_client import plan_reader
from headwater_client.headwater import Headwater

if TYPE_CHECKING:
    import pyarrow as pa

#: The environment that options default to.
URL = "HEADWATER_URL"
KEY = "HEADWATER_KEY"

_OPTIONS = ("url", "token", "stream", "as_of", "without", "ranges", "warehouse")
_FID = re.compile(r"[0-9a-f]{32}")


def register(spark: Any) -> None:
    """Make the format ``headwater`` known to a Spark session."""
    spark.dataSource.register(HeadwaterSource)


class HeadwaterSource(DataSource):  # pyright: ignore[reportUntypedBaseClass]
    """The format ``headwater``.

    Options: ``url`` and ``token``, the server and an API key (``HEADWATER_URL`` and ``HEADWATER_KEY``); ``stream``, its
    fid or name; ``as_of``, a stream version; ``without``, tasks, separated by commas; ``ranges``, partitions at most;
    ``warehouse``, how files are read. Spark redacts ``token`` in its logs and plans, by its name.
    """

    def __init__(self, options: Mapping[str, str]) -> None:
        """Look up the stream, so that all that is done with a data frame is done with one version of it."""
        super().__init__(options)  # pyright: ignore[reportUnknownMemberType]
        given = {name.lower(): value for name, value in options.items()}
        strangers = sorted(given.keys() - set(_OPTIONS))
        if strangers:
            raise ValueError(f"there is no option {strangers[0]!r}; there are {', '.join(_OPTIONS)}")
        if not given.get("stream"):
            raise ValueError("which stream: .option('stream', its fid or name)")
        self._url = _given(given, "url", URL)
        self._key = _given(given, "token", KEY)
        self._asked: dict[str, Any] = {
            "without": [task.strip() for task in given.get("without", "").split(",") if task.strip()] or None,
            "ranges": _number(given, "ranges"),
            "warehouse": given.get("warehouse"),
        }
        with Headwater(self._url, self._key) as headwater:
            stream = _stream(headwater, given["stream"])
            as_of = _number(given, "as_of")
            self._stream = stream.fid
            self._asked["as_of"] = stream.stream_version if as_of is None else as_of

    @classmethod
    def name(cls) -> str:
        """Return the name of the format."""
        return "headwater"

    def schema(self) -> str:
        """Return the columns of a data frame, unless some of them are chosen by ``.schema(...)``."""
        return ", ".join(f"{name} string" for name in plan_reader.COLUMNS)

    def reader(self, schema: Any) -> HeadwaterReader:
        """Return what reads the columns of a schema."""
        with Headwater(self._url, self._key) as headwater:
            plan = headwater.streams.plan(self._stream, **self._asked)
        return HeadwaterReader(plan_reader.parts_of(plan), schema.names)


class HeadwaterReader(DataSourceReader):  # pyright: ignore[reportUntypedBaseClass]
    """Reads the ranges of a plan; executors have it without the API key."""

    def __init__(self, parts: Sequence[plan_reader.Part], columns: Sequence[str]) -> None:
        """Read some columns of these parts."""
        strangers = [name for name in columns if name not in plan_reader.COLUMNS]
        if strangers:
            raise ValueError(f"there is no column {strangers[0]!r}; there are {', '.join(plan_reader.COLUMNS)}")
        self._parts = parts
        self._columns = list(columns)

    def partitions(self) -> Sequence[Any]:
        """Return the parts."""
        return [InputPartition(part) for part in self._parts]

    def read(self, partition: Any) -> Iterator[pa.RecordBatch]:
        """Yield the documents of a part."""
        return partition.value.batches(self._columns)

    def __getstate__(self) -> dict[str, Any]:
        """Return what executors need: each gets its part beside it."""
        return {"_parts": [], "_columns": self._columns}


def _given(options: Mapping[str, str], name: str, variable: str) -> str:
    value = options.get(name) or os.environ.get(variable)
    if not value:
        raise ValueError(f"set the option {name!r}, or {variable} in the environment of the driver before Spark starts")
    return value


def _number(options: Mapping[str, str], name: str) -> int | None:
    value = options.get(name)
    if value is None:
        return None
    try:
        return int(value)
    except ValueError:
        raise ValueError(f"the option {name!r} is a number, and not {value!r}") from None


def _stream(headwater: Headwater, named: str) -> Any:
    """Return the stream of a fid, or the only one of a name."""
    if _FID.fullmatch(named):
        return headwater.streams.get(named)
    found = list(headwater.streams.list(name=named))
    if len(found) != 1:
        why = "several streams have" if found else "no stream has"
        raise ValueError(f"{why} the name {named!r}; give its fid, 32 hex digits")
    return found[0]
