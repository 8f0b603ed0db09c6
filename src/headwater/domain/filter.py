"""Filters on documents: search for words, and comparisons of fields.

A comparison has the form ``field operator value``, such as ``rating>=4``; spaces around its parts are ignored.

The **field** is a path of names with dots between them, ``author.country``. If it begins with a slash it is a JSON
pointer (RFC 6901), for names that contain dots: ``/opening.hours/0``. In both, a number is an index in an array.
The first operator ends the field, so that a field whose name contains an operator is written in double quotes, as
a JSON string: ``"a=b"=4``, ``"/a=b/c"=4``.

The **operators** are ``=``, ``!=``, ``>=``, ``<=``, ``>`` and ``<``.

The **value** is ``null``, ``true``, ``false``, a JSON number, a JSON string in double quotes, or any other
text unquoted. It determines the comparison:

- A number compares with numbers by value, integers exactly and all others as doubles. It also equals a text
  that reads the same: ``zip=12345`` matches 12345 and "12345". In quotes, it compares with texts only.
- A text compares with texts only, by code points: dates in ISO 8601 are in chronological order.
- ``true`` and ``false`` equal themselves, and the texts "true" and "false"; they have no order.
- ``null`` equals a field that is null or absent, and nothing else; it has no order.
- An array matches if one of its elements does, so that ``tags=red`` finds the documents with that tag. Arrays
  and objects inside it are ignored.
- An object, and a field that is null or absent, match no other comparison.
- ``a!=b`` is exactly the negation of ``a=b``: it matches an absent field, too, unless ``b`` is null.
"""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from headwater.domain.errors import Flaw, RequestInvalid
from headwater.domain.schema import cut, json_pointer

#: Maximum number of words in a condition, and of comparisons.
MOST_PARTS = 16
#: Maximum length of a word or a comparison, in characters.
LONGEST_PART = 1000


class Operator(StrEnum):
    """A comparison operator."""

    # The longer operators first: a text is searched for them in this order.
    NE = "!="
    GE = ">="
    LE = "<="
    EQ = "="
    GT = ">"
    LT = "<"


class ValueType(StrEnum):
    """The type of a value, which determines what it compares with."""

    NULL = "null"
    BOOLEAN = "boolean"
    INTEGER = "integer"
    #: A number with a fraction or an exponent.
    FRACTION = "fraction"
    TEXT = "text"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A comparison of a field with a value."""

    #: The field, as a JSON pointer.
    pointer: str
    operator: Operator
    #: The value as text: for comparison with texts, and as a number, ``true``, ``false`` or ``null`` is written.
    value: str
    kind: ValueType


@dataclass(frozen=True, kw_only=True)
class Condition:
    """A filter on documents: all parts must match."""

    #: Words that the document's text contains, ignoring case.
    words: tuple[str, ...] = ()
    comparisons: tuple[Comparison, ...] = ()


_OPERATOR = re.compile("|".join(Operator))
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_POINTER = re.compile(r"(?:/(?:[^~/]|~[01])*)+")
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)")
_NUMBER = re.compile(_INTEGER.pattern + r"(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_LITERALS = {"null": ValueType.NULL, "true": ValueType.BOOLEAN, "false": ValueType.BOOLEAN}
_EQUALITIES = {Operator.EQ, Operator.NE}


def condition_of(q: str | None, where: Sequence[str]) -> Condition | None:
    """Return the condition of all words in ``q`` and all comparisons, or None if there are none.

    Words are separated by white space.

    Raises:
        RequestInvalid: with a flaw for each invalid part.
    """
    words = (q or "").split()
    flaws = [*_word_flaws(words)]
    if len(where) > MOST_PARTS:
        flaws.append(_flaw(f"{len(where)} comparisons are too many: at most {MOST_PARTS} are taken, such as rating>=4"))
    comparisons: list[Comparison] = []
    for text in where[:MOST_PARTS]:
        try:
            comparisons.append(parse_where(text))
        except RequestInvalid as error:
            flaws += error.flaws
    if flaws:
        raise RequestInvalid(flaws[0].message, flaws=flaws)
    return Condition(words=tuple(words), comparisons=tuple(comparisons)) if words or comparisons else None


def scope_of(scope: Sequence[str] | None) -> tuple[Comparison, ...]:
    """Return the comparisons of a scope, all of which must match; none if everything is meant."""
    return tuple(parse_where(text) for text in scope or ())


def parse_where(text: str) -> Comparison:
    """Parse a comparison; its syntax is described at the top of this module.

    Raises:
        RequestInvalid: the syntax is wrong.
    """
    try:
        return _comparison(text)
    except ValueError as error:
        flaw = _flaw(str(error))
        raise RequestInvalid(flaw.message, flaws=[flaw]) from None


def _word_flaws(words: Sequence[str]) -> list[Flaw]:
    faults: list[str] = []
    if len(words) > MOST_PARTS:
        faults.append(f"{len(words)} words are too many: at most {MOST_PARTS} are taken, such as munich weather")
    longest = max(map(len, words), default=0)
    if longest > LONGEST_PART:
        faults.append(f"a word of {longest} characters is too long: at most {LONGEST_PART} are taken, such as weather")
    if any(map(_is_torn, words)):
        faults.append("a word holds half of a surrogate pair, which is no character; write words such as weather")
    return [Flaw(pointer="?q", detail=fault) for fault in faults]


def _flaw(detail: str) -> Flaw:
    return Flaw(pointer="?where", detail=detail)


def _comparison(text: str) -> Comparison:
    if len(text) > LONGEST_PART:
        raise ValueError(
            f"a comparison of {len(text)} characters is too long: at most {LONGEST_PART} are taken, such as rating>=4"
        )
    if _is_torn(text):
        raise ValueError("it holds half of a surrogate pair, which is no character; write one such as name=Zoë")
    text = text.strip()
    quoted = _QUOTED.match(text)
    sign = _OPERATOR.search(text, quoted.end() if quoted else 0)
    if sign is None:
        signs = " ".join(Operator)
        raise ValueError(f"{_quote(text)} has no operator; write a field, one of {signs}, and a value: rating>=4")
    operator = Operator(sign[0])
    pointer = _pointer(text[: sign.start()].strip(), of=text)
    value, kind = _value(text[sign.end() :].strip(), of=text)
    if kind in {ValueType.NULL, ValueType.BOOLEAN} and operator not in _EQUALITIES:
        raise ValueError(
            f"{_quote(text)}: {value} has no order and goes with = and != only, such as active={value}; "
            f'to compare with the text, put it in double quotes: name{operator}"{value}"'
        )
    return Comparison(pointer=pointer, operator=operator, value=value, kind=kind)


def _pointer(field: str, *, of: str) -> str:
    name = field
    if field.startswith('"'):
        name = _string(field)
        if name is None:
            raise ValueError(f'{_quote(of)}: the quoted field is not a JSON string; write it such as "a=b"=4')
    if name.startswith("/"):
        if not _POINTER.fullmatch(name):
            raise ValueError(f"{_quote(of)}: in a JSON pointer ~ is written ~0, and / in a name ~1, such as /a~1b=4")
        return name
    names = name.split(".")
    if not name:
        raise ValueError(f"{_quote(of)} names no field before the operator; write one such as author.country=de")
    if not all(names):
        raise ValueError(
            f"{_quote(of)}: a name beside a dot is empty; write names such as author.country=de, "
            "or a JSON pointer if the dot is part of the name, such as /author.country=de"
        )
    return json_pointer(names)


def _value(text: str, *, of: str) -> tuple[str, ValueType]:
    kind = _LITERALS.get(text, ValueType.TEXT)
    if text.startswith('"'):
        string = _string(text)
        if string is None:
            raise ValueError(f'{_quote(of)}: the quoted value is not a JSON string; write it such as name="a \\"b\\""')
        return string, ValueType.TEXT
    if not text:
        raise ValueError(f'{_quote(of)} has no value; the empty text is written name="", an absent field name=null')
    if text[0] in "=<>":
        raise ValueError(
            f"{_quote(of)}: the value begins with an operator sign; operators are written such as rating>=4, "
            'and such a value in double quotes: name="=4"'
        )
    if _INTEGER.fullmatch(text):
        kind = ValueType.INTEGER
    elif _NUMBER.fullmatch(text):
        kind = ValueType.FRACTION
        if not math.isfinite(float(text)):
            raise ValueError(
                f"{_quote(of)}: the number is out of range; numbers are written such as rating>=4, "
                'and such a text in double quotes: name="1e400"'
            )
    return text, kind


def _string(text: str) -> str | None:
    """Return the value of a JSON string, or None if the text is not one."""
    try:
        string: str = json.loads(text)
    except ValueError:
        return None
    return None if _is_torn(string) else string


def _is_torn(text: str) -> bool:
    """Return whether a text contains half of a surrogate pair, which UTF-8 cannot encode."""
    return any("\ud800" <= sign <= "\udfff" for sign in text)


def _quote(text: str) -> str:
    return cut(json.dumps(text, ensure_ascii=False))
