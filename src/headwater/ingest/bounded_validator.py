"""Schema validation within a budget of time and memory, whatever the schema and the documents are.

A document is validated in this process only if the schema's cost bound and the document's length guarantee that
it is cheap; the same goes for explaining its errors. Otherwise a sandbox process does it, which is killed when it
takes too long, and delays only those who wait for it.
"""

from collections.abc import Sequence
from time import thread_time
from typing import Any

from headwater.domain.errors import MOST_FLAWS, Flaw
from headwater.domain.schema import Validator, compile_schema, first_flaw, flaws_of
from headwater.domain.schema_cost import schema_cost, with_linear_patterns
from headwater.sandbox.pool import Explanation, Judged, Sandbox, SchemaText

#: Validation steps that a document may take in this process, about a twentieth of a second.
_STEPS = 1 << 22
#: Bytes of the longest line that is decoded in this process.
_LONGEST = 1 << 20
#: Bytes of error messages about one document that may be built in this process: a few hundredths of a second.
_QUOTED = 1 << 24
#: Documents up to this many bytes get all of their errors reported, larger ones only the first.
_ALL_TOLD = 64 << 10
#: CPU seconds that an upload may spend in this process on explaining errors.
_EXPLAINING_HERE = 0.25
#: Steps per value up to which a small upload is validated in the event loop.
_QUICK = 256
#: CPU seconds that an upload may spend in the sandbox on explaining errors, ...
_EXPLAINING = 4.0
#: ... and on validation: a base, plus an allowance per byte received.
_CHECKING, _CHECKING_PER_BYTE = 10.0, 1e-6


class Budget:
    """The CPU budget of one upload, beyond validation that is known to be cheap."""

    def __init__(self) -> None:
        self._explaining_here = _EXPLAINING_HERE
        self._explaining = _EXPLAINING
        self._checking = _CHECKING
        #: Whether the budget was too small to find all errors.
        self.is_exceeded = False

    def grow(self, size: int) -> None:
        """Add the allowance for so many bytes of documents."""
        self._checking += size * _CHECKING_PER_BYTE

    def explains_here(self, size: float) -> bool:
        """Return whether error messages of so many bytes may be built in this process."""
        return size <= _QUOTED and self._explaining_here > 0

    @property
    def explaining(self) -> float:
        """CPU seconds left for explaining."""
        return self._explaining

    @property
    def checking(self) -> float:
        """CPU seconds left for validation."""
        return self._checking

    def spend(self, *, explaining_here: float = 0.0, explaining: float = 0.0, checking: float = 0.0) -> None:
        """Subtract CPU seconds from the budget."""
        self._explaining_here -= explaining_here
        self._explaining -= explaining
        self._checking -= checking


class BoundedValidator:
    """Validates documents and explains their errors, by one schema; thread-safe.

    In an event loop, it raises ``WouldBlock`` where it would need the sandbox.
    """

    def __init__(self, schema: dict[str, Any] | bool, *, field: str | None = None, sandbox: Sandbox) -> None:
        """Compile a schema for documents whose id is in ``field``.

        Raises:
            SchemaInvalid: it does not compile within the limits.
        """
        self._cost = schema_cost(schema)
        self._field = field
        self._sandbox = sandbox
        self._text = SchemaText(schema)
        self._explainer = self._validator = None
        # The shortest document has two bytes.
        if self._cost.is_compiled_quickly and self._cost.per_value * 2 <= _STEPS:
            self._explainer = self._validator = compile_schema(schema)
            if self._cost.is_rewritten:
                self._validator = compile_schema(with_linear_patterns(schema))
                self._explainer = None
        else:
            sandbox.compile(self._text)

    @property
    def is_quick(self) -> bool:
        """Whether a small upload is validated quickly, whatever its documents are."""
        return self._validator is not None and self._cost.per_value <= _QUICK

    def is_valid(self, document: Any) -> bool:
        """Return whether an object matches the schema; only for lines without a verdict of ``judged_elsewhere``."""
        return self._validator is not None and self._validator.is_valid(document)

    def judged_elsewhere(self, lines: Sequence[bytes], budget: Budget) -> dict[int, Judged]:
        """Validate the lines that may be too costly here in the sandbox; return the verdicts by line index.

        A line may hold any bytes.
        """
        longest = 0 if self._validator is None else min(_LONGEST, _STEPS / self._cost.per_value)
        costly = [place for place, line in enumerate(lines) if len(line) > longest]
        if not costly:
            return {}
        budget.grow(sum(len(lines[place]) for place in costly))
        some = [lines[place] for place in costly]
        judged, seconds = self._sandbox.check(self._text, some, field=self._field, seconds=budget.checking)
        budget.spend(checking=seconds)
        return dict(zip(costly, judged, strict=True))

    def flaws(self, document: Any, line: bytes, budget: Budget, *, is_first_enough: bool) -> Sequence[Flaw]:
        """Return the errors of an invalid document: all, or the first, or as many as the budget allows.

        Raises:
            ValueError: the document is nested too deeply for the validator.
        """
        is_first_enough = is_first_enough or len(line) > _ALL_TOLD
        size = self._cost.per_value * len(line) * (len(line) + self._cost.quoted)
        if self._explainer is not None and budget.explains_here(size):
            begun = thread_time()
            try:
                return _flaws(self._explainer, document, is_first_enough=is_first_enough)
            finally:
                budget.spend(explaining_here=thread_time() - begun)
        explanation = self.explained_elsewhere(line, budget, is_first_enough=is_first_enough)
        if explanation.is_too_deep:
            raise ValueError("the document is nested deeper than a validator follows")
        return explanation.flaws

    def explained_elsewhere(self, line: bytes, budget: Budget, *, is_first_enough: bool) -> Explanation:
        """Return the errors of a line, found in the sandbox, as far as the budget allows."""
        if budget.explaining <= 0:
            budget.is_exceeded = True
            return Explanation()
        most = 1 if is_first_enough or len(line) > _ALL_TOLD else MOST_FLAWS
        explanation = self._sandbox.explain(self._text, line, field=self._field, most=most, seconds=budget.explaining)
        budget.spend(explaining=explanation.seconds)
        budget.is_exceeded |= explanation.is_truncated
        return explanation

    @property
    def too_costly(self) -> Flaw:
        """The error of a document that exceeds the limits of validation."""
        return Flaw(
            detail="the schema costs too much for this document: to check it takes more than "
            f"{self._sandbox.seconds:g} s of processor time or too much memory, or the upload has taken too much "
            "already; make the document smaller, or simplify the schema: its patterns, and where it chooses (anyOf, "
            "oneOf) among schemas that contain themselves",
            pointer="",
        )


def _flaws(validator: Validator, document: Any, *, is_first_enough: bool) -> list[Flaw]:
    if not is_first_enough:
        return list(flaws_of(validator, document))
    first = first_flaw(validator, document)
    return [] if first is None else [first]
