r"""A simple regular expression as runs: so many characters of a set, and then so many of another.

Simple is what begins with ``^`` and is a row of ASCII characters, of ``\d`` and ``\w``, and of sets, each with how
often it may come.
"""

import re
from collections.abc import Sequence

from headwater.ingest.plan import MOST_COUNT, Run

#: What stands for itself behind a backslash, and two that name a set.
_ESCAPE = r"\\[dw.\\/\[\]^$*+?(){}|-]"
#: A member of a set: a range, an escape, or a character that means nothing more there.
_MEMBER = re.compile(rf"[A-Za-z0-9]-[A-Za-z0-9]|{_ESCAPE}|[A-Za-z0-9_ .:/@#%=,;!+*?$(){{}}|]|-(?=\]|$)")
#: A part, and how often it may come.
_PART = re.compile(
    rf"(?:\[(?P<set>(?:{_MEMBER.pattern})+)\]|(?P<one>{_ESCAPE}|[A-Za-z0-9_ :/@#%=,;!\"'<>-]))"
    r"(?P<times>\{[0-9]{1,4}(?:,(?:[0-9]{1,4})?)?\}|[*+?])?"
)


def _between(first: str, last: str) -> int:
    return sum(1 << code for code in range(ord(first), ord(last) + 1))


_DIGITS = _between("0", "9")
_NAMED = {"d": _DIGITS, "w": _DIGITS | _between("A", "Z") | _between("a", "z") | 1 << ord("_")}


def runs_of(pattern: str) -> tuple[list[Run], bool]:
    """Return the runs of a regular expression, and whether the string ends where they end.

    Each run takes as much as it can, and never has to give any of it back: what follows one of varying
    length begins with other characters.

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
    """Return a set of characters, a bit for each."""
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
    """Return how often a part must come, and how often it may."""
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
