"""Converts the fields of a params class to the parameters of an External."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass
from typing import Annotated, Any, get_type_hints

from headwater_client.server.type_hints import Hint, NoParameter, ParameterType, hint_of, on_wire, spoken

_TEXTS = {"string", "password", "location"}
_SEVERAL = {"multi_search", "multi_bool"}


@dataclass(frozen=True)
class Parameter:
    """Annotation with details of a parameter: ``pages: Annotated[int, Parameter(min=1, max=50)] = 3``.

    The same names are read from the ``metadata`` of a dataclass field, and from pydantic's ``json_schema_extra``.
    """

    #: Label shown instead of the name.
    display_name: str | None = None
    description: str | None = None
    #: ``password`` or ``location``, for a ``str`` in Python.
    type: str | None = None
    #: Bounds of an integer, of a string's length, or of the number of choices.
    min: int | None = None
    max: int | None = None
    #: Regular expression that a string must match somewhere; ``^…$`` for all of it.
    regex: str | None = None
    #: Labels shown instead of the options.
    labels: Mapping[str, str] | None = None
    #: Comparisons with other parameters: ``{"rule": "gte", "target": "min_pages", "message": "…"}``.
    restrictions: Sequence[Mapping[str, Any]] | None = None


#: A string that Headwater stores encrypted and never returns.
Password = Annotated[str, Parameter(type="password")]
#: A string that names a location.
Location = Annotated[str, Parameter(type="location")]

_DETAILS = [each.name for each in dataclasses.fields(Parameter)]


@dataclass(frozen=True)
class Field:
    """A field of a params class."""

    #: Name on the wire.
    name: str
    hint: Hint
    #: Fields of ``Parameter`` that are set.
    details: Mapping[str, Any]
    #: Whether the class has a default for it.
    has_default: bool
    #: The default sent to Headwater; None if it is not sent.
    default: Any

    @property
    def is_required(self) -> bool:
        """Whether a value must be given."""
        return not self.has_default and not self.hint.is_optional

    @property
    def type(self) -> str:
        """Its type on the wire."""
        return self.details.get("type") or self.hint.kind.type

    def parameter(self) -> dict[str, Any]:
        """Return it as an External's parameter; omitted fields have their defaults there."""
        kind, details = self.hint.kind, self.details
        labels: dict[str, str] = {**kind.labels, **(details.get("labels") or {})}
        is_bounded = kind.type in {"integer", *_TEXTS, *_SEVERAL}
        fields: dict[str, Any] = {
            "name": self.name,
            "display_name": details.get("display_name") or spoken(self.name),
            "description": details.get("description"),
            "req": self.is_required or None,
            "type": self.type,
            "min": details.get("min") if is_bounded else None,
            "max": details.get("max") if is_bounded else None,
            "regex": details.get("regex") if kind.type in _TEXTS else None,
            "options": [{"value": each, "label": labels[each]} if each in labels else each for each in kind.options],
            # A password's default would be readable in the External.
            "default": None if self.type == "password" else self.default,
            "restrictions": [dict(each) for each in details.get("restrictions") or ()],
        }
        return {name: value for name, value in fields.items() if value is not None and value != []}


def fields_of(of: Any) -> Iterator[Field]:
    """Yield the fields of a params class, in order.

    Raises:
        NoParameter: a field has a type that Headwater's parameters do not support.
        TypeError: it is not a dataclass or pydantic model.
    """
    if not is_pydantic(of) and not (isinstance(of, type) and dataclasses.is_dataclass(of)):
        raise TypeError(f"params are a dataclass or a pydantic model, and {of!r} is neither")
    for field in _pydantic_fields(of) if is_pydantic(of) else _dataclass_fields(of):
        kinds = field.type, field.hint.kind.type
        if kinds[0] != kinds[1] and not _TEXTS.issuperset(kinds):
            raise NoParameter(f"{of.__name__}.{field.name}: a str can be of type {kinds[0]}, and {kinds[1]} cannot")
        yield field


def is_pydantic(of: Any) -> bool:
    """Return whether a class is validated by pydantic."""
    return hasattr(of, "__pydantic_validator__")


def _dataclass_fields(of: Any) -> Iterator[Field]:
    try:
        hints = get_type_hints(of, include_extras=True)
    except (NameError, TypeError) as error:
        raise NoParameter(
            f"the type hints of {of.__name__} cannot be read: {error}; names in them are those of its module, and "
            "before Python 3.10 `X | None` is Optional[X]"
        ) from error
    for field in dataclasses.fields(of):
        if field.init:
            hint = _hint(of, field.name, hints[field.name])
            factory = None if field.default_factory is MISSING else field.default_factory
            has_default = field.default is not MISSING or factory is not None
            given = None if field.default is MISSING else field.default
            details = {**_bounds(hint.notes), **_details_in(field.metadata), **_annotated_details(hint.notes)}
            yield Field(field.name, hint, details, has_default, _default(given, factory, hint.kind))


def _pydantic_fields(of: Any) -> Iterator[Field]:
    for attribute, field in of.__pydantic_fields__.items():
        name = field.validation_alias or field.alias or attribute
        if not isinstance(name, str):
            raise NoParameter(f"{of.__name__}.{attribute}: a parameter has one name, and {name!r} is several")
        hint = _hint(of, attribute, field.annotation, _of_json_schema)
        notes = (*hint.notes, *field.metadata)
        has_default = not field.is_required()
        given = field.default if has_default and field.default_factory is None else None
        extra: Any = field.json_schema_extra
        titled = {"display_name": field.title, "description": field.description}
        more = {} if extra is None or callable(extra) else _details_in(extra)
        details = {**_bounds(notes), **titled, **more, **_annotated_details(notes)}
        yield Field(name, hint, details, has_default, _default(given, field.default_factory, hint.kind))


def _hint(of: Any, name: str, hint: Any, otherwise: Callable[[Any], ParameterType | None] = lambda _: None) -> Hint:
    try:
        return hint_of(hint, otherwise=otherwise)
    except NoParameter as error:
        raise NoParameter(f"{of.__name__}.{name}: {error}") from None


def _default(given: Any, factory: Callable[[], Any] | None, kind: ParameterType) -> Any:
    """Return the default to send.

    The value of a factory may differ each time, such as today's date, so it is sent only for lists.
    """
    if factory is not None and kind.type in _SEVERAL:
        given = factory()
    return on_wire(given)


def _of_json_schema(hint: Any) -> ParameterType | None:
    """Return the parameter type of a pydantic type, such as ``HttpUrl``, by its JSON Schema."""
    from pydantic import TypeAdapter  # noqa: PLC0415 - pydantic is optional

    try:
        schema = TypeAdapter(hint).json_schema()
    except Exception:  # noqa: BLE001 - pydantic raises various errors for types that it cannot describe
        return None
    if schema.get("type") == "string":
        formats = {"date": "date", "date-time": "date", "password": "password"}
        return ParameterType(formats.get(schema.get("format", ""), "string"), lambda value: value)
    names = {"integer": "integer", "boolean": "bool"}
    name = names.get(schema.get("type", ""))
    return None if name is None else ParameterType(name, lambda value: value)


def _annotated_details(notes: Sequence[Any]) -> dict[str, Any]:
    """Return the details in the ``Parameter`` annotations."""
    found: dict[str, Any] = {}
    for note in notes:
        if isinstance(note, Parameter):
            found.update(_details_in(vars(note)))
    return found


def _details_in(details: Mapping[str, Any]) -> dict[str, Any]:
    return {name: details[name] for name in _DETAILS if details.get(name) is not None}


def _bounds(notes: Sequence[Any]) -> dict[str, Any]:
    """Return the bounds in annotations of pydantic or annotated-types."""
    found: dict[str, Any] = {}
    for note in notes:
        # In Annotated, pydantic's Field contains further annotations.
        found.update(_bounds(getattr(note, "metadata", ())))
        for attribute, name, more in _BOUNDS:
            bound = getattr(note, attribute, None)
            if isinstance(bound, int):
                found[name] = bound + more
        pattern: Any = getattr(note, "pattern", None)
        if pattern is not None:
            found["regex"] = getattr(pattern, "pattern", pattern)  # it may be compiled
    return found


#: Attributes of annotations, the bounds that they set, and the offset between them.
_BOUNDS = (
    ("ge", "min", 0),
    ("gt", "min", 1),
    ("le", "max", 0),
    ("lt", "max", -1),
    ("min_length", "min", 0),
    ("max_length", "max", 0),
)
