"""Documents checked one by one: JSON, an object, matching the schema; and the id of each.

No document outlives its line: keeping the objects of a block would cost half the speed in allocation
and garbage collection.
"""

import json
import re
from dataclasses import replace
from typing import Any, NoReturn

import msgspec

from headwater.domain.document import document_id
from headwater.domain.errors import MOST_FLAWS, DocumentInvalid, Flaw, UploadBroken
from headwater.domain.external import Definition
from headwater.domain.schema import compile_schema, cut, flaws_of
from headwater.ingest.lines import Block

_TOO_DEEP = "it is nested too deeply"
_LONE_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class Faults:
    """What is wrong with an upload so far: the first faults one by one, all of them counted."""

    def __init__(self) -> None:
        self.broken = 0
        self.invalid = 0
        self.flaws: list[Flaw] = []

    def __bool__(self) -> bool:
        """Tell whether anything is wrong."""
        return bool(self.broken or self.invalid)

    @property
    def listing(self) -> bool:
        """Whether there is room to tell of another fault by itself."""
        return len(self.flaws) < MOST_FLAWS

    def error(self, *, lines: int, external: str) -> UploadBroken | DocumentInvalid:
        """Return the error for an upload of so many lines: broken if any line is, invalid otherwise."""
        truncated = len(self.flaws) == MOST_FLAWS
        if self.broken:
            return UploadBroken(
                f"{self.broken} of {lines} lines {_is_are(self.broken)} not JSON; nothing of the upload was kept",
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

    def ids(self, block: Block, faults: Faults) -> list[str]:
        """Return the id of each document of a block; what is wrong with any goes to ``faults``.

        With faults, ids are missing and the list is of no more use.
        """
        found: list[str] = []
        append, decode, field = found.append, self._decode, self._field
        is_valid = _anything if self._validator is None else self._validator.is_valid
        for place, line in enumerate(block.lines()):
            try:
                document = decode(line)
                if type(document) is dict and is_valid(document):
                    value: Any = document.get(field)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
                    append(value if type(value) is str else document_id(document, field))  # pyright: ignore[reportUnknownArgumentType]
                    continue
            except (msgspec.DecodeError, ValueError, RecursionError) as error:
                faults.broken += 1
                if faults.listing:
                    faults.flaws.append(_broken(block, place, line, error))
            else:
                faults.invalid += 1
                if faults.listing:
                    faults.flaws += self._flaws(block, place, document)[: MOST_FLAWS - len(faults.flaws)]
        return found

    def _flaws(self, block: Block, place: int, document: Any) -> list[Flaw]:
        line, offset = int(block.numbers[place]), int(block.places[place])
        if not isinstance(document, dict):
            detail = f"a document must be a JSON object, not {cut(json.dumps(document))}"
            return [Flaw(line=line, offset=offset, pointer="", keyword="type", detail=detail)]
        if self._validator is None:
            return []
        doc_id = document_id(document, self._field)  # pyright: ignore[reportUnknownArgumentType] - any JSON
        return [
            replace(flaw, line=line, offset=offset, doc_id=cut(doc_id)) for flaw in flaws_of(self._validator, document)
        ]


def _anything(_document: Any) -> bool:
    return True


def _broken(block: Block, place: int, line: bytes, error: Exception) -> Flaw:
    detail, offset = _explain(line, error)
    return Flaw(line=int(block.numbers[place]), offset=int(block.places[place]) + offset, detail=detail)


def _explain(line: bytes, error: Exception) -> tuple[str, int]:
    """Return what was expected in a line that is not JSON, and at which of its bytes.

    The fast decoder does not always say; the standard library's says it well, so it is asked.
    """
    try:
        text = line.decode()
        json.loads(text, parse_constant=_no_constant)
    except UnicodeDecodeError as fault:
        return f"byte 0x{line[fault.start]:02x} is not UTF-8: {fault.reason}", fault.start
    except json.JSONDecodeError as fault:
        # Its offsets count characters.
        return f"{fault.msg} at column {fault.pos + 1}", len(line.decode()[: fault.pos].encode())
    except (RecursionError, ValueError) as fault:
        return _TOO_DEEP if isinstance(fault, RecursionError) else str(fault), 0
    if isinstance(error, RecursionError):
        return _TOO_DEEP, 0
    surrogate = _LONE_SURROGATE.search(text)
    if surrogate and "range" not in str(error):
        return "a \\u escape names half of a surrogate pair, which is no character", surrogate.start()
    return str(error).removesuffix(" - at `$[...]`"), 0


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON; use null, or leave the field out")


def _is_are(count: int) -> str:
    return "is" if count == 1 else "are"
