"""Serve a Headwater and have schemathesis call it, with all of its checks; fail if it finds anything.

``python -m tests.fuzzing SCHEMATHESIS [EXAMPLES]``: the program, and how many requests of each kind it makes up.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.served import end_on_signals, serving

_HERE = Path(__file__).parent
#: Made-up requests for each operation, beside those that its schema suggests.
_EXAMPLES = "20"
#: Nothing is sent elsewhere than to this machine.
_SETTINGS = {
    "HEADWATER_WEBHOOK_PRIVATE_ADDRESSES": "true",
    # Many made-up requests have no key, or a wrong one.
    "HEADWATER_FAILED_LOGINS_PER_MINUTE": "1000000",
}


def main() -> int:
    """Run it, and return what it returned: 0 if it found nothing."""
    program, examples, *_ = [*sys.argv[1:], _EXAMPLES]
    with tempfile.TemporaryDirectory(prefix="headwater-fuzz-") as name:
        folder = Path(name)
        with serving(folder / "data", log=folder / "log", settings=_SETTINGS) as served:
            url = str(served.client.base_url).rstrip("/")
            key = (served.data / "admin.key").read_text().strip()
            command = [
                str(Path(program).resolve()),
                f"--config-file={_HERE / 'schemathesis.toml'}",
                "run",
                f"{url}/openapi.json",
                f"--header=Authorization: Bearer {key}",
                f"--max-examples={examples}",
            ]
            hooks = {"SCHEMATHESIS_HOOKS": str(_HERE / "hooks.py"), "HEADWATER_URL": url, "HEADWATER_KEY": key}
            # In a folder that goes: it keeps what it found beside it.
            return subprocess.run(command, env=os.environ | hooks, cwd=folder, check=False).returncode


if __name__ == "__main__":
    end_on_signals()
    sys.exit(main())
