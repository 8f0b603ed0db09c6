"""docs/extensions/pages.py: what pages need in HTML beside what they are on a Git host."""

from pathlib import Path, PurePosixPath

import pytest

from docs.extensions.pages import Site, menu

FILES = {
    "README.md": "# Tool",
    "LICENSE": "",
    "bench/README.md": "# Benchmarks",
    "docs/index.md": "[Guides](how-to/index.md)",
    "docs/how-to/index.md": "[Undo](undo.md) and [Begin](begin.md)",
    "docs/how-to/undo.md": "",
    "docs/how-to/begin.md": "",
    "docs/how-to/added.md": "",
    "docs/project/readme.md": "This page is [README.md](../../README.md).",
    "docs/project/benchmarks.md": "This page is [bench/README.md](../../bench/README.md).",
}


@pytest.fixture
def docs(tmp_path) -> Path:
    for path, text in FILES.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path / "docs"


@pytest.mark.parametrize(
    ("page", "text", "led"),
    [
        ("how-to/undo", "[a tour](../../README.md#tour)", "[a tour](../project/readme.md#tour)"),
        ("how-to/undo", "[numbers](../../bench)", "[numbers](../project/benchmarks.md)"),
        ("how-to/undo", "[the licence](../../LICENSE)", "the licence"),
        ("how-to/undo", "[next](begin.md) [there](https://example.org) [here](#here)", None),
        ("how-to/undo", "`rows[0](size)`", None),
        ("project/readme", "[undo](docs/how-to/undo.md)", "[undo](../how-to/undo.md)"),
        ("project/readme", "![layers](docs/index.md)", "![layers](../index.md)"),
    ],
)
def test_a_link_leads_to_the_page_that_shows_its_file(docs, page, text, led):
    assert Site.of(docs).linked(text, page=page) == (text if led is None else led)


@pytest.mark.parametrize(
    ("folder", "entries"),
    [("how-to", ["undo", "begin", "added"]), (".", ["how-to/index"]), ("project", ["benchmarks", "readme"])],
)
def test_a_menu_has_what_the_index_links_to_and_then_the_others(docs, folder, entries):
    index = docs / folder / "index.md"
    shown = menu(docs, PurePosixPath(folder), index.read_text() if index.exists() else "")
    assert [line for line in shown.splitlines() if line and line[0] not in "`:"] == entries
