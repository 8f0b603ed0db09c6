"""Hints about files that were probably read in the wrong format."""

from __future__ import annotations

import json
import re
from typing import Any, cast

_NAME = re.compile(r"[A-Za-z_]\w*")


def of_wrapped(name: str, line: bytes) -> str:
    """Return a hint about a file's only document, if exactly one of its members is a list of objects; else ""."""
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(document, dict):
        return ""
    lists = {
        member: cast("list[Any]", value)
        for member, value in cast("dict[str, Any]", document).items()
        if isinstance(value, list) and value and all(isinstance(each, dict) for each in cast("list[Any]", value))
    }
    if len(lists) != 1:
        return ""
    ((member, held),) = lists.items()
    path = f".{member}[]" if _NAME.fullmatch(member) else f".[{json.dumps(member)}][]"
    count = f"{len(held):,} objects" if len(held) > 1 else "1 object"
    return (
        f"{name} is one document, whose {member!r} holds {count}; if those are the documents: "
        f"jq -c '{path}' {name} | headwater push CRAWLER -"
    )


def of_first_line(line: bytes) -> str:
    """Return a hint if the first line of a file looks like JSON instead of NDJSON; else ""."""
    start = line.strip()
    if start == b"[" or start.startswith(b"[{"):
        return "this is a JSON array, and each line is to be a document: --format json reads it"
    if start == b"{":
        return "this is JSON over several lines, and each line is to be a document: --format json reads it"
    return ""
