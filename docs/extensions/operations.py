"""The HTTP API as a page: Markdown, written from the OpenAPI document when the page is built."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from headwater.app import create_app
from headwater.settings import Settings

#: Where in a page the operations are to stand. Who reads the page elsewhere sees nothing of it.
PLACE = "<!-- every operation stands here -->"

#: Subjects in the order in which a reader meets them; others follow as they come.
SUBJECTS = ("streams", "externals", "crawlers", "tasks", "for crawlers", "reading", "links", "audit")

#: Bounds from here on are those of the database, which nobody comes to.
_NO_BOUND = 2**31 - 1
#: From here on, a status tells of an error.
_FIRST_ERROR = 400
_ERROR = re.compile(r"^## ([\w-]+)\n\n\*\*(\d{3})\*\*", re.MULTILINE)

Json = Mapping[str, Any]


def setup(app: Sphinx) -> dict[str, bool]:
    """Let a page have the operations at their place."""
    app.connect("source-read", _fill)
    return {"parallel_read_safe": True}


def _fill(app: Sphinx, _page: str, source: list[str]) -> None:
    if PLACE in source[0]:
        errors = (Path(app.srcdir) / "reference/errors.md").read_text()
        operations = Operations(create_app(Settings()).openapi(), errors={code: name for name, code in firsts(errors)})
        source[0] = source[0].replace(PLACE, operations.markdown())


def firsts(errors: str) -> Iterator[tuple[str, str]]:
    """Return the first section of each status in the page of errors, and the status."""
    return reversed(_ERROR.findall(errors))  # a mapping keeps the last one that it is given


class Operations:
    """The operations of an OpenAPI document (3.1), by subject, then the objects that they take and answer."""

    def __init__(self, document: Json, *, errors: Mapping[str, str]) -> None:
        """Read a document.

        Args:
            document: as FastAPI makes it.
            errors: for each status, the section of ``errors.md`` with which its errors begin.
        """
        self._schemas: Json = document["components"]["schemas"]
        self._errors = errors
        self._operations = [
            (method.upper(), path, operation)
            for path, methods in document["paths"].items()
            for method, operation in methods.items()
        ]
        answered = [set(operation["responses"]) for _, _, operation in self._operations]
        #: What every operation may answer: said once.
        self._everywhere = {status for status in set.intersection(*answered) if int(status) >= _FIRST_ERROR}
        #: Objects that were linked to, and those that were described.
        self._mentioned: set[str] = set()

    def markdown(self) -> str:
        """Return the whole page, below its heading."""
        found = dict.fromkeys(operation["tags"][0] for _, _, operation in self._operations)
        subjects = sorted(found, key=lambda subject: SUBJECTS.index(subject) if subject in SUBJECTS else len(SUBJECTS))
        any_one = self._operations[0][2]["responses"]
        everywhere = [self._answer(status, any_one[status]) for status in sorted(self._everywhere)]
        parts = ["## What every call may answer", _fields(everywhere, kind="answers")]
        for subject in subjects:
            parts.append(f"## {subject.capitalize()}")
            parts += [self._operation(*one) for one in self._operations if one[2]["tags"][0] == subject]
        parts.append("## Objects")
        return "\n\n".join([*parts, *self._objects()])

    def _objects(self) -> list[str]:
        described: dict[str, str] = {}
        while missing := self._mentioned - described.keys():
            name = min(missing)
            schema = self._schemas[name]
            described[name] = f"### {name}\n\n{schema.get('description', '')}\n\n{_fields(self._properties(schema))}"
        return [described[name] for name in sorted(described)]

    def _operation(self, method: str, path: str, operation: Json) -> str:
        parts = [
            f"### {operation['summary'].capitalize()}",
            f"```{{container}} call\n**{method}** `{path}`\n```",
            operation["description"],
        ]
        if "security" not in operation:
            parts.append("No key is needed.")
        if parameters := [_parameter(one, self._words(one["schema"])) for one in operation.get("parameters", ())]:
            parts += ["**Parameters**", _fields(parameters)]
        if body := operation.get("requestBody"):
            parts += self._body(body)
        answers = [
            self._answer(status, answer)
            for status, answer in sorted(operation["responses"].items())
            if status not in self._everywhere
        ]
        return "\n\n".join([*parts, "**Answers**", _fields(answers, kind="answers")])

    def _body(self, body: Json) -> Iterator[str]:
        (media_type, content), *_ = body["content"].items()
        needed = "" if body.get("required") else ", may be left out"
        kind = "" if media_type == "application/json" else f", `{media_type}`"
        yield f"**Body**{kind}{needed}"
        schema = content["schema"]
        schema = next((option for option in schema.get("anyOf", ()) if "$ref" in option), schema)
        told = self._schemas[_name(schema)] if "$ref" in schema else schema
        yield body.get("description") or told.get("description") or ""
        if "properties" in told:
            yield _fields(self._properties(told))

    def _properties(self, schema: Json) -> list[tuple[str, str, str]]:
        required = schema.get("required", ())
        return [
            (f"`{name}`", _facts(self._words(field), field, is_required=name in required), field.get("description", ""))
            for name, field in schema["properties"].items()
        ]

    def _answer(self, status: str, answer: Json) -> tuple[str, str, str]:
        if int(status) >= _FIRST_ERROR:
            return f"[`{status}`](errors.md#{self._errors[status]})", "", answer["description"]
        content = answer.get("content", {})
        words = [self._answered(one["schema"]) for kind, one in content.items() if kind == "application/json"]
        words = words or [f"`{kind}`" for kind in content]
        said = answer["description"]
        return f"`{status}`", _either(words) if words else "", "" if said == "Successful Response" else said

    def _answered(self, schema: Json) -> str:
        """Say what ``payload`` is, which is all that a success is about, or which object an answer without one is."""
        if "anyOf" in schema:
            return _either(self._answered(option) for option in schema["anyOf"])
        properties = self._schemas[_name(schema)]["properties"]
        if "payload" not in properties:
            return self._words(schema)
        words = self._words(properties["payload"])
        return f"{words}, page by page" if "next_cursor" in properties else words

    def _words(self, schema: Json) -> str:
        """Say what a value may be."""
        match schema:
            case {"$ref": _}:
                words = self._reference(_name(schema))
            case {"anyOf": options}:
                words = _either(self._words(option) for option in options)
            case {"enum": values}:
                words = _either(f"`{value}`" for value in values)
            case {"const": value}:
                words = f"`{value}`"
            case {"type": "array", "items": items}:
                words = f"list of {self._words(items)}"
            case {"type": "string", "format": "date-time"}:
                words = "moment"
            case {"type": kind}:
                words = kind + _bounds(schema)
            case _:
                words = "any JSON"
        return words

    def _reference(self, name: str) -> str:
        schema = self._schemas[name]
        if "properties" not in schema:
            return self._words(schema)
        self._mentioned.add(name)
        return f"[{name}](#{name.lower()})"


def _name(schema: Json) -> str:
    return schema["$ref"].rpartition("/")[2]


def _parameter(parameter: Json, words: str) -> tuple[str, str, str]:
    schema = parameter["schema"]
    place = parameter["in"]
    facts = _facts(words.removesuffix(" or null"), schema, is_required=parameter["required"] and place != "path")
    return f"`{parameter['name']}`", f"{place}, {facts}", parameter.get("description", "")


def _facts(words: str, schema: Json, *, is_required: bool) -> str:
    default = schema.get("default")
    shown = "" if default is None else f", default `{str(default).lower() if isinstance(default, bool) else default}`"
    return words + (", required" if is_required else "") + shown


def _bounds(schema: Json) -> str:
    lowest, highest = schema.get("minimum"), schema.get("maximum", schema.get("maxLength"))
    unit = " characters" if "maxLength" in schema else ""
    parts = [] if lowest is None else [f"from {lowest:,.0f}"]
    if highest is not None and highest < _NO_BOUND:
        parts.append(f"{'at most' if lowest is None else 'to'} {highest:,.0f}{unit}")
    return "".join([" ", " ".join(parts)]) if parts else ""


def _either(words: Iterator[str] | list[str]) -> str:
    *several, last = dict.fromkeys(words)
    return f"{', '.join(several)} or {last}" if several else last


def _fields(fields: list[tuple[str, str, str]], *, kind: str = "fields") -> str:
    """Return a definition list: names, and of each what it is and what it says."""
    lines = (f"{name}\n: {f'*{facts}*' if facts else ''}{_break(facts, told)}{told}" for name, facts, told in fields)
    return "\n\n".join([f"```{{container}} {kind}", *lines, "```"])


def _break(facts: str, told: str) -> str:
    return "\\\n  " if facts and told else ""
