"""An External as a file describes it: created, brought up to date, or left as it is."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from headwater_client.cli.endings import Code, Refusal

if TYPE_CHECKING:
    from headwater_client.headwater import Headwater
    from headwater_client.objects import External

#: What the server takes a field for that is not said, of an External, of a parameter, of an option, of a restriction.
_DEFAULTS: dict[str, Any] = {
    "endpoint": None,
    "credential": None,
    "oauth": None,
    "oauthParameters": None,
    "schema": None,
    "docIdField": None,
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
    """Return what a file says of an External.

    Raises:
        Refusal: it is no JSON object with a name.
    """
    fields = read_json(path)
    if not isinstance(fields, dict):
        raise Refusal(f"{path} holds no JSON object", code=Code.USAGE)
    found = cast("dict[str, Any]", fields)
    meta = found.get("meta")
    if not isinstance(meta, dict) or not cast("dict[str, Any]", meta).get("name"):
        raise Refusal(f"{path} has no meta.name, by which the External is found again", code=Code.USAGE)
    return found


def read_json(path: str) -> Any:
    """Return what is in a file of JSON; ``-`` is stdin.

    Raises:
        Refusal: it cannot be read, or is no JSON.
    """
    try:
        return json.loads(sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes())
    except OSError as error:
        raise Refusal(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise Refusal(f"{path} is no JSON: {error}", code=Code.USAGE) from error


def registered(headwater: Headwater, fields: Mapping[str, Any]) -> tuple[External, str]:
    """Create an External, or bring the one of that name to these fields; return it, and what was done.

    Raises:
        Refusal: several have that name.
        HeadwaterError: the fields are refused.
    """
    name = fields["meta"]["name"]
    same = list(islice(headwater.externals.list(name=name), 2))
    if len(same) > 1:
        raise Refusal(f"several Externals are called {name!r}", code=Code.USAGE)
    if not same:
        return headwater.externals.create(**fields), "is created"
    (present,) = same
    wanted = {**fields, "meta": {**present.meta, **fields["meta"]}}
    if _whole(wanted) == _whole({key: value for key, value in present.raw.items() if key in {*_DEFAULTS, "meta"}}):
        return present, "is as the file says already"
    return headwater.externals.replace(present, wanted, if_version=present.version), "is brought up to date"


def _whole(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields with what the server takes for granted."""
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
