"""docs/how-to/disk-and-sizing.md against the defaults of the settings that it names."""

import re

from docs_page import Page
from headwater.settings import Settings

TEXT = Page.of("docs/how-to/disk-and-sizing.md").text
#: How the page says a number of days.
DAYS = {30: "30 days", 365: "a year", 730: "two years"}
FIELDS = Settings.model_fields


def test_what_is_kept_is_kept_for_as_long_as_the_page_says():
    rows = dict(re.findall(r"^\| [^|]+ \| `(\w+_days)` \| ([^|]+?) \|$", TEXT, re.MULTILINE))
    # How often all files are verified is another matter.
    assert sorted(rows) == sorted(name for name in FIELDS if name.endswith("_days") and name != "scrub_days")
    for name, said in rows.items():
        assert said.startswith(DAYS[FIELDS[name].default])


def test_the_limits_of_memory_are_the_defaults():
    said = dict(re.findall(r"`(\w+_memory)` \((\d+ [MG]iB)\)", " ".join(TEXT.split())))
    assert said == {"upload_memory": "512 MiB", "query_memory": "1 GiB"}
    assert {name: FIELDS[name].default for name in said} == {"upload_memory": 512 << 20, "query_memory": 1 << 30}
