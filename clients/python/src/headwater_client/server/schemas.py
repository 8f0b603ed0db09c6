"""Generates the JSON Schema of a crawler's documents from their class."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, cast


def schema_of(documents: Any) -> dict[str, Any] | bool | None:
    """Return the JSON Schema of serialized documents.

    Args:
        documents: a pydantic model, a dataclass or another type that pydantic supports; or the schema itself.

    Raises:
        TypeError: pydantic is needed, and not installed.
    """
    if documents is None or isinstance(documents, bool):
        return documents
    if isinstance(documents, Mapping):
        return dict(cast("Mapping[str, Any]", documents))
    if hasattr(documents, "model_json_schema"):
        return documents.model_json_schema(mode="serialization", by_alias=True)
    try:
        from pydantic import TypeAdapter  # noqa: PLC0415 - pydantic is optional
        from pydantic.json_schema import GenerateJsonSchema  # noqa: PLC0415 - likewise
    except ImportError as error:
        raise TypeError(
            f"the schema of {documents!r} is made by pydantic, which is not installed; install it, or give the schema"
            " as a dict"
        ) from error

    class AsWritten(GenerateJsonSchema):
        """Decimals of dataclasses are serialized as numbers; pydantic would describe them as strings."""

        def decimal_schema(self, schema: Any) -> dict[str, Any]:  # noqa: ARG002 - overridden
            return {"type": "number"}

    generator = AsWritten if dataclasses.is_dataclass(documents) else GenerateJsonSchema
    described: Any = documents
    return TypeAdapter(described).json_schema(mode="serialization", by_alias=True, schema_generator=generator)
