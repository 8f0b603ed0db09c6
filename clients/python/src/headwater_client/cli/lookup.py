"""Finds objects by fid, by the start of one, or by name."""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING, Any

from headwater_client.cli.errors import CliError, ExitCode

if TYPE_CHECKING:
    from headwater_client.headwater import Headwater
    from headwater_client.models.objects import Crawler, External, Notification, Stream, Task, Webhook
    from headwater_client.models.results import Key

_FID = re.compile(r"[0-9a-f]{32}")
#: The start of a fid; shorter ones would seldom name one object.
_START = re.compile(r"[0-9a-f]{4,31}")
#: Maximum number of fids in a message.
_LISTED = 10


def stream(headwater: Headwater, ref: str) -> Stream:
    """Return the stream of that fid, start of a fid, or name.

    Raises:
        CliError: there is none, or there are several.
        HeadwaterError: it cannot be read.
    """
    return _found(headwater.streams, ref, "stream")


def external(headwater: Headwater, ref: str) -> External:
    """Return the External of that fid or name; raises as ``stream``."""
    return _found(headwater.externals, ref, "External")


def to_run(headwater: Headwater, external: External, version: int | None) -> External:
    """Return an External at the given version, by default the one in use.

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


def notification(headwater: Headwater, ref: str) -> Notification:
    """Return the notification of that fid or name; raises as ``stream``."""
    return _found(headwater.notifications, ref, "notification")


def key(headwater: Headwater, ref: str) -> Key:
    """Return the API key of that fid or name; raises as ``stream``."""
    return _found(headwater.keys, ref, "key")


def _found(shelf: Any, ref: str, what: str) -> Any:
    fid = ref.replace("-", "").lower()
    if _FID.fullmatch(fid):
        return shelf.get(fid)
    found: list[Any] = list(islice(shelf.list(name=ref), _LISTED + 1))
    if not found and _START.fullmatch(fid):
        found = list(islice(shelf.list(fid=fid), _LISTED + 1))
    if not found:
        raise CliError(f"there is no {what} {ref!r}", code=ExitCode.NOT_FOUND)
    if len(found) > 1:
        fids = [each.fid for each in found[:_LISTED]] + ["…"] * (len(found) > _LISTED)
        how = "are called" if found[0].name == ref else "have a fid that starts with"
        raise CliError(f"several {how} {ref!r}, so name the {what} by its fid: {', '.join(fids)}", code=ExitCode.USAGE)
    return found[0]
