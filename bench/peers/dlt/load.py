"""Merge documents into DuckDB with a dlt pipeline, by their ids.

``documents`` reads them as JSON objects, as any API source of dlt yields them. ``arrow`` gives dlt Arrow batches, which
it does not look into: what its documentation advises for data that have columns already.
"""

import os
from pathlib import Path
from typing import Any

import dlt
import pyarrow as pa
from dlt.sources.filesystem import filesystem, read_jsonl
from pyarrow import json as arrow_json

from bench.peers.loading import Load, Loaded, answer, seconds

#: Documents that the source yields at once.
_CHUNK = 5000
#: Bytes that make an Arrow batch.
_BLOCK = 16 << 20


def load(asked: Load) -> Loaded:
    """Run the pipeline: extract, normalize, load and merge."""
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    pipeline = dlt.pipeline(
        "reviews",
        destination=dlt.destinations.duckdb(str(Path(asked.folder, "reviews.duckdb"))),
        dataset_name="bench",
        pipelines_dir=str(Path(asked.folder, "pipelines")),
    )
    resource = {"documents": _documents, "arrow": _arrow}[asked.way]
    _run(pipeline, resource("warm_up", asked.warm_up))
    taken = seconds(_run, pipeline, resource("reviews", asked.reviews))
    with pipeline.sql_client() as client, client.execute_query("SELECT count(DISTINCT id) FROM reviews") as cursor:
        return Loaded(seconds=taken, held=cursor.fetchall()[0][0])


def _run(pipeline: dlt.Pipeline, resource: Any) -> None:
    # Rows would go as INSERT statements otherwise, three times as slow.
    pipeline.run(resource, loader_file_format="parquet", write_disposition="merge", primary_key="id")


def _documents(name: str, file: str) -> Any:
    path = Path(file)
    files = filesystem(bucket_url=path.parent.as_uri(), file_glob=path.name)
    return (files | read_jsonl(chunksize=_CHUNK)).with_name(name)


def _arrow(name: str, file: str) -> Any:
    # Times stay as they came, as text.
    told = arrow_json.ParseOptions(explicit_schema=pa.schema([("written_at", pa.string())]))
    blocks = arrow_json.open_json(file, arrow_json.ReadOptions(block_size=_BLOCK), told)
    return dlt.resource(blocks, name=name)


if __name__ == "__main__":
    answer(load)
