"""Gates of a crawler, as callers write and read them."""

from typing import Annotated

from pydantic import ConfigDict, Field, field_validator

from headwater.api.bodies import WHOLE, RequestBody
from headwater.domain.gates import Gates

#: No number of documents is higher, as databases count.
HIGHEST = (1 << 31) - 1


class GatesBody(RequestBody):
    """What a run must hold to when it ends with 2xx, or it is not published; null lets everything pass."""

    model_config = ConfigDict(from_attributes=True)

    min_docs: Annotated[int, Field(ge=0, le=HIGHEST), WHOLE] | None = Field(
        default=None, description="The fewest documents that a run brings.", examples=[100]
    )
    max_shrink: Annotated[float, Field(ge=0, le=1, strict=True)] | None = Field(
        default=None,
        description="By which share it may bring fewer documents than the crawler's last good run.",
        examples=[0.4],
    )
    max_rejected: Annotated[float, Field(ge=0, le=HIGHEST, strict=True)] | None = Field(
        default=None,
        description="How many lines may have been rejected: below 1 a share of all lines, from 1 on a number of them.",
        examples=[0.05],
    )

    @field_validator("max_rejected")
    @classmethod
    def _a_share_or_a_number(cls, value: float | None) -> float | None:
        if value is not None and value > 1 and value != int(value):
            raise ValueError("from 1 on it is a number of lines, and whole")
        return value

    def gates(self) -> Gates:
        """Return the gates."""
        return Gates(**self.model_dump())
