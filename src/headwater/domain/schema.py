"""JSON Schemas, compiled with bounded cost and without network access."""

from collections.abc import Iterator
from typing import Any

import jsonschema_rs

from headwater.domain.errors import LONGEST_DETAIL, Flaw, SchemaInvalid

# Look-around needs a backtracking engine; with this limit, a hostile pattern costs about a millisecond.
PATTERNS = jsonschema_rs.FancyRegexOptions(backtrack_limit=100_000, size_limit=1 << 20)

Validator = jsonschema_rs.Validator

#: Keywords whose value maps names chosen by the schema's author to schemas.
HOLD_NAMES = {"properties", "patternProperties", "dependentSchemas", "dependencies", "$defs", "definitions"}


def compile_schema(schema: dict[str, Any] | bool, *, at: str = "/schema") -> Validator:
    """Compile a JSON Schema, draft 4 to 2020-12 by its ``$schema``; nothing is fetched.

    Raises:
        SchemaInvalid: it does not compile; ``pointer`` is the place of the error, below ``at``.
    """
    try:
        return jsonschema_rs.validator_for(schema, pattern_options=PATTERNS, offline=True)
    except jsonschema_rs.ValidationError as error:
        flaw = Flaw(
            detail=_schema_fault(error.message),
            pointer=at + json_pointer(error.instance_path),
            keyword=keyword_of(error),
        )
    except (ValueError, RecursionError) as error:
        flaw = Flaw(detail=_schema_fault(str(error)), pointer=at)
    raise SchemaInvalid(f"the schema does not compile: {flaw.message}", flaws=[flaw])


def _schema_fault(message: str) -> str:
    if "meta-schema" in message:
        return cut(f"{message.partition('. Custom')[0]}; drafts 4, 6, 7, 2019-09 and 2020-12 are known")
    if "retriev" in message or "registry" in message:
        return cut(f"{message} (references must stay inside the schema: nothing is fetched from anywhere)")
    return cut(message)


def flaws_of(validator: Validator, document: Any) -> Iterator[Flaw]:
    """Yield the errors of a document, in the schema's order.

    Raises:
        ValueError: the document is nested deeper than the validator's limit.
    """
    for error in validator.iter_errors(document):
        yield _flaw(error)


def first_flaw(validator: Validator, document: Any) -> Flaw | None:
    """Return the first error of a document, at a lower cost than all of them; None if it is valid.

    Raises:
        ValueError: the document is nested deeper than the validator's limit.
    """
    try:
        validator.validate(document)
    except jsonschema_rs.ValidationError as error:
        return _flaw(error)
    return None


def _flaw(error: jsonschema_rs.ValidationError) -> Flaw:
    return Flaw(
        detail=cut(error.message),
        pointer=json_pointer(error.instance_path),
        keyword=keyword_of(error),
        schema_pointer=json_pointer(error.schema_path),
    )


def keyword_of(error: jsonschema_rs.ValidationError) -> str | None:
    """Return the name of the keyword that failed."""
    path = list(error.schema_path)
    if isinstance(error.kind, jsonschema_rs.ValidationErrorKind.FalseSchema) and _ends_in_name(path):
        path.pop()  # a property that may not exist at all
    return next((str(part) for part in reversed(path) if isinstance(part, str)), None)


def _ends_in_name(path: list[str | int]) -> bool:
    ends, follows = False, False
    for part in path:
        ends, follows = follows, not follows and part in HOLD_NAMES
    return ends


def json_pointer(path: Any) -> str:
    """Return a path of keys and indexes as a JSON pointer (RFC 6901)."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def cut(text: str) -> str:
    """Return the text, shortened if it quotes at length."""
    return text if len(text) <= LONGEST_DETAIL else text[: LONGEST_DETAIL - 1] + "…"
