"""What files of documents are written in."""

from enum import Enum


class Form(str, Enum):
    """What a file's documents are written in."""

    NDJSON = "ndjson"
    JSON = "json"
    CSV = "csv"
