r"""Parses simple regular expressions into runs: a count range of characters from one set, then from another.

A pattern is simple if it begins with ``^`` and is a sequence of ASCII characters, ``\d``, ``\w`` and character sets,
each with an optional quantifier.
"""

import re
from collections.abc import Sequence

from headwater.ingest.scanner.plan import MOST_COUNT, Run

#: Escapes of a literal character, and the two that name a set.
_ESCAPE = r"\\[dw.\\/\[\]^$*+?(){}|-]"
#: A member of a set: a range, an escape, or a character without a special meaning.
_MEMBER = re.compile(rf"[A-Za-z0-9]-[A-Za-z0-9]|{_ESCAPE}|[A-Za-z0-9_ .:/@#%=,;!+*?$(){{}}|]|-(?=\]|$)")
#: A set or character, and its quantifier.
_PART = re.compile(
    rf"(?:\[(?P<set>(?:{_MEMBER.pattern})+)\]|(?P<one>{_ESCAPE}|[A-Za-z0-9_ :/@#%=,;!\"'<>-]))"
    r"(?P<times>\{[0-9]{1,4}(?:,(?:[0-9]{1,4})?)?\}|[*+?])?"
)


def _between(first: str, last: str) -> int:
    return sum(1 << code for code in range(ord(first), ord(last) + 1))


_DIGITS = _between("0", "9")
_NAMED = {"d": _DIGITS, "w": _DIGITS | _between("A", "Z") | _between("a", "z") | 1 << ord("_")}


def runs_of(pattern: str) -> tuple[list[Run], bool]:
    """Return the runs of a regular expression, and whether it is anchored at the end.

    Runs match greedily without backtracking: what follows a run of variable length begins with
    other characters.

    Raises:
        ValueError: it is not simple.
    """
    is_whole = pattern.endswith("$") and not pattern.endswith("\\$")
    end = len(pattern) - is_whole
    runs: list[Run] = []
    sets: list[int] = []
    place = 1
    while place < end and (part := _PART.match(pattern, place, end)):
        place = part.end()
        sets.append(_characters(part))
        runs.append(_run(sets[-1], *_times(part["times"])))
    if pattern[:1] != "^" or place < end or _gives_back(runs, sets):
        raise ValueError(f"the pattern {pattern!r} is not simple")
    return runs, is_whole


def _run(characters: int, least: int, most: int) -> Run:
    words = (characters >> shift & (1 << 64) - 1 for shift in range(0, 256, 64))
    return Run(tuple(words), least, most)


def _characters(part: re.Match[str]) -> int:
    """Return a set of characters as a bit mask."""
    members = [part["one"]] if part["set"] is None else _MEMBER.findall(part["set"])
    found = 0
    for member in members:
        found |= _named(member)
    return found


def _named(member: str) -> int:
    if member[0] == "\\":
        return _NAMED.get(member[1], 1 << ord(member[1]))
    return _between(member[0], member[-1])


def _times(times: str | None) -> tuple[int, int]:
    """Return the minimum and maximum count of a quantifier."""
    match times:
        case None:
            return 1, 1
        case "?":
            return 0, 1
        case "*":
            return 0, MOST_COUNT
        case "+":
            return 1, MOST_COUNT
        case _:
            least, comma, most = times[1:-1].partition(",")
            return int(least), int(most or (MOST_COUNT if comma else least))


def _gives_back(runs: Sequence[Run], sets: Sequence[int]) -> bool:
    for place, run in enumerate(runs):
        if run.least == run.most:
            continue
        for after in range(place + 1, len(runs)):
            if sets[after] & sets[place]:
                return True
            if runs[after].least:
                break
    return False
