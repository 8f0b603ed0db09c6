"""The table of exchanges that the clients share: read, filled with values, and its steps taken by this client."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from headwater_client import Headwater, HeadwaterError, TaskWriter
from headwater_client.models.objects import Task

FILE = Path(__file__).parents[2] / "exchanges.json"
PLACEHOLDER = re.compile(r"\{(\w+)\}")


def cases() -> list[dict[str, Any]]:
    """Return the cases that Python has the calls for."""
    return [case for case in json.loads(FILE.read_text()) if "python" in case.get("clients", ["python"])]


def replaced(value: Any, change: Callable[[str], str]) -> Any:
    """Return JSON with every text in it changed, names included."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [replaced(member, change) for member in value]
    if isinstance(value, dict):
        return {change(name): replaced(member, change) for name, member in value.items()}
    return value


def filled(value: Any, names: dict[str, str]) -> Any:
    """Return JSON with values in the place of placeholders; those that have none stand for themselves."""
    return replaced(value, lambda text: PLACEHOLDER.sub(lambda found: names.get(found[1], found[1]), text))


def take_steps(steps: list[dict[str, Any]], headwater: Headwater, writer: TaskWriter | None) -> None:
    """Do what a case does, and assert that it comes to what the case says."""
    for step in steps:
        on = {"writer": writer, "headwater": headwater}.get(step["on"]) or getattr(headwater, step["on"])
        call = getattr(on, step["call"])
        args = [_argument(arg) for arg in step.get("args", [])]
        try:
            result = call(*args, **step.get("options", {}))
            result = list(result) if isinstance(result, Iterator) else result
        except HeadwaterError as error:
            assert "raises" in step, error
            expected = dict(step["raises"])
            assert type(error).__name__ == expected.pop("name"), error
            _assert_holds(error, expected)
        else:
            assert "raises" not in step, f"{step} gave {result}"
            if "gives" in step:
                _assert_holds(result, step["gives"])


def _argument(value: Any) -> Any:
    is_task = isinstance(value, dict) and value.get("type") == "tasks"
    return Task.read(value) if is_task else value


def _assert_holds(found: Any, expected: Any) -> None:
    """Assert that what was found holds at least what is expected; of a list, item by item."""
    if isinstance(expected, list):
        assert len(found) == len(expected), found
        for item, wanted in zip(found, expected, strict=True):
            _assert_holds(item, wanted)
        return
    for name, value in expected.items():
        assert getattr(found, name) == value, found
