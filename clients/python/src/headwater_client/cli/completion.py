"""Shell completion of names and fids, from the server; fast, and silent on errors."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

#: Timeout in seconds after pressing Tab.
TIMEOUT = 1.0
#: Maximum number of candidates.
MOST = 1000


def crawlers(incomplete: str) -> list[tuple[str, str]]:
    """Return the crawlers whose name or fid starts with the given text."""
    return _matching("crawlers", incomplete)


def streams(incomplete: str) -> list[tuple[str, str]]:
    """Return the streams."""
    return _matching("streams", incomplete)


def externals(incomplete: str) -> list[tuple[str, str]]:
    """Return the Externals."""
    return _matching("externals", incomplete)


def tasks(incomplete: str) -> list[tuple[str, str]]:
    """Return the tasks, newest first."""
    return _matching("tasks", incomplete)


def webhooks(incomplete: str) -> list[tuple[str, str]]:
    """Return the webhooks."""
    return _matching("webhooks", incomplete)


def _matching(kind: str, incomplete: str) -> list[tuple[str, str]]:
    try:
        found = list(_choices(kind))
    except Exception:  # noqa: BLE001 - completion must not print errors
        return []
    return [(word, help_) for word, help_ in found if word.startswith(incomplete)]


def _choices(kind: str) -> Iterator[tuple[str, str]]:
    import httpx  # noqa: PLC0415 - help need not wait for it

    from headwater_client.cli.access import access  # noqa: PLC0415 - likewise

    settled = access(None)
    answer = httpx.get(
        f"{settled.url}/{kind}?limit={MOST}",
        headers={"Authorization": f"Bearer {settled.key}"},
        timeout=TIMEOUT,
    )
    for each in answer.raise_for_status().json()["payload"]:
        name = each["meta"].get("name")
        if name:
            yield _word(name), each["fid"]
        yield each["fid"], str(name or each.get("state") or "")


def _word(name: str) -> str:
    """Return a name as typed in the shell: escaped for bash; other shells quote it themselves."""
    is_bash = os.environ.get("_HEADWATER_COMPLETE", "").endswith("bash")
    return re.sub(r"([^\w@%+=:,./-])", r"\\\1", name) if is_bash else name
