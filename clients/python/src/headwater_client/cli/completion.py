"""What a shell completes of names and fids: asked of the server, quick, and quiet when it fails."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

#: Seconds that somebody who pressed the tabulator key waits.
PATIENCE = 1.0
#: Objects among which to choose.
MOST = 1000


def crawlers(incomplete: str) -> list[tuple[str, str]]:
    """Return the crawlers whose name or fid begins so."""
    return _begun("crawlers", incomplete)


def streams(incomplete: str) -> list[tuple[str, str]]:
    """Return the streams."""
    return _begun("streams", incomplete)


def externals(incomplete: str) -> list[tuple[str, str]]:
    """Return the Externals."""
    return _begun("externals", incomplete)


def tasks(incomplete: str) -> list[tuple[str, str]]:
    """Return the tasks, newest first."""
    return _begun("tasks", incomplete)


def webhooks(incomplete: str) -> list[tuple[str, str]]:
    """Return the webhooks."""
    return _begun("webhooks", incomplete)


def _begun(kind: str, incomplete: str) -> list[tuple[str, str]]:
    try:
        found = list(_choices(kind))
    except Exception:  # noqa: BLE001 - whatever it is, a line that is being typed is no place to tell
        return []
    return [(word, help_) for word, help_ in found if word.startswith(incomplete)]


def _choices(kind: str) -> Iterator[tuple[str, str]]:
    import httpx  # noqa: PLC0415 - help need not wait for it

    from headwater_client.cli.access import access  # noqa: PLC0415 - likewise

    settled = access(None)
    answer = httpx.get(
        f"{settled.url}/{kind}?limit={MOST}",
        headers={"Authorization": f"Bearer {settled.key}"},
        timeout=PATIENCE,
    )
    for each in answer.raise_for_status().json()["payload"]:
        name = each["meta"].get("name")
        if name:
            yield _word(name), each["fid"]
        yield each["fid"], str(name or each.get("state") or "")


def _word(name: str) -> str:
    """Return a name as it is typed; bash takes what it is given as it is, other shells quote it."""
    is_bash = os.environ.get("_HEADWATER_COMPLETE", "").endswith("bash")
    return re.sub(r"([^\w@%+=:,./-])", r"\\\1", name) if is_bash else name
