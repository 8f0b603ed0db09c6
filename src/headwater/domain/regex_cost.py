r"""An upper bound on the cost of a regular expression, and an equivalent that takes linear time.

``jsonschema_rs`` matches an expression without look-around, back references, atomic groups and possessive quantifiers
with an automaton, in time linear in the text. All others run in a backtracking matcher. Of these, two forms are linear
as well, since all of their parts are delegated to the automaton and there are few positions at which they can match:

- ``^``, then look-aheads, then a plain expression: ``^(?=.*\d)(?!.*\s).{8,}$``;
- look-aheads and a rest that all begin with ``.*``, ``.+`` or ``.{n,}``: ``(?=.*\d)(?=.*[a-z]).{8,}``. If it matches
  anywhere, it matches at the start of a line, so that only the starts of lines are tried.
"""

import math
import re
from dataclasses import dataclass

#: The start of a line, as ``.`` defines lines.
_LINE_START = r"(?:^|(?<=[\n\r\u2028\u2029]))"
#: Tokens that need the backtracking matcher: a group that is neither plain nor a look-ahead, or a reference.
_BACKTRACKING = re.compile(r"\\(?:[1-9KGk]|[0-9]{2})|\(\?(?:<[=!]|>|\()|[*+?}]\+")
_LOOK_AHEAD = re.compile(r"\(\?[=!]")
_GREEDY_LINE = re.compile(r"\.(?:\*|\+|\{\d+,\})(?![?+])")
_QUANTIFIER = re.compile(r"\{(?P<least>\d+)(?P<comma>,(?P<most>\d*))?\}")
_GROUP = re.compile(r"\(\?(?:[:=!]|<?[=!]|P?<[^>]*>|[a-zA-Z-]+[:)])?|\(")
#: A whole escape: a character property, a code point, or one character after a backslash.
_ESCAPE = re.compile(r"\\(?:[pPu]\{[^}]*\}|.)", re.DOTALL)
#: Approximate number of automaton states of character classes.
_WIDE_CLASS, _PROPERTY = 8, 256


@dataclass(frozen=True, kw_only=True)
class RegexCost:
    """The cost of a regular expression."""

    #: Approximate number of states of its automaton, which determines the cost of compiling it.
    size: float
    #: Maximum steps for each byte of a text; infinite if the time is not linear.
    per_byte: float
    #: An equivalent expression of linear time, if there is one; otherwise the expression itself.
    linear: str


def regex_cost(pattern: str) -> RegexCost:
    """Return the cost of a regular expression; one that cannot be parsed has no bound."""
    try:
        size = _size(pattern)
        has_look_ahead = any(_LOOK_AHEAD.match(pattern, place) for place in _tokens(pattern))
    except ValueError:
        return RegexCost(size=math.inf, per_byte=math.inf, linear=pattern)
    if any(_BACKTRACKING.match(pattern, place) for place in _tokens(pattern)):
        return RegexCost(size=size, per_byte=math.inf, linear=pattern)
    if not has_look_ahead:
        return RegexCost(size=size, per_byte=size, linear=pattern)
    linear = _linear(pattern)
    return RegexCost(size=size, per_byte=math.inf if linear is None else size, linear=linear or pattern)


def _linear(pattern: str) -> str | None:
    is_anchored = pattern.startswith("^")
    place = int(is_anchored)
    bodies: list[tuple[bool, str]] = []
    while _LOOK_AHEAD.match(pattern, place):
        end = _group_end(pattern, place)
        bodies.append((pattern[place + 2] == "=", pattern[place + 3 : end - 1]))
        place = end
    rest = pattern[place:]
    texts = [rest, *(body for _, body in bodies)]
    if any(_LOOK_AHEAD.match(text, at) for text in texts for at in _tokens(text)) or rest[:1] in set("*+?{"):
        return None
    if any(_has_alternatives(text) for text in (rest if is_anchored else "", *([] if is_anchored else texts))):
        return None
    if is_anchored:
        return pattern
    is_monotone = all(is_wanted and _GREEDY_LINE.match(body) for is_wanted, body in bodies)
    return _LINE_START + pattern if is_monotone and (not rest or _GREEDY_LINE.match(rest)) else None


def _tokens(pattern: str) -> list[int]:
    """Return the positions of an expression's tokens outside of character classes; an escape is one token."""
    found: list[int] = []
    place = 0
    while place < len(pattern):
        found.append(place)
        escape = _ESCAPE.match(pattern, place)
        place = escape.end() if escape else _class_end(pattern, place) if pattern[place] == "[" else place + 1
    return found


def _class_end(pattern: str, place: int) -> int:
    at = place + 1
    while at < len(pattern):
        if pattern[at] == "]":
            return at + 1
        at += 1 + (pattern[at] == "\\")
    raise ValueError("a class that does not end")


def _group_end(pattern: str, place: int) -> int:
    depth = 0
    for at in _tokens(pattern[place:]):
        depth += {"(": 1, ")": -1}.get(pattern[place + at], 0)
        if not depth:
            return place + at + 1
    raise ValueError("a group that does not end")


def _has_alternatives(pattern: str) -> bool:
    depth = 0
    for at in _tokens(pattern):
        depth += {"(": 1, ")": -1}.get(pattern[at], 0)
        if pattern[at] == "|" and not depth:
            return True
    return False


def _size(pattern: str) -> float:
    """Return the approximate number of automaton states of an expression, never far too low.

    Raises:
        ValueError: the expression cannot be parsed.
    """
    groups: list[float] = [1.0]
    last = 0.0
    place = 0
    while place < len(pattern):
        sign = pattern[place]
        quantifier = _QUANTIFIER.match(pattern, place)
        if sign == "(":
            group = _GROUP.match(pattern, place)
            groups.append(1.0)
            place = group.end() if group else place + 1
            last = 0.0
            continue
        if sign == ")":
            last = groups.pop()
            if not groups:
                raise ValueError("a group that does not begin")
            groups[-1] += last
            place += 1
            continue
        if quantifier:
            times = max(int(quantifier["most"] or 0), int(quantifier["least"]), 1)
            groups[-1] += last * (times - 1)
            place = quantifier.end()
            continue
        place, last = _atom(pattern, place)
        groups[-1] += last
    if len(groups) != 1:
        raise ValueError("a group that does not end")
    return groups[0]


def _atom(pattern: str, place: int) -> tuple[int, float]:
    """Return where a single token ends, and its number of states."""
    sign = pattern[place]
    if sign == "[":
        end = _class_end(pattern, place)
        body = pattern[place:end]
        if "\\p" in body or "\\P" in body:
            return end, _PROPERTY * body.lower().count("\\p")
        is_wide = body[1] == "^" or "\\" in body or not body.isascii()
        return end, _WIDE_CLASS * len(body) if is_wide else 1.0
    if sign == "\\":
        escape = _ESCAPE.match(pattern, place)
        if escape is None:
            raise ValueError("nothing is behind a backslash")
        name = escape[0][1]
        return escape.end(), _PROPERTY if name in "pP" else _WIDE_CLASS if name in "DWSsbB" else 1.0
    return place + 1, _WIDE_CLASS if sign == "." else 1.0
