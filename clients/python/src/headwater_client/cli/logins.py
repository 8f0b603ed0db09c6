"""Stored logins: a file in the user's configuration directory, readable only by the user."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headwater_client.cli.errors import CliError


def kept_at() -> Path:
    """Return the path of the file."""
    from platformdirs import user_config_dir  # noqa: PLC0415 - help need not wait for it

    return Path(user_config_dir("headwater", appauthor=False)) / "login.json"


@dataclass
class Logins:
    """API keys by server."""

    #: The URL of the latest login.
    present: str | None = None
    #: Keys by URL.
    keys: dict[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def read(cls) -> Logins:
        """Read the stored logins.

        Raises:
            CliError: the file is corrupt.
        """
        file = kept_at()
        try:
            kept: Any = json.loads(file.read_bytes())
            return cls(present=kept["url"], keys=dict(kept["keys"]))
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CliError(f"{file} cannot be read ({error}): delete it, and log in again") from error

    def write(self) -> Path:
        """Write them atomically, and return the path."""
        file = kept_at()
        file.parent.mkdir(parents=True, exist_ok=True)
        file.parent.chmod(0o700)
        # A temporary file, created with mode 0600, and renamed once complete.
        handle, part = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
        try:
            with os.fdopen(handle, "w") as written:
                json.dump({"url": self.present, "keys": self.keys}, written, indent=2)
                written.write("\n")
                written.flush()
                os.fsync(written.fileno())
            Path(part).replace(file)
        except BaseException:
            Path(part).unlink()
            raise
        return file
