"""Reads a stream with Spark; a program of the engines' environment, not of Headwater's.

``python spark_program.py < question.json`` prints a line of JSON for each of the ``views`` of a question, which are
options of the format ``headwater``: how many rows it read and a digest of them, or the error.
"""
# What is printed is the answer.
# ruff: noqa: T201

import json
import sys
import warnings
from typing import Any

from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from engines.readers import digest
from headwater_client.spark import register

warnings.simplefilter("ignore")


def session(folder: str) -> Any:
    """Return a session of two threads that writes what it does to a folder."""
    settings = {
        "spark.driver.memory": "1g",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": folder,
        "spark.eventLog.compress": "false",
        "spark.local.dir": folder,
        "spark.sql.warehouse.dir": folder,
        "spark.sql.shuffle.partitions": "2",
    }
    builder = SparkSession.builder.master("local[2]")
    for name, value in settings.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


def answer(spark: Any, options: dict[str, str]) -> dict[str, Any]:
    """Return what is read with some options."""
    try:
        frame = spark.read.format("headwater").options(**options).load()
        rows, found = digest(tuple(row) for row in frame.collect())
    except PySparkException as error:
        return {"error": str(error)}
    frame.explain(True)
    by_task = {row["task"]: row["count"] for row in frame.groupBy("task").count().collect()}
    partitions = frame.rdd.getNumPartitions()
    return {"rows": rows, "digest": found, "by_task": by_task, "partitions": partitions}


def main() -> None:
    """Answer the question."""
    asked = json.load(sys.stdin)
    spark = session(asked["folder"])
    register(spark)
    for options in asked["views"]:
        print(json.dumps(answer(spark, options)), flush=True)
    chosen = spark.read.format("headwater").schema("id string").options(**asked["views"][0]).load()
    print(json.dumps({"columns": chosen.columns, "rows": chosen.count()}), flush=True)
    spark.stop()


if __name__ == "__main__":
    main()
