"""Finding objects by fid or by name."""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING, Any

from headwater_client.cli.endings import Code, Refusal

if TYPE_CHECKING:
    from headwater_client.headwater import Headwater
    from headwater_client.objects import Crawler, External, Stream, Task, Webhook

_FID = re.compile(r"[0-9a-f]{32}")
#: Fids that a message lists.
_LISTED = 10


def stream(headwater: Headwater, ref: str) -> Stream:
    """Return the stream of that fid or name.

    Raises:
        Refusal: there is none, or there are several.
        HeadwaterError: it cannot be read.
    """
    return _found(headwater.streams, ref, "stream")


def external(headwater: Headwater, ref: str) -> External:
    """Return the External of that fid or name; raises as ``stream``."""
    return _found(headwater.externals, ref, "External")


def to_run(headwater: Headwater, external: External, version: int | None) -> External:
    """Return an External as a run begins with it: at a version, or else at the one in use.

    Raises:
        HeadwaterError: there is no such version.
    """
    wanted = external.in_use if version is None else version
    return external if wanted == external.version else headwater.externals.get(external, version=wanted)


def crawler(headwater: Headwater, ref: str) -> Crawler:
    """Return the crawler of that fid or name; raises as ``stream``."""
    return _found(headwater.crawlers, ref, "crawler")


def task(headwater: Headwater, ref: str) -> Task:
    """Return the task of that fid or name; raises as ``stream``."""
    return _found(headwater.tasks, ref, "task")


def webhook(headwater: Headwater, ref: str) -> Webhook:
    """Return the webhook of that fid or name; raises as ``stream``."""
    return _found(headwater.webhooks, ref, "webhook")


def _found(shelf: Any, ref: str, what: str) -> Any:
    fid = ref.replace("-", "").lower()
    if _FID.fullmatch(fid):
        return shelf.get(fid)
    named: list[Any] = list(islice(shelf.list(name=ref), _LISTED + 1))
    if not named:
        raise Refusal(f"there is no {what} {ref!r}", code=Code.NOT_FOUND)
    if len(named) > 1:
        fids = [each.fid for each in named[:_LISTED]] + ["…"] * (len(named) > _LISTED)
        raise Refusal(f"several are called {ref!r}, so name the {what} by its fid: {', '.join(fids)}", code=Code.USAGE)
    return named[0]
