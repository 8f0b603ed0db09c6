"""Documents as Arrow tables, with a column for each of their fields."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, cast

import msgspec
import pyarrow as pa

from headwater.lake.shapes import SCALARS, Conversion, Kind, Shape, as_json, read
from headwater.lake.tabular import CELLS, MOST_COLUMNS, Columns

#: Bytes of documents that are parsed at a time: as Python values they are about ten times as large.
SLICE = 4 << 20

_RAW = msgspec.json.Decoder(dict[str, msgspec.Raw])
_TYPES: dict[Kind, pa.DataType] = {
    Kind.INTEGER: pa.int64(),
    Kind.NUMBER: pa.float64(),
    Kind.BOOLEAN: pa.bool_(),
    Kind.TEXT: pa.string(),
    Kind.DATE: pa.date32(),
    Kind.MOMENT: pa.timestamp("us", tz="UTC"),
    Kind.LOCAL: pa.timestamp("us"),
    Kind.JSON: pa.string(),
    Kind.NOTHING: pa.string(),
}


def slices(batch: pa.RecordBatch, columns: int) -> Iterator[tuple[pa.RecordBatch, list[dict[str, Any]]]]:
    """Yield a batch in parts that fit into memory, each with the members of its documents, ``doc``."""
    average = max(1, batch.nbytes // max(1, batch.num_rows))
    rows = max(1, min(CELLS // max(1, columns), SLICE // average))
    for start in range(0, batch.num_rows, rows):
        part = cast("Any", batch).slice(start, rows)
        yield part, [read(text) for text in part.column("doc").to_pylist()]


def named_apart(names: Iterable[str], taken: Iterable[str] = ()) -> list[str]:
    """Return unique column names; ``_`` is appended to a name until it is not taken.

    Names that differ in case only count as equal: they are to DuckDB and Spark.
    """
    known = {name.casefold() for name in taken}
    found: list[str] = []
    for field in names:
        name = field
        # DuckDB would invent a name for an empty one.
        while not name or name.casefold() in known:
            name += "_"
        known.add(name.casefold())
        found.append(name)
    return found


def type_of(shape: Shape) -> pa.DataType:
    """Return the column type for a shape."""
    if shape.item is not None:
        return cast("Any", pa).list_(type_of(shape.item))
    if shape.fields:
        names = named_apart(shape.fields)
        types = map(type_of, shape.fields.values())
        return cast("Any", pa).struct([pa.field(name, type_) for name, type_ in zip(names, types, strict=True)])
    # Parquet has no structs without fields.
    return _TYPES[Kind.JSON if shape.kind is Kind.OBJECT else shape.kind]


def column(shape: Shape, values: Sequence[Any]) -> Any:
    """Return values as a column."""
    converted = values if (way := conversion(shape)) is None else _each(way, values)
    return cast("Any", pa).array(converted, type_of(shape))


def conversion(shape: Shape) -> Conversion:
    """Return the conversion from values of a shape to those of an Arrow column; None if none is needed."""
    if shape.item is not None:
        way = conversion(shape.item)
        return None if way is None else lambda items: _each(way, items)
    if shape.fields:
        return _conversion_of_object(shape)
    return SCALARS[Kind.JSON] if shape.kind is Kind.OBJECT else SCALARS.get(shape.kind)


def _conversion_of_object(shape: Shape) -> Conversion:
    names = named_apart(shape.fields)
    ways = [conversion(field) for field in shape.fields.values()]
    if names == list(shape.fields) and not any(ways):
        return None
    members = list(zip(names, shape.fields, ways, strict=True))

    def converted(value: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, field, way in members:
            one = value.get(field)
            found[name] = one if one is None or way is None else way(one)
        return found

    return converted


def _each(way: Any, values: Iterable[Any]) -> list[Any]:
    return [None if value is None else way(value) for value in values]


class Fields:
    """The top-level fields of documents, and the shape of each."""

    def __init__(self, names: Sequence[str] = ()) -> None:
        """Begin without fields; with names given, ignore all others."""
        self._columns = Columns(names)
        self._is_fixed = bool(names)
        self.shapes = {name: Shape() for name in names}

    def add(self, batch: pa.RecordBatch) -> None:
        """Widen the fields by the documents of a batch, its ``doc``.

        Raises:
            RequestInvalid: there are more fields than a table can have columns.
        """
        for _, documents in slices(batch, len(self.shapes)):
            if not self._is_fixed:
                self._columns.add(list(dict.fromkeys(chain.from_iterable(documents))))
            for name in self._columns.names:
                shape = self.shapes.setdefault(name, Shape())
                shape.widen([document.get(name) for document in documents])

    def settle(self) -> None:
        """Turn nested values into JSON texts if they would be more columns than a table can have."""
        if sum(shape.leaves for shape in self.shapes.values()) > MOST_COLUMNS:
            for shape in self.shapes.values():
                shape.flatten()


def chosen(batch: pa.RecordBatch, fields: Sequence[str]) -> pa.RecordBatch:
    """Return a batch whose documents, ``doc``, have only these fields, in this order, with unchanged values."""
    texts = [_chosen(text, fields) for text in cast("Any", batch).column("doc").to_pylist()]
    columns = [cast("Any", batch).column(name) for name in ("doc_id", "task")]
    return cast("Any", pa).RecordBatch.from_arrays(
        [*columns, pa.array(texts, pa.string())], names=["doc_id", "task", "doc"]
    )


def _chosen(text: str, fields: Sequence[str]) -> str:
    try:
        values = {name: bytes(raw).decode() for name, raw in _RAW.decode(text).items()}
    except (ValueError, RecursionError):
        values = {name: as_json(value) for name, value in read(text).items()}
    return f"{{{','.join(f'{as_json(name)}:{values[name]}' for name in fields if name in values)}}}"
