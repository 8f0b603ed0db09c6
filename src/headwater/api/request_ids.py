"""Request ids, and redaction of secrets in paths and texts about requests."""

import re

from starlette.types import Scope

#: A task's token after its fid, an API key, a webhook's secret; what precedes the match is kept.
_SECRETS = re.compile(
    r"(/actions/tasks/[^/.]*|(?<![0-9a-f])[0-9a-f]{32})\.[\w-]{20,}|(hw_|whsec_)[\w+/=-]{20,}", re.IGNORECASE
)
_FID = re.compile(r"[0-9a-f]{32}")
#: A segment of an unknown path may be anything, including a secret. Longer ones are not logged.
_LONGEST_UNKNOWN = 20


def without_tokens(text: str) -> str:
    """Return a path, or a text that quotes one, with tokens, keys and secrets redacted, for logs and responses."""
    return _SECRETS.sub(lambda found: f"{found[1]}.…" if found[1] else f"{found[2]}…", text)


def loggable(path: str, *, is_known: bool) -> str:
    """Return a path in the form that is logged; ``is_known`` says that it matched a route."""
    path = without_tokens(path)
    if is_known:
        return path
    return "/".join(
        segment if len(segment) <= _LONGEST_UNKNOWN or _FID.fullmatch(segment) else f"{segment[:4]}…"
        for segment in path.split("/")
    )


def request_id_of(scope: Scope) -> str:
    """Return the id of a request."""
    return scope.get("headwater.request_id", "")
