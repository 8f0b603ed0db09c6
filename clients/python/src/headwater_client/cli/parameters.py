"""Parameters of a crawler: parsed from the command line, or prompted for."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, cast

import typer

from headwater_client.cli.errors import CliError, ExitCode, harmless
from headwater_client.cli.prompts import can_ask

Parameter = Mapping[str, Any]

_INTEGER = re.compile(r"[+-]?\d+")
_BOOLEANS = {"true": True, "yes": True, "y": True, "1": True, "false": False, "no": False, "n": False, "0": False}
_SEVERAL = {"multi_bool", "multi_search"}
_TEXTS = {"string", "password", "location"}


def values(parameters: Sequence[Parameter], said: Sequence[str]) -> dict[str, Any]:
    """Parse ``NAME=VALUE`` arguments into values of the parameters' types.

    Raises:
        CliError: arguments are invalid; lists all of them.
    """
    known = {parameter["name"]: parameter for parameter in parameters}
    found: dict[str, Any] = {}
    wrong: list[str] = []
    for word in said:
        name, equals, text = word.partition("=")
        if not equals:
            wrong.append(f"--param {word}: expected NAME=VALUE")
        elif name not in known:
            wrong.append(f"--param {word}: there is no parameter {name!r}; there is {', '.join(known) or 'none'}")
        else:
            try:
                found[name] = value_of(known[name], text)
            except ValueError as error:
                wrong.append(f"--param {name}: {error}")
    if wrong:
        raise CliError(*wrong, code=ExitCode.USAGE)
    return found


def completed(parameters: Sequence[Parameter], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values, completed by prompts for missing ones.

    Raises:
        CliError: there is no terminal for a prompt, and some are required.
    """
    left = [parameter for parameter in parameters if parameter["name"] not in given]
    if can_ask():
        asked = {parameter["name"]: _ask(parameter) for parameter in left}
        return {**given, **{name: value for name, value in asked.items() if value is not None}}
    missing = [each for each in left if each.get("req") and each.get("default") is None]
    if missing:
        raise CliError(
            *(f"parameter {each['name']!r} is missing: --param {each['name']}={_kind(each)}" for each in missing),
            code=ExitCode.USAGE,
        )
    return dict(given)


def value_of(parameter: Parameter, text: str) -> Any:
    """Parse a text as a value of a parameter's type.

    Raises:
        ValueError: it is invalid; the message is human-readable.
    """
    kind = parameter.get("type", "string")
    value: Any = text
    if kind == "integer":
        if not _INTEGER.fullmatch(text.strip()):
            raise ValueError(f"{text!r} is no integer")
        value = int(text)
    elif kind == "bool":
        if text.strip().lower() not in _BOOLEANS:
            raise ValueError(f"{text!r} is neither true nor false")
        value = _BOOLEANS[text.strip().lower()]
    elif kind in _SEVERAL:
        value = _several(text)
    _check(parameter, value)
    return value


def _several(text: str) -> list[str]:
    if text.lstrip().startswith("["):
        try:
            read: Any = json.loads(text)
        except ValueError:
            raise ValueError(f"{text!r} is no array of texts") from None
        return [str(item) for item in read]
    return [item.strip() for item in text.split(",") if item.strip()]


def _check(parameter: Parameter, value: Any) -> None:
    kind = parameter.get("type", "string")
    options = choices(parameter)
    chosen = value if kind in _SEVERAL else [value]
    if kind in {*_SEVERAL, "list"} and options:
        strangers = [str(item) for item in chosen if item not in options]
        if strangers:
            raise ValueError(f"{', '.join(strangers)}: not one of {', '.join(options)}")
    if kind == "date" and not _is_date(value):
        raise ValueError(f"{value!r} is no date like 2026-01-31 or 2026-01-31T12:00:00Z")
    if kind in {*_TEXTS, *_SEVERAL, "integer"}:
        _check_bounds(
            parameter, value if kind == "integer" else len(value), "" if kind == "integer" else "its length of "
        )
    pattern = parameter.get("regex")
    if kind in _TEXTS and pattern and not _matches(pattern, value):
        raise ValueError(f"it does not match {pattern}")


def _check_bounds(parameter: Parameter, size: int, what: str) -> None:
    least, most = parameter.get("min"), parameter.get("max")
    if least is not None and size < least:
        raise ValueError(f"{what}{size} is less than {least}")
    if most is not None and size > most:
        raise ValueError(f"{what}{size} is more than {most}")


def _matches(pattern: str, value: str) -> bool:
    try:
        return re.search(pattern, value) is not None
    except re.error:
        return True  # of another regex dialect; the server checks it


def _is_date(text: str) -> bool:
    try:
        datetime.fromisoformat(text.upper())
    except ValueError:
        return False
    return True


def choices(parameter: Parameter) -> list[str]:
    """Return the values of a parameter's options."""
    return [each if isinstance(each, str) else str(each["value"]) for each in parameter.get("options") or ()]


def _kind(parameter: Parameter) -> str:
    """Describe the allowed values."""
    kind = str(parameter.get("type", "string"))
    options = choices(parameter)
    if options:
        return "|".join(options) if kind == "list" else f"some of {','.join(options)}"
    bounds = [
        f"{word} {parameter[name]}"
        for name, word in (("min", "from"), ("max", "to"))
        if parameter.get(name) is not None
    ]
    return " ".join([kind, *bounds])


def _ask(parameter: Parameter) -> Any:
    """Prompt until a valid value is given; None if it is optional and left empty."""
    kind = parameter.get("type", "string")
    default: Any = parameter.get("default")
    _explain(parameter)
    name = harmless(str(parameter["name"]))
    shown = _shown(default)
    may_be_nothing = shown is None and not parameter.get("req")
    question = f"{name} ({harmless(_kind(parameter))})" + (", or nothing" if may_be_nothing else "")
    while True:
        text: str = typer.prompt(
            question,
            default=shown or "",
            show_default=shown is not None and kind != "password",
            hide_input=kind == "password",
            err=True,
        )
        if not text:
            if may_be_nothing:
                return None
            typer.echo("A value is required.", err=True)
            continue
        try:
            return value_of(parameter, text)
        except ValueError as error:
            typer.echo(harmless(f"{error}."), err=True)


def _shown(default: Any) -> str | None:
    """Return a default as text for a prompt."""
    if isinstance(default, list):
        return ",".join(map(str, cast("list[Any]", default)))
    if isinstance(default, bool):
        return json.dumps(default)
    return None if default is None else str(default)


def _explain(parameter: Parameter) -> None:
    title = parameter.get("display_name")
    about = parameter.get("description")
    text = ": ".join(str(each) for each in (title, about) if each)
    if text:
        typer.echo(harmless(text), err=True)
    options: list[Any] = list(parameter.get("options") or ())
    for option in options:
        if isinstance(option, dict) and cast("dict[str, Any]", option).get("label"):
            typer.echo(harmless(f"  {option['value']}  {option['label']}"), err=True)
