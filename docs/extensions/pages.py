"""What the pages need in HTML beside what they are on a Git host: menus, pages from outside, cards, labels.

A menu holds the pages beside an ``index.md`` and the indexes of the folders below it, those first that the index links
to, so that a new page joins by itself. A page in ``project/`` names one file outside of ``docs``, and shows it.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from docutils import nodes
from sphinx.application import Sphinx

#: The folder whose pages show files from outside.
OUTSIDE = "project"

#: So many columns fit beside each other on a phone.
_NARROW = 2

_LINK = re.compile(r"\[([^\[\]]*)\]\(([^()\s#:]+)(#[^()\s]*)?\)")


def setup(app: Sphinx) -> dict[str, bool]:
    """Let pages have them."""
    app.connect("source-read", _read)
    app.connect("doctree-read", _lay_out_cards)
    app.connect("doctree-read", _label_cells)
    return {"parallel_read_safe": True}


def _read(app: Sphinx, page: str, source: list[str]) -> None:
    site = Site.of(Path(app.srcdir))
    if page in site.outside:
        source[0] = site.outside[page].read_text()
        app.env.note_dependency(str(site.outside[page]))
    source[0] = site.linked(source[0], page=page)
    if PurePosixPath(page).name == "index":
        source[0] += menu(site.docs, PurePosixPath(page).parent, source[0])


@dataclass(frozen=True, kw_only=True)
class Site:
    """The pages that there are, and where links lead."""

    docs: Path
    #: The files outside of ``docs`` that are shown, by page.
    outside: Mapping[str, Path]

    @classmethod
    def of(cls, docs: Path) -> "Site":
        """Return the site of a folder."""
        files = [file for file in (docs / OUTSIDE).glob("*.md") if file.stem != "index"]
        links = {f"{OUTSIDE}/{file.stem}": _LINK.search(file.read_text()) for file in files}
        return cls(
            docs=docs, outside={page: (docs / OUTSIDE / link[2]).resolve() for page, link in links.items() if link}
        )

    def linked(self, text: str, *, page: str) -> str:
        """Return the text of a page with links that hold in HTML; what is on no page is only named."""
        file = self.docs / f"{page}.md"
        original = self.outside.get(page, file)
        pages = {outside: self.docs / f"{shown}.md" for shown, outside in self.outside.items()}

        def led(link: re.Match[str]) -> str:
            target = (original.parent / link[2]).resolve()
            readme = target / "README.md"
            target = pages.get(readme, pages.get(target, target))
            if not target.exists():
                return link[0]  # code that looks like a link
            if not target.is_relative_to(self.docs):
                return link[1]
            return f"[{link[1]}]({os.path.relpath(target, file.parent)}{link[3] or ''})"

        return _LINK.sub(led, text)


def menu(docs: Path, folder: PurePosixPath, text: str) -> str:
    """Return the menu of a folder: what its index links to, in that order, then the others by name."""
    beside = sorted(file.stem for file in (docs / folder).glob("*.md") if file.stem != "index")
    below = sorted(f"{file.parent.name}/index" for file in (docs / folder).glob("*/index.md"))
    linked = {page: text.find(f"]({page}.md") for page in (*beside, *below)}
    entries = sorted(linked, key=lambda page: linked[page] % (len(text) + 1))  # not linked, -1, is last
    return "\n".join(["", "```{toctree}", ":hidden:", "", *entries, "```", ""]) if entries else ""


def _lay_out_cards(app: Sphinx, document: nodes.document) -> None:
    """Let the lists of an index, whose items are links to pages, be cards."""
    if PurePosixPath(app.env.docname).name == "index":
        for items in document.findall(nodes.bullet_list):
            items["classes"].append("cards")


def _label_cells(_app: Sphinx, document: nodes.document) -> None:
    """Put the heading of its column into each cell of a wide table, to be shown where rows are stacked: on a phone."""
    for table in document.findall(nodes.table):
        headings = [entry.astext() for head in table.findall(nodes.thead) for entry in head.findall(nodes.entry)]
        if len(headings) > _NARROW:
            table["classes"].append("stacked")
            for body in table.findall(nodes.tbody):
                for row in body.findall(nodes.row):
                    for heading, text in zip(headings, map(_first_text, row.children), strict=True):
                        if text is not None and text.children:
                            text.insert(0, nodes.inline("", heading, classes=["column"]))


def _first_text(cell: nodes.Node) -> nodes.paragraph | None:
    return next(cell.findall(nodes.paragraph), None)
