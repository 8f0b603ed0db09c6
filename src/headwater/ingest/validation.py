"""Documents checked one by one: JSON, an object, matching the schema; and the id of each.

No document outlives its line: keeping the objects of a block would cost half the speed in allocation
and garbage collection.
"""

import json
import re
from contextlib import suppress
from dataclasses import replace
from typing import Any, NoReturn, cast

import msgspec
import pyarrow as pa

from headwater.domain.document import document_id
from headwater.domain.errors import MOST_FLAWS, DocumentInvalid, Flaw, UploadBroken
from headwater.domain.external import Definition
from headwater.domain.reject import RejectedLine, RejectKind, kept_of
from headwater.domain.schema import Validator, compile_schema, cut, first_flaw, flaws_of
from headwater.ingest.lines import Block
from headwater.ingest.plan import Plan
from headwater.ingest.planner import NotPlain, plan_of
from headwater.ingest.scanner import scan

# A validator copies what it complains of, once for each fault: a thousand faults of a document of half a
# megabyte took a minute and 12 GB. So a larger document is told its first fault, a huge one none.
#: Documents of so many bytes are told all that is wrong with them,
_ALL_TOLD = 64 << 10
#: and those of so many the first of it.
_FIRST_TOLD = 1 << 20

#: What stands behind the name of the field where an id stands.
_ID = rb'\s*:\s*("(?:[^"\\]|\\.)*"|-?[0-9]+)'

_TOO_DEEP = "it is nested too deeply"
# An escaped backslash or a whole pair is taken first, so that neither looks like half of a pair.
_ESCAPES = re.compile(r"\\u[dD][89abAB]..\\u[dD][c-fC-F]..|(?P<half>\\u[dD][89a-fA-F])|\\.")


class Faults:
    """What is wrong with an upload so far: the first faults one by one, all of them counted."""

    def __init__(self) -> None:
        #: Lines of the blocks that were looked through.
        self.lines = 0
        self.broken = 0
        self.invalid = 0
        self.flaws: list[Flaw] = []
        self._truncated = False

    def __bool__(self) -> bool:
        """Tell whether anything is wrong."""
        return bool(self.broken or self.invalid)

    @property
    def count(self) -> int:
        """How many lines are faulty."""
        return self.broken + self.invalid

    @property
    def listing(self) -> bool:
        """Whether there is room to tell of another fault by itself."""
        return len(self.flaws) < MOST_FLAWS

    @property
    def thorough(self) -> bool:
        """Whether all that is wrong with another line is wanted, and not only the first of it."""
        return True

    @property
    def truncated(self) -> bool:
        """Whether more is wrong than is listed."""
        # Each faulty line has a flaw at least, so more lines than flaws means that some are not listed.
        return self._truncated or self.count > len(self.flaws)

    def tell(self, line: RejectedLine) -> None:
        """List what is wrong with a line, as far as there is room."""
        room = MOST_FLAWS - len(self.flaws)
        self.flaws += line.flaws[:room]
        self._truncated = self._truncated or len(line.flaws) > room

    def error(self, *, external: str) -> UploadBroken | DocumentInvalid:
        """Return the error for the whole upload: broken if any line is, invalid otherwise."""
        lines, truncated = self.lines, self.truncated
        if self.broken:
            return UploadBroken(
                f"{self.broken} of {lines} lines {_is_are(self.broken)} not JSON (each line must be one whole object); "
                "nothing of the upload was kept",
                flaws=self.flaws,
                truncated=truncated,
            )
        return DocumentInvalid(
            f"{self.invalid} of {lines} documents {'does' if self.invalid == 1 else 'do'} not match the schema of "
            f"External {external!r}; nothing of the upload was kept",
            flaws=self.flaws,
            truncated=truncated,
        )


class Checker:
    """Checks documents by one version of an External; made once for it, used from many threads."""

    def __init__(self, definition: Definition, *, external: str) -> None:
        """Compile the schema of the External of that name."""
        self.external = external
        self._field = definition.doc_id_field
        self._validator = None if definition.schema is None else compile_schema(definition.schema)
        self._decode = msgspec.json.Decoder().decode
        self._plan = _plan(definition)

    @property
    def is_quick(self) -> bool:
        """Whether a small upload is checked in no time, whatever is in it: no pattern can take long."""
        return self._validator is None or self._plan is not None

    def ids(self, block: Block, faults: Faults) -> pa.StringArray:
        """Return the id of each document of a block; null where something is wrong, which goes to ``faults``."""
        if self._plan is None:
            ids, missed = pa.nulls(len(block), pa.string()), range(len(block))
        else:
            ids, missed = scan(self._plan, block.data, block.offsets)
        if missed:
            found: list[str | None] = cast("Any", ids).to_pylist()
            for place, line in zip(missed, block.lines(missed), strict=True):
                found[place] = self._id(block, place, line, faults)
            ids = cast("Any", pa).array(found, pa.string())
        faults.lines += len(block)
        return ids

    def _id(self, block: Block, place: int, line: bytes, faults: Faults) -> str | None:
        """Return the id of one document, looked at in the general way."""
        is_valid = _anything if self._validator is None else self._validator.is_valid
        try:
            document = self._decode(line)
            if type(document) is dict and is_valid(document):
                return document_id(document, self._field)  # pyright: ignore[reportUnknownArgumentType] - any JSON
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            if faults.listing:
                rejected = _rejected(block, place, line, behind=faults.lines - faults.count)
                flaws = [_broken(block, place, line, error)]
                faults.tell(replace(rejected, flaws=flaws, doc_id=seeming_id(line, self._field)))
            faults.broken += 1
        else:
            if faults.listing:
                rejected = _rejected(block, place, line, behind=faults.lines - faults.count)
                faults.tell(self._invalid(rejected, document, thorough=faults.thorough))
            faults.invalid += 1
        return None

    def _invalid(self, rejected: RejectedLine, document: Any, *, thorough: bool) -> RejectedLine:
        """Return a line that is JSON with what is wrong with it, and its id if it has one."""
        doc_id: str | None = None
        if not isinstance(document, dict):
            noun = "an array" if isinstance(document, list) else cut(json.dumps(document, ensure_ascii=False))
            found = [Flaw(detail=f"a document must be a JSON object, not {noun}", pointer="", keyword="type")]
        else:
            try:
                doc_id = document_id(document, self._field)  # pyright: ignore[reportUnknownArgumentType] - any JSON
                found = _mismatches(self._validator, document, size=rejected.size, thorough=thorough)
            except (ValueError, RecursionError):
                found = [_mismatch("nested too deeply")]
        told = None if doc_id is None else cut(doc_id)
        flaws = [replace(flaw, line=rejected.line, offset=rejected.offset, doc_id=told) for flaw in found]
        return replace(rejected, kind=RejectKind.INVALID, flaws=flaws, doc_id=doc_id)


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


def seeming_id(line: bytes, field: str | None) -> str | None:
    """Return the id that stands in a line that is not JSON, where one can be made out."""
    names = () if field is None else (json.dumps(field), json.dumps(field, ensure_ascii=False))
    for name in names:
        found = re.search(re.escape(name.encode(errors="replace")) + _ID, line)
        with suppress(ValueError):  # halves of characters, and numbers of thousands of digits
            if found is not None:
                return str(json.loads(found[1])).encode().decode()
    return None


def _plan(definition: Definition) -> Plan | None:
    if definition.doc_id_field is None:
        return None
    try:
        return plan_of(definition.schema, field=definition.doc_id_field)
    except NotPlain:
        return None


def _anything(_document: Any) -> bool:
    return True


def _mismatches(validator: Validator | None, document: Any, *, size: int, thorough: bool) -> list[Flaw]:
    if validator is None or size > _FIRST_TOLD:
        return [_mismatch("too large")]
    if size > _ALL_TOLD or not thorough:
        first = first_flaw(validator, document)
        return [] if first is None else [first]
    return list(flaws_of(validator, document))


def _mismatch(obstacle: str) -> Flaw:
    return Flaw(detail=f"the document does not match the schema, and is {obstacle} to say where", pointer="")


def _broken(block: Block, place: int, line: bytes, error: Exception) -> Flaw:
    detail, offset = _explain(line, error)
    return Flaw(line=int(block.numbers[place]), offset=int(block.places[place]) + offset, detail=detail)


def _explain(line: bytes, error: Exception) -> tuple[str, int]:
    """Return what was expected in a line that is not JSON, and at which of its bytes.

    The fast decoder does not always say; the standard library's says it well, so it is asked.
    """
    try:
        text = line.decode()
        json.loads(text, parse_constant=_no_constant, parse_int=_no_giant)
    except UnicodeDecodeError as fault:
        hint = " (this is gzip: send it with Content-Encoding: gzip)" if line.startswith(b"\x1f\x8b") else ""
        return f"byte 0x{line[fault.start]:02x} is not UTF-8: {fault.reason}{hint}", fault.start
    except json.JSONDecodeError as fault:
        # Its offsets count characters.
        return f"{fault.msg.removesuffix(' at')} at column {fault.pos + 1}", len(line.decode()[: fault.pos].encode())
    except (RecursionError, ValueError) as fault:
        return _TOO_DEEP if isinstance(fault, RecursionError) else str(fault), 0
    if isinstance(error, RecursionError):
        return _TOO_DEEP, 0
    half = next((escape for escape in _ESCAPES.finditer(text) if escape["half"]), None)
    if half and "range" not in str(error):
        offset = len(text[: half.start()].encode())
        return "a \\u escape names half of a surrogate pair, which is no character", offset
    return str(error).partition(" - at `")[0], 0


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON; use null, or leave the field out")


def _no_giant(digits: str) -> int:
    try:
        return int(digits)
    except ValueError as error:
        raise ValueError(f"a number of {len(digits.lstrip('-'))} digits is too long; send it as a string") from error


def _is_are(count: int) -> str:
    return "is" if count == 1 else "are"
