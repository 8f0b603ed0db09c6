"""Request bodies of objects: validation, merge patches, conditional requests."""

import re
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Self, TypeVar, cast

from fastapi import Body, Depends, Header, Query
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from headwater.catalog.links import End, Link
from headwater.domain.errors import Flaw, RequestInvalid
from headwater.domain.json_limits import unstorable, with_clean_texts
from headwater.domain.schema import json_pointer


def _as_json_has_it(value: Any) -> Any:
    # Otherwise pydantic would accept "7" and true as numbers. 7.0 is accepted: some languages have no integers.
    if isinstance(value, bool | str):
        raise ValueError("a whole number is expected")  # noqa: TRY004 - pydantic reports ValueErrors
    return value


#: Validator of an integer in a body; goes after its bounds.
WHOLE = BeforeValidator(_as_json_has_it)


class RequestBody(BaseModel):
    """A JSON object in a request; unknown fields are errors."""

    model_config = ConfigDict(extra="forbid", validate_by_name=False, validate_by_alias=True, serialize_by_alias=True)

    #: Fields meant for people: characters that cannot be stored are replaced there, and rejected elsewhere.
    cleaned_fields: ClassVar[frozenset[str]] = frozenset({"meta"})
    #: Returns the value of such a field as it can be stored.
    clean: ClassVar[Callable[[object, int], object]] = staticmethod(with_clean_texts)

    @model_validator(mode="before")
    @classmethod
    def _storable(cls, value: object) -> object:
        if isinstance(value, dict):
            members = cast("dict[str, object]", value)
            value = {name: cls.clean(each, 1) if name in cls.cleaned_fields else each for name, each in members.items()}
        fault = unstorable(value)
        if fault is not None:
            raise ValueError(fault)
        return value


class LinkEnd(RequestBody):
    """One end of a link."""

    type: str = Field(description="The plural path name.", examples=["streams"])
    fid: str = Field(examples=["0197f3a0c1d27000a1b2c3d4e5f60718"])


def _one_end(schema: dict[str, Any]) -> None:
    ends = schema["properties"]
    for end in ends.values():
        end.pop("default", None)
    null = {"type": "null"}
    schema["oneOf"] = [
        {"required": [end], "properties": {end: ends[end]["anyOf"][0], other: null}}
        for end, other in (("from", "to"), ("to", "from"))
    ]


class NewLink(RequestBody):
    """A link of a new object, from or to another one."""

    model_config = ConfigDict(json_schema_extra=_one_end)

    start: LinkEnd | None = Field(default=None, alias="from")
    end: LinkEnd | None = Field(default=None, alias="to")

    @model_validator(mode="after")
    def _one_end(self) -> Self:
        if (self.start is None) == (self.end is None):
            raise ValueError('a link names one other object: {"from": {…}} or {"to": {…}}')
        return self


class Meta(RequestBody):
    """Metadata that a caller stores with an object; arbitrary other fields are allowed."""

    model_config = ConfigDict(extra="allow")

    name: str | None = None
    description: str | None = None
    image: str | None = None

    def kept(self) -> dict[str, Any]:
        """Return the metadata to be stored."""
        return self.model_dump(exclude_unset=True, exclude={"links"})

    @model_validator(mode="after")
    def _no_links(self) -> Self:
        if "links" in (self.model_extra or {}):
            raise ValueError("links are made when an object is created, and not changed here")
        return self


class NewMeta(Meta):
    """Metadata of a new object, with its initial links, which are not returned."""

    links: list[NewLink] = Field(default_factory=list[NewLink])

    def links_of(self, kind: str, fid: str) -> list[Link]:
        """Return the links of the new object."""
        me = End(type=kind, fid=fid)
        return [
            Link(
                start=me if link.start is None else End(type=link.start.type, fid=link.start.fid),
                end=me if link.end is None else End(type=link.end.type, fid=link.end.fid),
            )
            for link in self.links
        ]


B = TypeVar("B", bound=RequestBody)

#: A merge patch, decoded by the framework.
MergePatch = dict[str, Any]


def merge_patch(kind: type[RequestBody]) -> Any:
    """Return the schema of a merge patch (RFC 7396) of a body: null removes a field, and all fields are optional."""
    whole = kind.model_json_schema(ref_template=_COMPONENT)
    return Body(
        media_type="application/merge-patch+json",
        description="A merge patch (RFC 7396).",
        examples=[{"meta": {"name": "New"}}],
        json_schema_extra=_in_part(whole, whole.get("$defs", {})),
    )


_COMPONENT = "#/components/schemas/{model}"
_NULL = {"type": "null"}


def _in_part(schema: dict[str, Any], defined: dict[str, Any]) -> dict[str, Any]:
    target = defined.get(schema.get("$ref", "").rpartition("/")[2], schema)
    if "anyOf" in target:
        return {"anyOf": [_in_part(each, defined) for each in target["anyOf"]]}
    if target.get("type") != "object":
        return schema

    others = target.get("additionalProperties", True)
    required: list[str] = target.get("required", [])
    return {
        "type": "object",
        "propertyNames": target.get("propertyNames", True),
        "properties": {
            name: (_in_part if name in required else _removable)(each, defined)
            for name, each in target.get("properties", {}).items()
        },
        "additionalProperties": others if isinstance(others, bool) else _removable(others, defined),
    }


def _removable(schema: dict[str, Any], defined: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [_in_part(schema, defined), _NULL]}


def patched(current: B, patch: dict[str, Any]) -> B:
    """Return a body with a merge patch applied (RFC 7396).

    Raises:
        RequestInvalid: the patch names an unknown or read-only field, or the result is invalid.
    """
    kind = type(current)
    writable = {field.alias or name for name, field in kind.model_fields.items()}
    strangers = [
        Flaw(pointer=json_pointer([name]), detail="not a field that can be written") for name in patch.keys() - writable
    ]
    if strangers:
        raise RequestInvalid(f"{strangers[0].message}; writable are {', '.join(sorted(writable))}", flaws=strangers)
    return checked(kind, merge(current.model_dump(mode="json", exclude_unset=True), patch))


def checked(kind: type[B], value: object) -> B:
    """Return a validated body of this model.

    Raises:
        RequestInvalid: the value is invalid.
    """
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        flaws = [
            Flaw(
                pointer=json_pointer(fault["loc"]),
                detail=fault["msg"].removeprefix("Value error, "),
                keyword=fault["type"],
            )
            for fault in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        raise RequestInvalid(f"the result would be invalid: {flaws[0].message}", flaws=flaws) from error


def merge(target: Any, patch: Any) -> Any:
    """Apply a merge patch: objects merge by key, null removes, anything else replaces (RFC 7396, 2)."""
    if not isinstance(patch, dict):
        return patch
    result: dict[str, Any] = dict(cast("dict[str, Any]", target)) if isinstance(target, dict) else {}
    for name, value in cast("dict[str, Any]", patch).items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge(result.get(name), value)
    return result


_ETAG = re.compile(r'(?:W/)?"([^"]*)"')
#: An edit counter: no database counts further than ten digits.
_EDIT = re.compile(r"[0-9]{1,10}")
#: The syntax of the header.
_ETAGS = r'^\s*(\*|(W/)?"[^"]*"(\s*,\s*(W/)?"[^"]*")*)\s*$'


async def _if_match(
    header: Annotated[
        str | None,
        Header(
            alias="If-Match",
            description='The `ETag` that the object must have, `"7"`.',
            json_schema_extra={"pattern": _ETAGS, "examples": ['"7"']},
        ),
    ] = None,
) -> frozenset[int] | None:
    if header is None or header.strip() == "*":
        return None
    if not re.fullmatch(_ETAGS, header):
        raise RequestInvalid(f'If-Match is {header!r}; send the ETag of the object with its quotes, "7"')
    # An unknown tag matches nothing, which is 412 and not 400.
    return frozenset(int(tag) if _EDIT.fullmatch(tag) else -1 for tag in _ETAG.findall(header))


#: Acceptable versions of the object; None for any.
IfMatch = Annotated[frozenset[int] | None, Depends(_if_match)]

#: The maximum of a 32-bit integer, as in databases.
HIGHEST_EDIT = (1 << 31) - 1

#: The External's version that a run starts with, or a crawler is validated against; None for the published one.
RunVersion = Annotated[
    int | None,
    Query(
        ge=1,
        le=HIGHEST_EDIT,
        description="Of the External; otherwise the published one, or the newest where none is.",
        examples=[5],
    ),
]
