"""How many examples tests try: all of them in ``make check``, a fifth otherwise."""

import os
from collections.abc import Iterable
from typing import TypeVar

from hypothesis import HealthCheck, settings

T = TypeVar("T")

#: The environment's word for it: ``full``.
VARIABLE = "TEST_EXAMPLES"
IS_FULL = os.environ.get(VARIABLE) == "full"
#: One in so many examples is tried otherwise.
SHARE = 5
#: What tests have that name no number.
_USUAL = 100


def examples(most: int) -> int:
    """Return how many examples a test tries that tries ``most`` with the full budget."""
    return most if IS_FULL else max(most // SHARE, 5)


def some(all_of: Iterable[T], *, of: int = 1, part: int = 0) -> list[T]:
    """Return one of the equal parts of a large set of cases: all of its cases with the full budget, else a share.

    A part takes cases from all over the set, so that few of them still cover every kind.
    """
    return list(all_of)[part :: of if IS_FULL else of * SHARE]


# How long an example takes says nothing of it: the machines are shared.
settings.register_profile(
    "headwater", max_examples=examples(_USUAL), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("headwater")
