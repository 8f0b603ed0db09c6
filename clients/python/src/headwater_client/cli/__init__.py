"""The command line, ``headwater``.

``app.py`` lists the commands, which are imported when called.
"""

import io
import sys
from importlib.util import find_spec

#: Packages of the extra ``cli``.
NEEDED = ("typer", "rich", "platformdirs")


def main() -> None:
    """Run the command line."""
    if any(find_spec(name) is None for name in NEEDED):
        sys.stderr.write("headwater: the command line is an extra: install headwater-client with its extra 'cli'\n")
        sys.exit(2)
    from headwater_client.cli.app import app  # noqa: PLC0415 - needs the extra

    for stream in (sys.stdout, sys.stderr):
        # Characters that the encoding of the output lacks are escaped, instead of failing the command.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    app(prog_name="headwater")
