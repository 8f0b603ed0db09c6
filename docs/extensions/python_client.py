"""The Python client as a page: Markdown, written from its docstrings when the page is built."""

import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

from sphinx.application import Sphinx

from headwater_client import Headwater, TaskWriter, errors
from headwater_client.requests import endpoint, paginated

#: Where in a page the calls are to stand. Who reads the page elsewhere sees nothing of it.
PLACE = "<!-- every call stands here -->"
#: Columns of a signature, after which its parameters stand below each other.
_WIDTH = 100
#: What a call is written to return, and what it gives to whoever calls it.
_GIVEN = {
    r"^Call\[(.+)\]$": r"\1",
    r"^Pages\[(.+)\]$": r"Iterator[\1]",
    r"^ChangePages$": "Iterator[Change]",
    r"^ExportChunks$": "Iterator[bytes]",
}
_SECTION = re.compile(r"^(Args|Raises):\n((?: +.*\n?)+)", re.MULTILINE)
_ITEM = re.compile(r"^    (\w+): (.*(?:\n     +.*)*)", re.MULTILINE)


def setup(app: Sphinx) -> dict[str, bool]:
    """Let a page have the calls at their place."""
    app.connect("source-read", _fill)
    return {"parallel_read_safe": True}


def _fill(_app: Sphinx, _page: str, source: list[str]) -> None:
    if PLACE in source[0]:
        source[0] = source[0].replace(PLACE, markdown())


def markdown() -> str:
    """Return the page's part on calls and errors."""
    headwater = Headwater("http://127.0.0.1", "none")
    parts = {"streams": headwater.streams, "externals": headwater.externals, "crawlers": headwater.crawlers}
    parts |= {"tasks": headwater.tasks, "webhooks": headwater.webhooks}
    parts |= {"notifications": headwater.notifications, "keys": headwater.keys}
    told = ["## TaskWriter", *_class("TaskWriter", TaskWriter), "## Headwater", *_class("Headwater", Headwater)]
    for name, part in parts.items():
        # The first line of its docstring is what it is called; what stands below, if anything, is for readers.
        about = inspect.cleandoc(type(part).__doc__ or "").partition("\n")[2].strip()
        told += [f"## headwater.{name}", *filter(None, [about]), *_methods(f"headwater.{name}", type(part))]
    headwater.close()
    tree = inspect.cleandoc(errors.__doc__ or "").partition("::\n")[2]
    return "\n\n".join([*told, "## Errors", f"```text\n{inspect.cleandoc(tree)}\n```"])


def _class(name: str, kind: type) -> Iterator[str]:
    yield _docstring(kind.__doc__)
    yield from _method(name, kind.__init__)
    yield from _methods(name[0].lower() + name[1:] if name == "Headwater" else "writer", kind)


def _methods(owner: str, kind: type) -> Iterator[str]:
    for ancestor in reversed(kind.__mro__):
        for name, member in vars(ancestor).items():
            if not name.startswith("_") and (isinstance(member, endpoint | paginated) or inspect.isfunction(member)):
                yield from _method(f"{owner}.{name}", inspect.unwrap(member))


def _method(name: str, function: Callable[..., Any]) -> Iterator[str]:
    signature = inspect.signature(function)
    taken: list[str] = []
    for one in list(signature.parameters.values())[1:]:
        if one.kind is one.KEYWORD_ONLY and "*" not in taken:
            taken.append("*")
        # Annotations are texts, as they were written.
        taken.append(str(one).replace(f"'{one.annotation}'", one.annotation))
    given = str(signature.return_annotation)
    for pattern, plainer in _GIVEN.items():
        given = re.sub(pattern, plainer, given)
    # A constructor gives what it is called.
    answer = "" if function.__name__ == "__init__" else f" -> {given}"
    line = f"{name}({', '.join(taken)}){answer}"
    if len(line) > _WIDTH:
        line = f"{name}(\n    " + ",\n    ".join(taken) + f",\n){answer}"
    yield f"### {name}" if function.__name__ != "__init__" else f"### {name}(…)"
    yield f"<!-- not run: a signature -->\n```python\n{line}\n```"
    yield _docstring(function.__doc__)


def _docstring(text: str | None) -> str:
    """Return a docstring as Markdown: its sections as lists."""
    told = inspect.cleandoc(text or "").replace("``", "`")
    told = re.sub(
        r"::\n\n((?:    .*\n|\n)+)", lambda code: f"\n```python\n{textwrap.dedent(code[1]).strip()}\n```\n\n", told
    )
    return _SECTION.sub(lambda part: _list(part[1], part[2]), told)


def _list(kind: str, items: str) -> str:
    lead = "" if kind == "Args" else "Raises:\n\n"
    found = [f"- **{name}**: {' '.join(said.split())}" for name, said in _ITEM.findall(items)]
    return lead + "\n".join(found) + "\n"
