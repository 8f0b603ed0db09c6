"""Sessions of browsers: a sealed cookie that names an API key. Revoking the key ends them, and so does signing out."""

import secrets
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.fernet import InvalidToken
from starlette.requests import Request
from starlette.responses import Response

from headwater.catalog.vault import Vault

COOKIE = "headwater_session"
#: Where the cookie is sent: the console, and nothing of the API.
PATH = "/console"
#: A session ends when nobody has used it for this long, ...
IDLE = timedelta(hours=12)
#: ... and in any case after this.
LONGEST = timedelta(days=14)
#: The cookie is made anew after this.
ROTATED_AFTER = timedelta(minutes=30)


@dataclass(frozen=True, kw_only=True)
class Session:
    """A browser that is signed in."""

    #: The fid of its key.
    key: str
    #: What each form of the session must send with a change.
    csrf: str
    began_at: datetime
    #: When the cookie was made.
    renewed_at: datetime

    @classmethod
    def begin(cls, key: str, *, at: datetime) -> "Session":
        """Return a new session."""
        return cls(key=key, csrf=secrets.token_urlsafe(24), began_at=at, renewed_at=at)

    @property
    def ends_at(self) -> datetime:
        """When it ends in any case."""
        return self.began_at + LONGEST

    def is_over(self, at: datetime) -> bool:
        """Whether the session has ended."""
        return at - self.renewed_at > IDLE or at > self.ends_at

    def is_to_be_rotated(self, at: datetime) -> bool:
        """Whether its cookie is to be made anew."""
        return at - self.renewed_at > ROTATED_AFTER

    def renewed(self, at: datetime) -> "Session":
        """Return the session as the next cookie holds it."""
        return replace(self, renewed_at=at)


def sealed(session: Session, vault: Vault) -> str:
    """Return a session as the text of its cookie."""
    times = {"began": session.began_at.timestamp(), "renewed": session.renewed_at.timestamp()}
    return vault.seal({"session": session.key, "csrf": session.csrf, **times})


def unsealed(cookie: str | None, vault: Vault) -> Session | None:
    """Return the session of a cookie; None if there is none, or it is not ours."""
    if not cookie:
        return None
    try:
        found: dict[str, Any] = vault.unseal(cookie)
        return Session(
            key=found["session"],
            csrf=found["csrf"],
            began_at=datetime.fromtimestamp(found["began"], UTC),
            renewed_at=datetime.fromtimestamp(found["renewed"], UTC),
        )
    except (InvalidToken, ValueError, KeyError, TypeError):
        return None


def set_cookie(response: Response, session: Session, vault: Vault, *, root: str, is_secure: bool) -> None:
    """Give a browser its session; ``root`` is the path of a proxy."""
    response.set_cookie(
        COOKIE,
        sealed(session, vault),
        max_age=int(IDLE.total_seconds()),
        path=f"{root}{PATH}",
        secure=is_secure,
        httponly=True,
        samesite="lax",
    )


def is_foreign(request: Request) -> bool:
    """Whether a browser says that another site made this request."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site not in {"same-origin", "none"}
    origin = request.headers.get("origin")
    return origin is not None and origin.partition("://")[2] != request.headers.get("host")
