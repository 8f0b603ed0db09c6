"""How the documentation is built: ``make docs``."""  # noqa: INP001 - Sphinx reads it by its path

import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # for docs.extensions

project = "Headwater"
author = "The Headwater maintainers"
release = version_of("headwater")
extensions = [
    "myst_parser",
    "sphinx_copybutton",
    "docs.extensions.operations",
    "docs.extensions.pages",
    "docs.extensions.python_client",
]
exclude_patterns = ["extensions"]

myst_enable_extensions = ["deflist"]
#: Headings can be linked to as on a Git host.
myst_heading_anchors = 4
#: Quotes and dashes are as they were written.
smartquotes = False
#: Requests without a protocol, and JSON with an ellipsis, are coloured as far as they go.
suppress_warnings = ["misc.highlighting_failure"]

html_theme = "furo"
html_title = "Headwater"
html_static_path = ["_static"]
html_css_files = ["headwater.css"]
html_favicon = "_static/headwater.svg"
html_copy_source = False
html_use_index = False
html_show_sphinx = False
html_show_copyright = False
html_theme_options = {
    "light_logo": "headwater.svg",
    "dark_logo": "headwater.svg",
    "top_of_page_buttons": [],
    "light_css_variables": {
        "color-brand-primary": "#00596b",
        "color-brand-content": "#00677c",
        "color-brand-visited": "#00677c",
    },
    "dark_css_variables": {
        "color-brand-primary": "#7fd0dd",
        "color-brand-content": "#74c7d6",
        "color-brand-visited": "#74c7d6",
    },
}
pygments_style = "a11y-light"
pygments_dark_style = "github-dark"

#: What a program puts out is not to be copied.
copybutton_selector = "div[class*='highlight-']:not(.highlight-text):not(.highlight-default) pre"
