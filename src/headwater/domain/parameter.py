"""The parameters of an External: their definition, and the validation of values."""

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from operator import eq, ge, gt, le, lt
from typing import Any, ClassVar

from headwater.domain.errors import Flaw, ParametersInvalid, SchemaInvalid
from headwater.domain.regex_cost import regex_cost
from headwater.domain.schema import Validator, compile_schema, cut, json_pointer


class ParameterType(StrEnum):
    """The type of a parameter's value."""

    STRING = "string"
    PASSWORD = "password"  # noqa: S105 - the name of a type
    BOOL = "bool"
    DATE = "date"
    LOCATION = "location"
    MULTI_BOOL = "multi_bool"
    LIST = "list"
    MULTI_SEARCH = "multi_search"
    INTEGER = "integer"

    @classmethod
    def _missing_(cls, value: object) -> "ParameterType | None":
        # The protocol's first description had this typo, and Externals were written by it.
        return cls.INTEGER if value == "interger" else None


class Rule(StrEnum):
    """How a parameter's value must compare to another's."""

    GT = "gt"
    GTE = "gte"
    LT = "lt"
    LTE = "lte"
    EQ = "eq"


_COMPARE: dict[Rule, Callable[[Any, Any], bool]] = {Rule.GT: gt, Rule.GTE: ge, Rule.LT: lt, Rule.LTE: le, Rule.EQ: eq}
_WORDS = {Rule.GT: "more than", Rule.GTE: "at least", Rule.LT: "less than", Rule.LTE: "at most", Rule.EQ: "equal to"}
_TEXTS = {ParameterType.STRING, ParameterType.PASSWORD, ParameterType.LOCATION}
_CHOICES = {ParameterType.MULTI_BOOL, ParameterType.MULTI_SEARCH}
_NEEDS_OPTIONS = {ParameterType.LIST, ParameterType.MULTI_SEARCH}
#: Maximum total states of an External's regular expressions, so that they are compiled quickly.
_MOST_OF_REGEXES = 20_000
#: Maximum length of a text that is matched by an expression of more than linear time.
_LONGEST_FOR_BACKTRACKING = 1000
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d(?:[Tt ]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d))?")


@dataclass(frozen=True, kw_only=True)
class Option:
    """One of a parameter's options."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    value: str
    #: Its display text.
    label: str | None = None


@dataclass(frozen=True, kw_only=True)
class Restriction:
    """A condition on a parameter's value and another's; checked if both are given."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    rule: Rule
    #: The name of the other parameter.
    target: str
    #: The error message.
    message: str | None = None


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One parameter of an External."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    name: str
    display_name: str | None = None
    description: str | None = None
    #: Whether a value is required.
    req: bool = False
    type: ParameterType = ParameterType.STRING
    #: Minimum value (integer), length (texts) or number of choices (multi_…).
    min: int | float | None = None
    #: Maximum value, length or number of choices.
    max: int | float | None = None
    #: A regular expression that a text must match somewhere, as JSON Schema's ``pattern``.
    regex: str | None = None
    #: The values to choose from; for ``list``, ``multi_search`` and ``multi_bool``.
    options: tuple[str | Option, ...] | None = None
    #: The default value.
    default: Any = None
    restrictions: tuple[Restriction, ...] = ()

    @property
    def choices(self) -> list[str]:
        """The values of its options."""
        return [option if isinstance(option, str) else option.value for option in self.options or ()]

    @property
    def pattern(self) -> Validator | None:
        """Its ``regex``, compiled.

        Raises:
            SchemaInvalid: it is not a valid regular expression.
        """
        return None if self.regex is None else compile_schema({"pattern": self.regex}, at="")

    def faults(self, value: Any) -> Iterator[str]:
        """Yield the errors of a value, as sentences about it."""
        yield from self._type_faults(value) or self._value_faults(value)

    def _type_faults(self, value: Any) -> list[str]:
        expected = {
            ParameterType.BOOL: ("a boolean", lambda: isinstance(value, bool)),
            ParameterType.INTEGER: ("an integer", lambda: isinstance(value, int) and not isinstance(value, bool)),
            ParameterType.DATE: ("an RFC 3339 date or date-time", lambda: moment(value) is not None),
            ParameterType.MULTI_BOOL: ("an array of option values", lambda: _is_strings(value)),
            ParameterType.MULTI_SEARCH: ("an array of option values", lambda: _is_strings(value)),
        }
        noun, holds = expected.get(self.type, ("a string", lambda: isinstance(value, str)))
        return [] if holds() else [f"{self._quote(value)} is not {noun}"]

    def _value_faults(self, value: Any) -> Iterator[str]:
        if self.type is ParameterType.LIST and value not in self.choices:
            yield f"{self._quote(value)} is not one of {_words(self.choices)}"
        if self.type in _CHOICES and self.options is not None:
            strangers = [choice for choice in value if choice not in self.choices]
            if strangers:
                yield f"{_words(strangers)} not among {_words(self.choices)}"
        if self.type is ParameterType.INTEGER:
            yield from self._bound_faults(value, self._quote(value))
        elif self.type in _TEXTS:
            yield from self._bound_faults(len(value), f"its length of {len(value)}")
            yield from self._regex_faults(value)
        elif self.type in _CHOICES:
            yield from self._bound_faults(len(value), f"its number of choices, {len(value)},")

    def _regex_faults(self, value: str) -> Iterator[str]:
        if self.regex is None:
            return
        cost = regex_cost(self.regex)
        if math.isinf(cost.per_byte) and len(value) > _LONGEST_FOR_BACKTRACKING:
            yield (
                f"its length of {len(value)} is more than {_LONGEST_FOR_BACKTRACKING}, the most that can be matched "
                f"against {cut(self.regex)}, which takes more than linear time"
            )
        elif not compile_schema({"pattern": cost.linear}, at="").is_valid(value):
            yield f"{self._quote(value)} does not match {self.regex}"

    def _bound_faults(self, size: float, what: str) -> Iterator[str]:
        if self.min is not None and size < self.min:
            yield f"{what} is less than {self.min}"
        if self.max is not None and size > self.max:
            yield f"{what} is more than {self.max}"

    def _quote(self, value: Any) -> str:
        return "the value" if self.type is ParameterType.PASSWORD else cut(json.dumps(value, ensure_ascii=False))


def _words(texts: Iterable[str]) -> str:
    return ", ".join(json.dumps(text, ensure_ascii=False) for text in texts)


def _is_strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)  # pyright: ignore[reportUnknownVariableType] - any JSON


def moment(value: Any) -> datetime | None:
    """Return the time of an RFC 3339 date or date-time (of a date: its start, in UTC), or None."""
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        return None
    try:
        if len(value) == len("2026-01-31"):
            return datetime.combine(date.fromisoformat(value), datetime.min.time(), tzinfo=UTC)
        return datetime.fromisoformat(value.upper())
    except ValueError:
        return None


def definition_flaws(parameters: Sequence[Parameter]) -> Iterator[Flaw]:
    """Yield the errors of a list of parameters; pointers go into the list."""
    by_name = {parameter.name: parameter for parameter in parameters}
    sizes = [regex_cost(parameter.regex).size for parameter in parameters if parameter.regex]
    if sum(size for size in sizes if size <= _MOST_OF_REGEXES) > _MOST_OF_REGEXES:
        yield Flaw(pointer="", keyword="regex", detail="the regular expressions cost too much to compile: shorten them")
        return
    seen: set[str] = set()
    for place, parameter in enumerate(parameters):
        at = f"/{place}"
        if parameter.name in seen:
            yield Flaw(pointer=f"{at}/name", detail=f"there is another parameter {parameter.name!r}")
        seen.add(parameter.name)
        yield from _own_flaws(parameter, at)
        for index, restriction in enumerate(parameter.restrictions):
            target = by_name.get(restriction.target)
            where = f"{at}/restrictions/{index}/target"
            if target is None:
                yield Flaw(pointer=where, detail=f"there is no parameter {restriction.target!r}")
            elif target.type is not parameter.type:
                yield Flaw(
                    pointer=where,
                    detail=f"{parameter.type} cannot be compared with {restriction.target!r}, a {target.type}",
                )


def _own_flaws(parameter: Parameter, at: str) -> Iterator[Flaw]:
    if parameter.type in _NEEDS_OPTIONS and not parameter.options:
        yield Flaw(pointer=f"{at}/options", detail=f"a {parameter.type} needs options to choose from")
    if parameter.min is not None and parameter.max is not None and parameter.min > parameter.max:
        yield Flaw(pointer=f"{at}/min", detail=f"min {parameter.min} is more than max {parameter.max}")
    if parameter.regex is not None and _MOST_OF_REGEXES < regex_cost(parameter.regex).size < math.inf:
        yield Flaw(
            pointer=f"{at}/regex", keyword="regex", detail="the expression costs too much to compile: shorten it"
        )
        return
    try:
        _ = parameter.pattern
    except SchemaInvalid as error:
        yield Flaw(pointer=f"{at}/regex", keyword="regex", detail=error.flaws[0].detail)
        return
    if parameter.default is not None:
        for fault in parameter.faults(parameter.default):
            yield Flaw(pointer=f"{at}/default", detail=fault)


def check_parameters(
    parameters: Sequence[Parameter], values: Mapping[str, Any], *, at: str = "/params"
) -> dict[str, Any]:
    """Return the values with defaults filled in, or raise with all flaws.

    A value of null counts as not given.

    Raises:
        ParametersInvalid: with a flaw for each invalid parameter; ``pointer`` is below ``at``.
    """
    given = {name: value for name, value in values.items() if value is not None}
    defaults = {
        parameter.name: parameter.default
        for parameter in parameters
        if parameter.default is not None and parameter.name not in given
    }
    complete = defaults | given
    flaws = [
        Flaw(pointer=at + json_pointer([name]), keyword=keyword, detail=detail)
        for name, keyword, detail in _value_flaws(parameters, complete)
    ]
    if flaws:
        raise ParametersInvalid(
            f"{len(flaws)} {'parameter does' if len(flaws) == 1 else 'parameters do'} not fit the External", flaws=flaws
        )
    return complete


def _value_flaws(parameters: Sequence[Parameter], values: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    by_name = {parameter.name: parameter for parameter in parameters}
    for name in values:
        if name not in by_name:
            yield name, "unknown", f"the External has no such parameter; it has {_words(sorted(by_name)) or 'none'}"
    sound: set[str] = set()
    for name, parameter in by_name.items():
        if name not in values:
            if parameter.req:
                yield name, "req", "a value is required"
            continue
        faults = list(parameter.faults(values[name]))
        yield from ((name, "value", fault) for fault in faults)
        if not faults:
            sound.add(name)
    for name, parameter in by_name.items():
        for restriction in parameter.restrictions:
            if {name, restriction.target} <= sound and not _holds(parameter, restriction, values):
                words = f"must be {_WORDS[restriction.rule]} {restriction.target}"
                yield name, restriction.rule, restriction.message or words


def _holds(parameter: Parameter, restriction: Restriction, values: Mapping[str, Any]) -> bool:
    comparable: Callable[[Any], Any] = moment if parameter.type is ParameterType.DATE else lambda value: value
    return _COMPARE[restriction.rule](comparable(values[parameter.name]), comparable(values[restriction.target]))
