"""Lets a person edit an object's fields as JSON in their editor."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from headwater_client.cli.errors import CliError, ExitCode
from headwater_client.cli.prompts import can_ask

#: Environment variables that name the editor, and the editor if none is set.
VARIABLES = ("VISUAL", "EDITOR")
DEFAULT = "vi"


def edited(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Open the fields in an editor, and return what was saved.

    Raises:
        CliError: there is no terminal, the editor failed, or what was saved is not a JSON object.
    """
    if not can_ask():
        raise CliError("say what to change by an option, or --patch FILE: there is no terminal", code=ExitCode.USAGE)
    command = next(filter(None, map(os.environ.get, VARIABLES)), DEFAULT)
    with tempfile.TemporaryDirectory(prefix="headwater-") as folder:
        file = Path(folder) / "fields.json"
        file.write_text(json.dumps(fields, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        try:
            ended = subprocess.run([*shlex.split(command), str(file)], check=False).returncode  # noqa: S603 - the user's editor
        except OSError as error:
            raise CliError(f"the editor {command!r} cannot be run: {error.strerror}; EDITOR names another") from error
        if ended:
            raise CliError(f"the editor {command!r} ended with {ended}; nothing was changed")
        return _read(file)


def _read(file: Path) -> dict[str, Any]:
    try:
        saved = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CliError(f"what was saved is not JSON ({error}); nothing was changed", code=ExitCode.USAGE) from error
    if not isinstance(saved, dict):
        raise CliError("what was saved is no JSON object; nothing was changed", code=ExitCode.USAGE)
    return cast("dict[str, Any]", saved)


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Return the merge patch (RFC 7396) from one object to another."""
    patch: dict[str, Any] = {name: None for name in before if name not in after}
    for name, value in after.items():
        old = before.get(name)
        if name in before and old == value:
            continue
        nested = isinstance(old, Mapping) and isinstance(value, Mapping)
        patch[name] = difference(cast("Mapping[str, Any]", old), cast("Mapping[str, Any]", value)) if nested else value
    return patch
