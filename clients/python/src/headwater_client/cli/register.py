"""Registers an External from a file: creates it, updates it, or leaves it unchanged."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from headwater_client.cli.errors import CliError, ExitCode

if TYPE_CHECKING:
    from headwater_client.headwater import Headwater
    from headwater_client.models.objects import External

#: The server's defaults for fields of Externals, parameters, options and restrictions.
_DEFAULTS: dict[str, Any] = {
    "endpoint": None,
    "credential": None,
    "oauth": None,
    "oauthParameters": None,
    "schema": None,
    "docIdField": None,
    "deleteMarker": None,
    "headers": {},
    "parameters": [],
    "analysis": None,
}
_PARAMETER: dict[str, Any] = {
    "display_name": None,
    "description": None,
    "req": False,
    "type": "string",
    "min": None,
    "max": None,
    "regex": None,
    "options": None,
    "default": None,
    "restrictions": [],
}


def described(path: str) -> dict[str, Any]:
    """Read an External's fields from a file.

    Raises:
        CliError: it is not a JSON object with a name.
    """
    fields = read_json(path)
    if not isinstance(fields, dict):
        raise CliError(f"{path} holds no JSON object", code=ExitCode.USAGE)
    found = cast("dict[str, Any]", fields)
    meta = found.get("meta")
    if not isinstance(meta, dict) or not cast("dict[str, Any]", meta).get("name"):
        raise CliError(f"{path} has no meta.name, by which the External is found again", code=ExitCode.USAGE)
    return found


def read_json(path: str) -> Any:
    """Read a JSON file; ``-`` is stdin.

    Raises:
        CliError: it cannot be read, or is not JSON.
    """
    try:
        return json.loads(sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes())
    except OSError as error:
        raise CliError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise CliError(f"{path} is not JSON: {error}", code=ExitCode.USAGE) from error


def registered(headwater: Headwater, fields: Mapping[str, Any]) -> tuple[External, str]:
    """Create or update the External of that name; return it, and what was done.

    Raises:
        CliError: several Externals have that name, or the one that has it would turn from push to a server, or back.
        HeadwaterError: the fields are invalid.
    """
    name = fields["meta"]["name"]
    same = list(islice(headwater.externals.list(name=name), 2))
    if len(same) > 1:
        raise CliError(
            f"several Externals are called {name!r}: rename or delete all but the one that is meant "
            "(headwater externals list)",
            code=ExitCode.USAGE,
        )
    if not same:
        return headwater.externals.create(**fields, unique=True), "is created"
    (present,) = same
    if present.endpoint is None and fields.get("endpoint") is not None:
        raise CliError(
            f"External {present.fid} ({name}) has no server, and scripts upload for it; choose another name, or give "
            f"it the server first: headwater externals edit {present.fid} --endpoint {fields['endpoint']}",
            code=ExitCode.USAGE,
        )
    if present.endpoint is not None and fields.get("endpoint") is None:
        raise CliError(
            f"External {present.fid} ({name}) has a server, {present.endpoint}, which the file does not name; choose "
            f"another name, name the endpoint, or take it away first: headwater externals edit {present.fid} --push",
            code=ExitCode.USAGE,
        )
    wanted = {**fields, "meta": {**present.meta, **fields["meta"]}}
    if _whole(wanted) == _whole({key: value for key, value in present.raw.items() if key in {*_DEFAULTS, "meta"}}):
        return present, "is as the file says already"
    return headwater.externals.replace(present, wanted, if_version=present.version), "is brought up to date"


def _whole(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields completed by the server's defaults."""
    whole = {**_DEFAULTS, **fields}
    if whole["credential"] == "ignore":
        whole["credential"] = None
    if isinstance(whole["parameters"], list):
        whole["parameters"] = [_whole_parameter(each) for each in cast("list[Any]", whole["parameters"])]
    return whole


def _whole_parameter(parameter: Any) -> Any:
    if not isinstance(parameter, dict):
        return parameter
    whole: dict[str, Any] = {**_PARAMETER, **cast("dict[str, Any]", parameter)}
    if whole["type"] == "interger":  # as the protocol's first description spelt it
        whole["type"] = "integer"
    for name, missing in (("options", {"label": None}), ("restrictions", {"message": None})):
        if isinstance(whole[name], list):
            whole[name] = [{**missing, **each} if isinstance(each, dict) else each for each in whole[name]]
    return whole
