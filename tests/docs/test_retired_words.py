"""Retired names and phrases, which must not return to the sources or to the documentation.

Each was replaced by the field's own term, such as ``TaskCache`` for ``Acquaintances`` and "fix" for "mend".
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = [ROOT / "src", ROOT / "clients/python/src", ROOT / "clients/js/src"]
PAGES = [*(ROOT / "docs").rglob("*.md"), *(ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"))]

#: Whole words and phrases, in any text; case counts.
WORDS = (
    "Acquaintances",
    "Allowance",
    "Reception",
    "Doers",
    "Surveyor",
    "Doctor",
    "Witness",
    "Deeds",
    "Postman",
    "Mailer",
    "Errands",
    "Teller",
    "Historian",
    "Eraser",
    "Tally",
    "Follower",
    "Inflow",
    "Foresight",
    "acquaintances",
    "doers",
    "errands",
    "mailing",
    "teller",
    "foreseen",
    "is_done_by",
    "done_by",
    "Doer",
    "postman",
    "untold",
    "take_turn",
    "otherwise_all",
    "of_it",
    "Mend it",
    "how to mend",
    "who comes second",
    "comes second",
    "be it that",
    "for ever",
    "by lot",
    "What nobody does",
    "whose doing",
    "behind your back",
    "at its leisure",
    "holds together",
    "is to demand",
    "Put it back, and it is again",
    "take it along",
    "posted to others",
    "Behind that event",
    "at most so many",
    "At most so many",
    "told apart",
    "Let those who",
    "let those who",
    "tells of all",
)

#: Names of modules, classes and functions; many are ordinary words in a sentence.
NAMES = {
    "Aside",
    "Awaiting",
    "Backend",
    "Bell",
    "Blocking",
    "Direct",
    "Effects",
    "Faults",
    "Heard",
    "Intake",
    "Judge",
    "Measure",
    "Meters",
    "Outbound",
    "Parts",
    "Patience",
    "Prepared",
    "Pump",
    "Question",
    "Room",
    "Rounds",
    "Seen",
    "Told",
    "Tracing",
    "Tries",
    "Turns",
    "Written",
    "_Patience",
    "_Pouring",
    "aside",
    "asking",
    "bell",
    "doctor",
    "endings",
    "eventsource",
    "intake",
    "judged",
    "merging",
    "outbound",
    "patience",
    "placing",
    "postman",
    "pump",
    "recheck",
    "rounds",
    "survey",
    "tally",
    "winners",
    "witness",
    "write_down",
}

_DEFINITION = re.compile(r"^\s*(?:export )?(?:class|(?:async )?def|(?:async )?function) (\w+)", re.MULTILINE)
#: A line's end, with the sign of the next line's comment: phrases are found across lines.
_LINE_END = re.compile(r"\s*\n\s*(?:#:?|//|\*)?\s*")


def sources() -> Iterator[Path]:
    for folder in SOURCES:
        yield from (path for path in folder.rglob("*") if path.suffix in {".py", ".js", ".ts", ".c"})


@pytest.mark.parametrize("kind", ["sources", "documentation"])
def test_no_retired_word_is_used(kind):
    retired = re.compile(rf"\b(?:{'|'.join(map(re.escape, WORDS))})\b")
    found = {}
    for path in sources() if kind == "sources" else PAGES:
        if words := retired.findall(_LINE_END.sub(" ", path.read_text())):
            found[str(path.relative_to(ROOT))] = words
    assert found == {}


def test_no_module_class_or_function_has_a_retired_name():
    found = set()
    for path in sources():
        names = {path.stem, path.parent.name, *_DEFINITION.findall(path.read_text())}
        found |= {(str(path.relative_to(ROOT)), name) for name in names & NAMES}
    assert found == set()
