"""Validates a task's params as an instance of the params class."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar, cast

from headwater_client.server.parameters import Field, fields_of, is_pydantic
from headwater_client.server.type_hints import Unfit

P = TypeVar("P")


class ParamsUnfit(ValueError):
    """A task's params do not fit the params class."""

    def __init__(self, messages: Sequence[str]) -> None:
        """Create the error from one sentence per problem."""
        self.messages = messages
        super().__init__("; ".join(messages))


class Params(Generic[P]):
    """A params class."""

    def __init__(self, of: type[P] | None) -> None:
        """Inspect a class; without one, params remain a dict.

        Raises:
            NoParameter: a field has a type that Headwater's parameters do not support.
        """
        self._class: Any = of
        self._fields: list[Field] = [] if of is None else list(fields_of(of))

    @property
    def parameters(self) -> list[dict[str, Any]] | None:
        """The External's parameters; None without a class."""
        return None if self._class is None else [field.parameter() for field in self._fields]

    def read(self, values: Mapping[str, Any]) -> P:
        """Return the params for a task's function.

        Raises:
            ParamsUnfit: the values do not fit.
        """
        if self._class is None:
            return cast("P", dict(values))
        # Headwater does not distinguish None from no value; a class does.
        given = {name: value for name, value in values.items() if value is not None}
        for field in self._fields:
            if field.hint.is_optional and not field.has_default:
                given.setdefault(field.name, None)
        return self._validated(given) if is_pydantic(self._class) else self._made(given)

    def _validated(self, values: Mapping[str, Any]) -> P:
        try:
            # Validated as JSON, so that strict models accept dates as strings.
            return self._class.__pydantic_validator__.validate_json(json.dumps(values))
        except ValueError as error:
            errors: Callable[[], list[dict[str, Any]]] | None = getattr(error, "errors", None)
            if errors is None:
                raise
            raise ParamsUnfit([_sentence(each["loc"], each["msg"]) for each in errors()]) from error

    def _made(self, values: Mapping[str, Any]) -> P:
        names = {field.name for field in self._fields}
        wrong = [_sentence([name], "is not known here") for name in values if name not in names]
        ready: dict[str, Any] = {}
        for field in self._fields:
            value = values.get(field.name)
            if value is None:
                if field.is_required:
                    wrong.append(_sentence([field.name], "is missing"))
                elif field.name in values:
                    ready[field.name] = None
                continue
            try:
                ready[field.name] = field.hint.kind.read(value)
            except Unfit as error:
                wrong.append(_sentence([field.name], str(error)))
        if wrong:
            raise ParamsUnfit(wrong)
        try:
            return self._class(**ready)
        except (TypeError, ValueError) as error:  # what the class itself checks
            raise ParamsUnfit([f"params: {error}"]) from error


def _sentence(place: Sequence[Any], what: str) -> str:
    return f"params/{'/'.join(map(str, place))}: {what}"
