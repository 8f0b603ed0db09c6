"""docs/reference/settings.md against the settings."""

import re
from pathlib import Path

import pytest

from headwater.settings import Settings

PAGE = (Path(__file__).parents[2] / "docs/reference/settings.md").read_text()
ROW = re.compile(r"^\| `(HEADWATER_\w+)` \| `(\w+)` \| (.+?) \| (.+?) \|$", re.MULTILINE)
ROWS = {name: (variable, default) for variable, name, default, _ in ROW.findall(PAGE)}


def test_every_setting_has_a_row_and_every_row_a_setting():
    assert list(ROWS) == list(Settings.model_fields)


@pytest.mark.parametrize("name", Settings.model_fields)
def test_a_row_names_the_variable_that_is_read(name):
    variable, _ = ROWS[name]
    assert variable == f"HEADWATER_{name}".upper()


@pytest.mark.parametrize("name", Settings.model_fields)
def test_a_row_shows_the_default(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # away from anybody's headwater.toml
    for variable, _ in ROWS.values():
        monkeypatch.delenv(variable, raising=False)
    variable, default = ROWS[name]
    field = Settings.model_fields[name]
    if default == "unset":
        assert field.default is None or field.default_factory is not None
    else:
        # What the table shows, set, must come to the same as nothing set.
        monkeypatch.setenv(variable, default.strip("`"))
        assert getattr(Settings(), name) == field.default
