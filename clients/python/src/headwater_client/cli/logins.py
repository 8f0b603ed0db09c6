"""The logins that are kept: a file in the user's configuration directory that only the user can read."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headwater_client.cli.endings import Refusal


def kept_at() -> Path:
    """Return the file."""
    from platformdirs import user_config_dir  # noqa: PLC0415 - help need not wait for it

    return Path(user_config_dir("headwater", appauthor=False)) / "login.json"


@dataclass
class Logins:
    """Keys, each for the Headwater that it was tried with."""

    #: The URL of the latest login.
    present: str | None = None
    #: By URL.
    keys: dict[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def read(cls) -> Logins:
        """Return those that are kept.

        Raises:
            Refusal: the file is broken.
        """
        file = kept_at()
        try:
            kept: Any = json.loads(file.read_bytes())
            return cls(present=kept["url"], keys=dict(kept["keys"]))
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Refusal(f"{file} cannot be read ({error}): delete it, and log in again") from error

    def write(self) -> Path:
        """Keep them, in one step, and return the file."""
        file = kept_at()
        file.parent.mkdir(parents=True, exist_ok=True)
        file.parent.chmod(0o700)
        # Made with 0600, and not there by its name before it is whole.
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
