"""Explains what is wrong with a line that is not JSON, or not an object."""

import json
import math
import re
from contextlib import suppress
from typing import Any, NoReturn, cast

from headwater.domain.errors import Flaw
from headwater.domain.schema import cut, json_pointer

#: What follows the name of the id field: a colon and the id.
_ID = rb'\s*:\s*("(?:[^"\\]|\\.)*"|-?[0-9]+)'

_TOO_DEEP = "it is nested too deeply"
# An escaped backslash or a whole pair is matched first, so that neither looks like half of a pair.
_ESCAPES = re.compile(r"\\u[dD][89abAB]..\\u[dD][c-fC-F]..|(?P<half>\\u[dD][89a-fA-F])|\\.")


def seeming_id(line: bytes, field: str | None) -> str | None:
    """Return the id in a line that is not JSON, if one can be found."""
    names = () if field is None else (json.dumps(field), json.dumps(field, ensure_ascii=False))
    for name in names:
        found = re.search(re.escape(name.encode(errors="replace")) + _ID, line)
        with suppress(ValueError):  # halves of surrogate pairs, and numbers of thousands of digits
            if found is not None:
                return str(json.loads(found[1])).encode().decode()
    return None


def not_an_object(document: Any) -> Flaw:
    """Return the flaw of JSON that is not an object."""
    noun = "an array (send each of its elements on a line of its own)"
    if not isinstance(document, list):
        noun = cut(json.dumps(document, ensure_ascii=False))
    return Flaw(detail=f"a document must be a JSON object, not {noun}", pointer="", keyword="type")


def broken_at(line: bytes, error: Exception) -> tuple[str, int]:
    """Return what is wrong with a line that is not JSON, and at which byte.

    ``error`` is what decoding it raised. The fast decoder does not always give details; the standard library's does,
    so that it decodes the line again.
    """
    try:
        text = line.decode()
        json.loads(text, parse_constant=_no_constant, parse_int=_no_giant)
    except UnicodeDecodeError as fault:
        hint = " (this is gzip: send it with Content-Encoding: gzip)" if line.startswith(b"\x1f\x8b") else ""
        return f"byte 0x{line[fault.start]:02x} is not UTF-8: {fault.reason}{hint}", fault.start
    except json.JSONDecodeError as fault:
        # Its offsets count characters.
        where = f"{fault.msg.removesuffix(' at')} at column {fault.pos + 1}"
        return where + _hint(line), len(line.decode()[: fault.pos].encode())
    except (RecursionError, ValueError) as fault:
        return _TOO_DEEP if isinstance(fault, RecursionError) else str(fault), 0
    if isinstance(error, RecursionError):
        return _TOO_DEEP, 0
    return _undecodable(text, error)


def _undecodable(text: str, error: Exception) -> tuple[str, int]:
    """Return what is wrong with a text that is JSON, but not to the fast decoder, which decides."""
    half = next((escape for escape in _ESCAPES.finditer(text) if escape["half"]), None)
    if half and "range" not in str(error):
        offset = len(text[: half.start()].encode())
        return "a \\u escape names half of a surrogate pair, which is no character", offset
    return _giant(text) or str(error).partition(" - at `")[0], 0


def _hint(line: bytes) -> str:
    """Return a hint for a line that seems to be part of JSON formatted over several lines."""
    begun = line.strip()
    if begun == b"{":
        return " (a document over several lines? Each must stand on a line of its own, as jq -c . has it)"
    if begun[:1] == b"[" and begun[-1:] in {b"[", b"{", b","}:
        return " (an array over several lines? Send its elements, each on a line of its own: jq -c '.[]')"
    return ""


class _Giant(str):
    """A number that is too large for a double."""

    __slots__ = ()


def _giant(text: str) -> str | None:
    """Return an explanation for JSON with a number too large for a double; None if it has none."""

    def number(digits: str) -> float | _Giant:
        return _Giant(digits) if math.isinf(found := float(digits)) else found

    left: list[tuple[list[str | int], Any]] = [([], json.loads(text, parse_float=number))]
    while left:
        path, value = left.pop()
        if isinstance(value, _Giant):
            return f"{json_pointer(path) or 'the value'}: the number {cut(value)} is out of the range of a double"
        if isinstance(value, dict):
            left += [([*path, name], each) for name, each in cast("dict[str, Any]", value).items()]
        elif isinstance(value, list):
            left += [([*path, place], each) for place, each in enumerate(cast("list[Any]", value))]
    return None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON; use null, or leave the field out")


def _no_giant(digits: str) -> int:
    try:
        return int(digits)
    except ValueError as error:
        raise ValueError(f"a number of {len(digits.lstrip('-'))} digits is too long; send it as a string") from error
