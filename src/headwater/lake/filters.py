"""Filters as SQL for DuckDB: documents are matched by their content, however it is written.

The text of a query consists of constants; words, fields and values are bound. No document makes a query
fail: if DuckDB cannot read a document as JSON, its words are searched in the raw text, and its fields count
as absent.

Words are searched in the whole JSON text, names of fields included, as JSON encodes them in a string: a
word with a quote or a backslash is found in a string that contains it. DuckDB first rewrites a text with
escapes, so that only the required ones remain. That changes numbers as well: in a text with escapes, 1.50
is found as 1.5. Both sides are lowercased by DuckDB's ``lower``, character by character; nothing else is
folded, so that ß does not match ss.

If a name occurs twice in one object, the last counts, as everywhere in Headwater. DuckDB reads the first, so that
a document in whose text a name of the field occurs more than once is searched name by name.
"""

import json
from typing import Any

from headwater.domain.filter import Comparison, Condition, Operator, ValueType

# DuckDB evaluates a repeated expression again, so that a value needed more than once becomes the only
# element of a list, and is named by a lambda. What must not be evaluated is guarded by a CASE: unlike an AND,
# it evaluates no more than it has to.

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

#: A field's value, found name by name, so that the last of an object's members of one name counts.
_LAST = """
    list_reduce(
        {names},
        lambda value, name: CASE json_type(value)
            WHEN 'OBJECT' THEN
                list_reverse(json_extract(value, '$.*'))[list_position(list_reverse(json_keys(value)), name)]
            WHEN 'ARRAY' THEN json_extract(value, '/' || replace(replace(name, '~', '~0'), '/', '~1'))
        END,
        TRY(json_extract({column}, '$'))
    )
"""
#: Fields with more names than this are not checked for repeated names.
_MOST_DOUBTED = 8
_TWICE = "len(string_split({column}, {quoted})) > 2"
#: A name may be written with escapes: an ASCII name with few of them, which is rare; another with any number.
_ESCAPED = {
    True: """contains({column}, '\\') AND regexp_matches({column}, '\\\\(u00[0-7]|/)[^"]*"[ \\t\\r\\n]*:')""",
    False: """contains({column}, '\\') AND regexp_matches({column}, '\\\\[u/][^"]*"[ \\t\\r\\n]*:')""",
}

_STRING = "json_extract_string(one, '$')"
_DOUBLES = f"TRY_CAST({_STRING} AS DOUBLE) {{operator}} {{value}}::DOUBLE"
_NUMBERS = "json_type(one) IN ('BIGINT', 'UBIGINT', 'DOUBLE')"

#: Whether one value of a document, which is not an array, compares to a value of a type as required.
_HOLDS = {
    ValueType.TEXT: f"json_type(one) = 'VARCHAR' AND {_STRING} {{operator}} {{value}}",
    ValueType.BOOLEAN: f"json_type(one) IN ('VARCHAR', 'BOOLEAN') AND {_STRING} {{operator}} {{value}}",
    ValueType.FRACTION: f"""
        CASE
            WHEN json_type(one) = 'VARCHAR' THEN {{same}}
            WHEN {_NUMBERS} THEN {_DOUBLES}
        END
    """,
    # DuckDB's JSON types integers of more than 64 bits as DOUBLE, but keeps all digits. A cast to BIGNUM
    # would round a fraction.
    ValueType.INTEGER: f"""
        CASE
            WHEN json_type(one) = 'VARCHAR' THEN {{same}}
            WHEN {_NUMBERS} AND regexp_full_match({_STRING}, '-?[0-9]+')
                THEN TRY_CAST({_STRING} AS BIGNUM) {{operator}} {{value}}::BIGNUM
            WHEN {_NUMBERS} THEN {_DOUBLES}
        END
    """,
}


#: Numbers that certainly do not compare as required, as doubles: what is left is compared exactly, at three times the
#: cost. Rounding keeps the order, but may make numbers equal.
_NUMERIC = """
    CASE
        WHEN NOT (
            TRY_CAST(TRY(json_extract_string({column}, {pointer})) AS DOUBLE) {rough} TRY_CAST({value} AS DOUBLE)
        ) THEN false
        {certain}
        ELSE {holds}
    END
"""
_AT_LEAST_EQUAL = {Operator.LT: Operator.LE, Operator.GT: Operator.GE}
#: Numbers that certainly compare as required: as JSON, a text has quotes, and is no number.
_CERTAIN = """
    WHEN TRY_CAST(TRY(json_extract({column}, {pointer}))::VARCHAR AS DOUBLE) {operator} {value}::DOUBLE THEN true
"""
#: A double holds integers of up to 15 digits exactly, so that all numbers compare with them as doubles do.
_EXACT_DIGITS = 15

#: Documents without escapes that do not hold a text at all: nothing in them equals it.
_LACKS = "WHEN NOT contains({column}, {text}) AND NOT contains({column}, '\\') THEN false "


def clause(condition: Condition, *, column: str = "doc", prefix: str = "") -> tuple[str, dict[str, Any]]:
    """Return SQL that is true for a row whose ``column`` matches the condition, false for others, and its parameters.

    The parameters are named by a letter with a number, after the ``prefix``. The current version of a
    document must be selected first: the condition applies to that one alone.
    """
    parts: list[str] = []
    values: dict[str, Any] = {}
    if condition.words:
        words = {f"{prefix}w{place}": _written(word) for place, word in enumerate(condition.words)}
        hold = " AND ".join(f"contains(text, lower(${name}))" for name in words)
        parts.append(_WORDS.format(column=column, hold=hold))
        values |= words
    for place, comparison in enumerate(condition.comparisons):
        p, v, n, t = (f"{prefix}{letter}{place}" for letter in "pvnt")
        values[p] = comparison.pointer
        if comparison.kind is not ValueType.NULL:
            values[v] = comparison.value
        names = _names(comparison.pointer)
        values[n] = names
        quoted = {
            f"{prefix}q{place}_{index}": json.dumps(name, ensure_ascii=False)
            for index, name in enumerate(dict.fromkeys(names))
        }
        doubts = "true"
        if len(quoted) <= _MOST_DOUBTED:
            values |= quoted
            twice = [_TWICE.format(column=column, quoted=f"${name}") for name in quoted]
            doubts = " OR ".join([*twice, _ESCAPED[comparison.pointer.isascii()].format(column=column)])
        first = _compared(comparison, column=column, pointer=f"${p}", value=f"${v}")
        last = _compared(comparison, column="found", pointer="'$'", value=f"${v}").replace("TRY(", "(")
        found = _LAST.format(column=column, names=f"${n}::VARCHAR[]")
        lacks = ""
        if comparison.operator is Operator.EQ and comparison.kind in {ValueType.TEXT, ValueType.BOOLEAN}:
            lacks = _LACKS.format(column=column, text=f"${t}")
            # The texts "true" and "false" equal the literals.
            is_text = comparison.kind is ValueType.TEXT
            values[t] = f'"{_written(comparison.value)}"' if is_text else comparison.value
        parts.append(
            f"CASE {lacks}WHEN {doubts} THEN list_transform([{found}], lambda found: {last})[1] ELSE {first} END"
        )
    return " AND ".join(f"({part.strip()})" for part in parts) or "true", values


def _compared(comparison: Comparison, *, column: str, pointer: str, value: str) -> str:
    differs = comparison.operator is Operator.NE
    if comparison.kind is ValueType.NULL:
        holds = _IS_NULL.format(column=column, pointer=pointer)
    else:
        operator = Operator.EQ if differs else comparison.operator
        # A text that looks like a number may be equal to it, but is not ordered among numbers.
        same = f"{_STRING} = {value}" if operator is Operator.EQ else "false"
        one = _HOLDS[comparison.kind].format(operator=operator, value=value, same=same)
        holds = _ANY.format(column=column, pointer=pointer, holds=one)
        if comparison.kind in {ValueType.INTEGER, ValueType.FRACTION}:
            asked = {"column": column, "pointer": pointer, "value": value}
            is_exact = comparison.kind is ValueType.FRACTION or len(comparison.value) <= _EXACT_DIGITS
            certain = _CERTAIN.format(**asked, operator=operator).strip() if is_exact else ""
            rough = _AT_LEAST_EQUAL.get(operator, operator)
            holds = _NUMERIC.format(**asked, rough=rough, certain=certain, holds=holds.strip())
    return f"NOT ({holds.strip()})" if differs else holds


def _names(pointer: str) -> list[str]:
    return [name.replace("~1", "/").replace("~0", "~") for name in pointer.split("/")[1:]]


def _written(word: str) -> str:
    """Return a word as JSON encodes it in a string, with only the required escapes."""
    return json.dumps(word, ensure_ascii=False)[1:-1]
