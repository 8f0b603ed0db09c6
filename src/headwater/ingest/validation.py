"""Validation of documents, line by line: JSON, an object, matching the schema; and the id of each.

No document outlives its line: keeping all objects of a block would halve the throughput through allocation
and garbage collection.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import msgspec
import numpy as np
import pyarrow as pa

from headwater.domain.broken_json import broken_at, not_an_object, seeming_id
from headwater.domain.deletion import DELETE, deleted_id, key_of
from headwater.domain.document import document_id
from headwater.domain.errors import MOST_FLAWS, DocumentInvalid, Flaw, UploadBroken
from headwater.domain.external import Definition
from headwater.domain.reject import RejectedLine, RejectKind, kept_of
from headwater.domain.schema import cut
from headwater.ingest.bounded_validator import BoundedValidator, Budget, Judged
from headwater.ingest.lines import Block
from headwater.ingest.scanner.compiler import NotPlain, plan_of
from headwater.ingest.scanner.fitting import scan
from headwater.ingest.scanner.plan import Plan
from headwater.sandbox.pool import Sandbox

#: Found in each line that deletes an id, and seldom in others.
_DELETES = re.compile(key_of(DELETE))
#: Bytes in which the id of a document that is not decoded is searched.
_SEARCHED = 1 << 16


class LineErrors:
    """The errors of an upload so far: the first ones in detail, all of them counted."""

    def __init__(self) -> None:
        #: Lines of the blocks processed so far.
        self.lines = 0
        self.broken = 0
        self.invalid = 0
        self.flaws: list[Flaw] = []
        #: Documents that exceeded the limits of validation.
        self.costly = 0
        #: The CPU budget of its documents.
        self.budget = Budget()
        self._truncated = False

    def __bool__(self) -> bool:
        """Whether there are any errors."""
        return bool(self.broken or self.invalid)

    @property
    def count(self) -> int:
        """The number of faulty lines."""
        return self.broken + self.invalid

    @property
    def listing(self) -> bool:
        """Whether another error would be listed."""
        return len(self.flaws) < MOST_FLAWS

    @property
    def thorough(self) -> bool:
        """Whether all errors of another line are wanted, not only the first."""
        return True

    @property
    def truncated(self) -> bool:
        """Whether there are more errors than are listed."""
        # Each faulty line has at least one flaw, so more lines than flaws means that some are not listed.
        return self._truncated or self.budget.is_exceeded or self.count > len(self.flaws)

    def record(self, line: RejectedLine) -> None:
        """List the errors of a line, up to the limit."""
        budget = MOST_FLAWS - len(self.flaws)
        self.flaws += line.flaws[:budget]
        self._truncated = self._truncated or len(line.flaws) > budget

    def error(self, *, external: str) -> UploadBroken | DocumentInvalid:
        """Return the error for the whole upload: UploadBroken if a line is not JSON, DocumentInvalid otherwise."""
        lines, truncated = self.lines, self.truncated
        costly = f" ({self.costly} of them could not be checked within the limits of time and memory)"
        if self.broken:
            return UploadBroken(
                f"{self.broken} of {lines} lines {_is_are(self.broken)} not JSON (each line must be one whole object); "
                "nothing of the upload was kept",
                flaws=self.flaws,
                truncated=truncated,
            )
        return DocumentInvalid(
            f"{self.invalid} of {lines} documents {'does' if self.invalid == 1 else 'do'} not match the schema of "
            f"External {external!r}{costly if self.costly else ''}; nothing of the upload was kept",
            flaws=self.flaws,
            truncated=truncated,
        )


@dataclass(frozen=True, kw_only=True)
class Checked:
    """The documents of a block that were validated."""

    #: The id of each; null where there is an error.
    ids: pa.StringArray
    #: The indexes of those that delete the document of their id, instead of being one.
    deletions: list[int]


class Checker:
    """Validates documents by one version of an External; created once for it, thread-safe."""

    def __init__(self, definition: Definition, *, external: str, sandbox: Sandbox) -> None:
        """Compile the schema of the External of that name; costly schemas and documents go to the sandbox.

        Raises:
            SchemaInvalid: it does not compile within the limits.
        """
        self.external = external
        self._field = definition.doc_id_field
        schema = True if definition.schema is None else definition.schema
        self._validator = BoundedValidator(schema, field=definition.doc_id_field, sandbox=sandbox)
        self._decode = msgspec.json.Decoder().decode
        self._plan = _plan(definition)
        self._marker = definition.delete_marker
        self._pattern = None if self._marker is None else self._marker.pattern()

    @property
    def is_quick(self) -> bool:
        """Whether a small upload is validated quickly, whatever its documents are.

        The sandbox may still be needed to explain errors.
        """
        return self._plan is not None and self._validator.is_quick

    def ids(self, block: Block, faults: LineErrors) -> pa.StringArray:
        """Return the id of each document of a block; null where there is an error. See ``checked``."""
        return self.checked(block, faults).ids

    def checked(self, block: Block, faults: LineErrors) -> Checked:
        """Return the id of each document of a block, and which are deletions; errors are recorded in ``faults``.

        Raises:
            WouldBlock: called in an event loop, where the sandbox cannot be waited for.
        """
        if self._plan is None:
            ids, missed = pa.nulls(len(block), pa.string()), range(len(block))
        else:
            ids, missed = scan(self._plan, block.data, block.offsets)
            missed = self._with_marked(block, missed)
        deletions: list[int] = []
        if missed:
            found: list[str | None] = cast("Any", ids).to_pylist()
            lines = list(block.lines(missed))
            # Decoded here even if the schema is too costly for that: they are not checked against it.
            suspects = self._suspects(block, lines)
            others = [index for index in range(len(lines)) if index not in suspects] if suspects else range(len(lines))
            elsewhere = self._validator.judged_elsewhere([lines[index] for index in others], faults.budget)
            judged = {others[index]: verdict for index, verdict in elsewhere.items()}
            for index, (place, line) in enumerate(zip(missed, lines, strict=True)):
                if index in judged:
                    found[place] = self._id_elsewhere(judged[index], block, place, line, faults)
                else:
                    found[place] = self._id(block, place, line, faults, deletions, is_suspect=index in suspects)
            ids = cast("Any", pa).array(found, pa.string())
        faults.lines += len(block)
        return Checked(ids=ids, deletions=deletions)

    def _with_marked(self, block: Block, missed: list[int]) -> list[int]:
        """Return lines that the scanner has missed, and those that may be marked as deletions, which it accepts."""
        if self._pattern is None:
            return missed
        starts = [match.start() for match in self._pattern.finditer(block.data)]
        if not starts:
            return missed
        marked = np.searchsorted(block.offsets, starts, side="right") - 1
        return sorted({*missed, *marked.tolist()})

    def _suspects(self, block: Block, lines: Sequence[bytes]) -> set[int]:
        """Return the indexes of lines that may be deletions; no others are."""
        patterns = [] if self._pattern is None else [self._pattern]
        # However its other characters are escaped, its name begins in one of two ways.
        if b'"$' in block.data or b'"\\u0024' in block.data:
            patterns.append(_DELETES)
        return {index for index, line in enumerate(lines) for pattern in patterns if pattern.search(line)}

    def _id(
        self,
        block: Block,
        place: int,
        line: bytes,
        faults: LineErrors,
        deletions: list[int],
        *,
        is_suspect: bool,
    ) -> str | None:
        """Return the id of one document, on the general path; the place of a deletion goes into ``deletions``."""
        try:
            document = self._decode(line)
            if type(document) is dict:
                try:
                    deleted = deleted_id(document, field=self._field, marker=self._marker)  # pyright: ignore[reportUnknownArgumentType] - any JSON
                except ValueError as error:
                    self._note_invalid(block, place, line, faults, [Flaw(detail=str(error), pointer="")])
                    return None
                if deleted is not None:
                    deletions.append(place)
                    return deleted
                if self._is_valid(document, line, faults, is_suspect=is_suspect):  # pyright: ignore[reportUnknownArgumentType] - any JSON
                    return document_id(document, self._field)  # pyright: ignore[reportUnknownArgumentType] - any JSON
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            if faults.listing:
                rejected = _rejected(block, place, line, behind=faults.lines - faults.count)
                flaws = [_broken(block, place, line, error)]
                faults.record(replace(rejected, flaws=flaws, doc_id=seeming_id(line, self._field)))
            faults.broken += 1
        else:
            if faults.listing:
                rejected = _rejected(block, place, line, behind=faults.lines - faults.count)
                faults.record(self._invalid(rejected, document, line, faults))
            faults.invalid += 1
        return None

    def _is_valid(self, document: dict[str, Any], line: bytes, faults: LineErrors, *, is_suspect: bool) -> bool:
        # One that looked like a deletion was not sent to the sandbox.
        judged = {} if not is_suspect else self._validator.judged_elsewhere([line], faults.budget)
        return judged[0].doc_id is not None if judged else self._validator.is_valid(document)

    def _note_invalid(self, block: Block, place: int, line: bytes, faults: LineErrors, flaws: Sequence[Flaw]) -> None:
        if faults.listing:
            rejected = _rejected(block, place, line, behind=faults.lines - faults.count)
            flaws = [replace(flaw, line=rejected.line, offset=rejected.offset) for flaw in flaws]
            faults.record(replace(rejected, kind=RejectKind.INVALID, flaws=flaws))
        faults.invalid += 1

    def _id_elsewhere(self, judged: Judged, block: Block, place: int, line: bytes, faults: LineErrors) -> str | None:
        """Return the id of one document that the sandbox has validated; it is not decoded here."""
        if judged.doc_id is not None:
            return judged.doc_id
        if faults.listing:
            rejected = _rejected(block, place, line, behind=faults.lines - faults.count)
            faults.record(self._explained_elsewhere(judged, rejected, line, faults))
        if judged.is_broken:
            faults.broken += 1
        else:
            faults.invalid += 1
            faults.costly += judged.is_too_costly
        return None

    def _explained_elsewhere(
        self, judged: Judged, rejected: RejectedLine, line: bytes, faults: LineErrors
    ) -> RejectedLine:
        explanation = None
        doc_id = seeming_id(line[:_SEARCHED], self._field)
        if judged.is_too_costly:
            found: Sequence[Flaw] = [self._validator.too_costly]
        else:
            explanation = self._validator.explained_elsewhere(line, faults.budget, is_first_enough=not faults.thorough)
            found = explanation.flaws or [_mismatch("it takes too long to say where")]
            doc_id = explanation.doc_id or doc_id
        kind = RejectKind.BROKEN if judged.is_broken else RejectKind.INVALID
        place = 0 if explanation is None else explanation.offset
        shown = None if doc_id is None or judged.is_broken else cut(doc_id)
        flaws = [replace(flaw, line=rejected.line, offset=rejected.offset + place, doc_id=shown) for flaw in found]
        return replace(rejected, kind=kind, flaws=flaws, doc_id=doc_id)

    def _invalid(self, rejected: RejectedLine, document: Any, line: bytes, faults: LineErrors) -> RejectedLine:
        """Return a line that is JSON with its errors, and its id if it has one."""
        doc_id: str | None = None
        if not isinstance(document, dict):
            found: Sequence[Flaw] = [not_an_object(document)]
        else:
            try:
                doc_id = document_id(document, self._field)  # pyright: ignore[reportUnknownArgumentType] - any JSON
                found = self._mismatches(document, line, faults)
            except (ValueError, RecursionError):
                found = [_mismatch("is nested too deeply to say where")]
        shown_id = None if doc_id is None else cut(doc_id)
        flaws = [replace(flaw, line=rejected.line, offset=rejected.offset, doc_id=shown_id) for flaw in found]
        return replace(rejected, kind=RejectKind.INVALID, flaws=flaws, doc_id=doc_id)

    def _mismatches(self, document: Any, line: bytes, faults: LineErrors) -> Sequence[Flaw]:
        """Return the errors of an object that does not match the schema; not all, if that takes too long."""
        found = self._validator.flaws(document, line, faults.budget, is_first_enough=not faults.thorough)
        return found or [_mismatch("it takes too long to say where")]


def _rejected(block: Block, place: int, line: bytes, *, behind: int) -> RejectedLine:
    return RejectedLine(
        kind=RejectKind.BROKEN,
        line=int(block.numbers[place]),
        offset=int(block.places[place]),
        flaws=(),
        doc_id=None,
        raw=kept_of(line),
        size=len(line),
        before=behind + place,
    )


def _plan(definition: Definition) -> Plan | None:
    if definition.doc_id_field in {None, DELETE}:
        return None
    try:
        return plan_of(definition.schema, field=definition.doc_id_field or "")
    except NotPlain:
        return None


def _mismatch(obstacle: str) -> Flaw:
    return Flaw(detail=f"the document does not match the schema, and {obstacle}", pointer="")


def _broken(block: Block, place: int, line: bytes, error: Exception) -> Flaw:
    detail, offset = broken_at(line, error)
    return Flaw(line=int(block.numbers[place]), offset=int(block.places[place]) + offset, detail=detail)


def _is_are(count: int) -> str:
    return "is" if count == 1 else "are"
