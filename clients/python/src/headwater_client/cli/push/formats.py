"""Formats of document files."""

from enum import StrEnum


class Format(StrEnum):
    """Formats of document files."""

    NDJSON = "ndjson"
    JSON = "json"
    CSV = "csv"
