"""The command line, ``headwater``.

Its commands are loaded when they are called: ``app.py`` lists them.
"""

import sys
from importlib.util import find_spec

#: What the extra ``cli`` brings.
NEEDED = ("typer", "rich", "platformdirs")


def main() -> None:
    """Run the command line."""
    if any(find_spec(name) is None for name in NEEDED):
        sys.stderr.write("headwater: the command line is an extra: pip install 'headwater-client[cli]'\n")
        sys.exit(2)
    from headwater_client.cli.app import app  # noqa: PLC0415 - it may not be there

    app(prog_name="headwater")
