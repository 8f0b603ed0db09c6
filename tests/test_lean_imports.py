import subprocess
import sys

import pytest

from headwater.lean_imports import without


def _modules_after(statement: str) -> set[str]:
    code = f"{statement}; import sys; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(ran.stdout.split())


def test_a_server_is_imported_without_what_it_does_not_need():
    modules = _modules_after("from headwater import lean_imports; lean_imports.import_server()")
    assert "headwater.server" in modules
    assert not modules & {"rich", "twisted", "pygments", "pydantic.v1", "httpx._main"}


def test_what_was_left_out_can_be_imported_afterwards():
    statement = "from headwater import lean_imports; lean_imports.import_server(); import rich.console"
    assert "rich.console" in _modules_after(statement)


def test_a_module_that_is_imported_already_stays():
    with without("json"):
        import json  # noqa: PLC0415 - it is what is tested
    assert sys.modules["json"] is json


def test_a_module_is_missing_in_the_block_only():
    sys.modules.pop("colorsys", None)
    with without("colorsys"), pytest.raises(ImportError):
        import colorsys  # noqa: PLC0415 - it is what is tested
    import colorsys  # noqa: F401, PLC0415 - see above
