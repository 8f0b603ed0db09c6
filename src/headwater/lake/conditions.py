"""Conditions as DuckDB reads them: a document is found by what its text says, however it is written.

The text of a query is made of constants; words, fields and values are bound. No document makes a query
fail, whatever it holds: where DuckDB cannot read a document as JSON, its words are looked for in the text
as it is, and its fields count as absent.

Words are looked for in the whole JSON text, names of fields included, and as JSON writes them within a
string: a word with a quote or a backslash is found where a string holds it. A text with escapes is
written anew by DuckDB first, which leaves only those that JSON demands. That changes numbers as well:
beside an escape, 1.50 is found as 1.5. Case is what DuckDB's ``lower`` makes of both sides, a character
at a time; nothing else is folded, so that ß is not ss.

Where a document has a name twice in one object, DuckDB reads the first.
"""

import json
from typing import Any

from headwater.domain.condition import Comparison, Condition, Kind, Operator

# DuckDB evaluates anew what is written twice, so that a value that is needed more than once is made the only
# element of a list, and named by a lambda. What must not be evaluated is kept behind a CASE: unlike an AND,
# it looks no further than it has to.

_TEXT = """
    lower(CASE WHEN contains({column}, '\\') THEN coalesce(TRY(json({column})::VARCHAR), {column}) ELSE {column} END)
"""

_WORDS = f"list_transform([{_TEXT}], lambda text: {{hold}})[1]"

_IS_NULL = "coalesce(TRY(json_type({column}, {pointer})), 'NULL') = 'NULL'"

_ANY = """
    len(list_filter(
        CASE TRY(json_type({column}, {pointer}))
            WHEN 'ARRAY' THEN json_extract(json_extract({column}, {pointer}), '$[*]')
            ELSE [TRY(json_extract({column}, {pointer}))]
        END,
        lambda one: {holds}
    )) > 0
"""

_STRING = "json_extract_string(one, '$')"
_DOUBLES = f"TRY_CAST({_STRING} AS DOUBLE) {{operator}} {{value}}::DOUBLE"
_NUMBERS = "json_type(one) IN ('BIGINT', 'UBIGINT', 'DOUBLE')"

#: When one value of a document, which is no array, stands to a value of a kind as it should.
_HOLDS = {
    Kind.TEXT: f"json_type(one) = 'VARCHAR' AND {_STRING} {{operator}} {{value}}",
    Kind.BOOLEAN: f"json_type(one) IN ('VARCHAR', 'BOOLEAN') AND {_STRING} {{operator}} {{value}}",
    Kind.FRACTION: f"""
        CASE
            WHEN json_type(one) = 'VARCHAR' THEN {{same}}
            WHEN {_NUMBERS} THEN {_DOUBLES}
        END
    """,
    # To DuckDB's JSON an integer of more than 64 bits is a DOUBLE, but it keeps all digits. A cast to BIGNUM
    # would round a fraction.
    Kind.INTEGER: f"""
        CASE
            WHEN json_type(one) = 'VARCHAR' THEN {{same}}
            WHEN {_NUMBERS} AND regexp_full_match({_STRING}, '-?[0-9]+')
                THEN TRY_CAST({_STRING} AS BIGNUM) {{operator}} {{value}}::BIGNUM
            WHEN {_NUMBERS} THEN {_DOUBLES}
        END
    """,
}


def clause(condition: Condition, *, column: str = "doc") -> tuple[str, dict[str, Any]]:
    """Return SQL that is true of a row whose ``column`` fulfils the condition, false of others, and what to bind.

    The values are named ``w``, ``p`` and ``v`` with a number. Of a document's versions, the one that shows
    must be chosen first: the condition asks about that one alone.
    """
    parts: list[str] = []
    values: dict[str, Any] = {}
    if condition.words:
        words = {f"w{place}": _written(word) for place, word in enumerate(condition.words)}
        hold = " AND ".join(f"contains(text, lower(${name}))" for name in words)
        parts.append(_WORDS.format(column=column, hold=hold))
        values |= words
    for place, comparison in enumerate(condition.comparisons):
        values[f"p{place}"] = comparison.pointer
        if comparison.kind is not Kind.NULL:
            values[f"v{place}"] = comparison.value
        parts.append(_compared(comparison, column=column, pointer=f"$p{place}", value=f"$v{place}"))
    return " AND ".join(f"({part.strip()})" for part in parts) or "true", values


def _compared(comparison: Comparison, *, column: str, pointer: str, value: str) -> str:
    differs = comparison.operator is Operator.NE
    if comparison.kind is Kind.NULL:
        holds = _IS_NULL.format(column=column, pointer=pointer)
    else:
        operator = Operator.EQ if differs else comparison.operator
        # A text that looks like a number equals it, but has no place in the order of numbers.
        same = f"{_STRING} = {value}" if operator is Operator.EQ else "false"
        one = _HOLDS[comparison.kind].format(operator=operator, value=value, same=same)
        holds = _ANY.format(column=column, pointer=pointer, holds=one)
    return f"NOT ({holds.strip()})" if differs else holds


def _written(word: str) -> str:
    """Return a word as JSON writes it within a string, with no more escapes than JSON demands."""
    return json.dumps(word, ensure_ascii=False)[1:-1]
