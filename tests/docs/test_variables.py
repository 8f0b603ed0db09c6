"""One scheme of variables on all pages, and packages from the clone or a wheel: none of them is published."""

import re

import pytest

from docs_page import ROOT

PAGES = [
    *(ROOT / "docs").rglob("*.md"),
    *(ROOT / name for name in ("README.md", "clients/js/README.md", "clients/python/README.md")),
    *(ROOT / "src/headwater/console/templates").rglob("*.html"),
    *(ROOT / "examples").rglob("*.py"),
]
#: Variables that stand for the server, the key and the crawler; what programs read begins with ``HEADWATER_``.
_OTHERS = re.compile(r"\$\{?(?:HW|KEY|API|CRAWLER|DATA)\b|(?:environ\[\"|process\.env\.)(?:HW|KEY|CRAWLER|ENDPOINT)\b")
_FROM_A_REGISTRY = re.compile(
    r"(?:pip|npm|uv) (?:install|add)[^\n`<#]*?[ ]['\"]?headwater(?:-client)?\b(?![-\w./]*\.whl)"
)


@pytest.mark.parametrize("pattern", [_OTHERS, _FROM_A_REGISTRY])
def test_no_page_uses_another_name_or_an_unpublished_package(pattern):
    found = {str(page.relative_to(ROOT)): pattern.findall(page.read_text()) for page in PAGES}
    assert {page: names for page, names in found.items() if names} == {}


@pytest.mark.parametrize(
    ("text", "is_found"),
    [
        ("pip install headwater", True),
        ("pip install -q 'headwater-client[cli]'", True),
        ("npm install headwater-client @crawlee/cheerio", True),
        ("pip install './clients/python[cli]'", False),
        ("pip install ./wheels/headwater_client-0.1.0-py3-none-any.whl", False),
    ],
)
def test_what_would_be_fetched_from_a_registry(text, is_found):
    assert bool(_FROM_A_REGISTRY.search(text)) == is_found
