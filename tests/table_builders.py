"""Documents on disk, read as tables, and documents that are hard on that."""

from hypothesis import strategies as st

from headwater.domain.segment_table import all_of
from headwater.lake import current
from headwater.lake.engine import Engine
from headwater.lake.store import LocalStore
from headwater.lake.tables import Fields, column, slices
from headwater.lake.tabular import Columns, csv_lines, names_of, texts_of
from lake_builders import write

#: Names that are hard on paths, in JSON pointers and in DuckDB's, and on lists of columns.
HARD_NAMES = ["a", "A", "", "0", "-", "#", "$", "$.a", "$.*", "*", "a.b", "a/b", "/", "~", "~1", 'q"', "'", "\\", "[0]"]
HARD_NAMES += ["\0", "a\0", "a\0b", ",", "\n", "\r", " ", "ü", "😀", "NULL", "doc_id", "$pointers"]
FIELDS = st.sampled_from(HARD_NAMES) | st.text(max_size=3)
BIG = st.sampled_from([2**53 + 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64 - 1, 2**64, 10**400, -(10**400)])
VALUES = (
    st.none()
    | st.booleans()
    | st.integers()
    | BIG
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
    | st.lists(st.integers(), max_size=2)
    | st.dictionaries(FIELDS, st.integers(), max_size=2)
)
DOCUMENTS = st.lists(st.dictionaries(FIELDS, VALUES, max_size=4), min_size=1, max_size=6)
DEEP = "[" * 900 + "]" * 900


class Lake:
    """Documents on disk, in the order of their ids, and what DuckDB says of them."""

    def __init__(self, folder):
        self.store = LocalStore(folder / "lake")
        self.engine = Engine(self.store, memory=500 << 20, spill=folder / "spill", threads=2)
        self.segments = []

    def hold(self, *texts, layer=1):
        """Hold these documents, in another layer than those before."""
        rows = [(f"{place:05}", text + "\n") for place, text in enumerate(texts)]
        self.segments.append(write(self.store, rows, layer=layer))
        return self

    def only(self, *texts):
        """Hold nothing but these documents."""
        self.segments = []
        return self.hold(*texts)

    def batches(self, question, *, after=None, bound=None):
        """Return the answer to a question about the documents."""
        return current.between(self.engine, all_of(self.segments), after=after, bound=bound, question=question)

    def columns(self, *, bounds=()):
        """Return the fields of all documents, asked for in ranges."""
        found = Columns()
        for after, bound in zip([None, *bounds], [*bounds, None], strict=True):
            for batch in self.batches(names_of(), after=after, bound=bound):
                found.add(batch.column("name").to_pylist())
        return found

    def fields(self, *names):
        """Return the fields of all documents, or these, and the shape of each."""
        found = Fields(names)
        for batch in self.batches(texts_of()):
            found.add(batch)
        found.settle()
        return found

    def kinds(self):
        """Return the kind of each field."""
        return {name: shape.kind for name, shape in self.fields().shapes.items()}

    def csv(self, **layout):
        """Return the lines of CSV, without a header."""
        found = self.columns()
        return b"".join(csv_lines(self.engine, found, batch, **layout) for batch in self.batches(texts_of()))

    def table(self):
        """Return the typed fields of each document by name."""
        shapes = self.fields().shapes
        rows = []
        for batch in self.batches(texts_of()):
            for _, documents in slices(batch, len(shapes)):
                columns = [column(shape, [one.get(name) for one in documents]) for name, shape in shapes.items()]
                cells = [one.to_pylist() for one in columns]
                rows += [dict(zip(shapes, row, strict=True)) for row in zip(*cells, strict=True)] or [
                    {} for _ in documents
                ]
        return rows
