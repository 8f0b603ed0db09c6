"""Authentication and authorization: API keys with scopes, and the tokens of ECs."""

import base64
import binascii
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Path, Request
from fastapi.security import HTTPBasic, HTTPBearer

from headwater.api import key_limits
from headwater.api.audit_actor import act_as
from headwater.api.dependencies import Services, ServicesOf
from headwater.catalog import keys, objects
from headwater.catalog.keys import Key
from headwater.catalog.objects import TASKS
from headwater.domain.errors import NotAllowed, NotAuthenticated, NotFound
from headwater.domain.scope import Scope
from headwater.domain.task import Task


class _Bearer(HTTPBearer):
    async def __call__(self, request: Request) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Only describes the scheme in OpenAPI: ``secret_of`` reads it."""


class _Basic(HTTPBasic):
    async def __call__(self, request: Request) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Only describes the scheme in OpenAPI."""


_bearer = _Bearer(scheme_name="HTTPBearer", description="An API key; for an EC, the token of its task.")
_basic = _Basic(
    scheme_name="HTTPBasic", description="For tools that know nothing else: any user, an API key as password."
)

_NO_KEY = "the API key is unknown, revoked or expired; 'headwater keys list' shows those that are valid"


def secret_of(authorization: str | None) -> str | None:
    """Return the key or token of an ``Authorization`` header: a bearer's, or the password of Basic authentication."""
    scheme, _, value = (authorization or "").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip() or None
    if scheme.lower() != "basic":
        return None
    try:
        _, _, password = base64.b64decode(value.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None
    return password or None


async def _secret(
    request: Request, _bearer: Annotated[None, Depends(_bearer)], _basic: Annotated[None, Depends(_basic)]
) -> str | None:
    return secret_of(request.headers.get("authorization"))


Secret = Annotated[str | None, Depends(_secret)]


def _address(request: Request) -> str | None:
    return None if request.client is None else request.client.host


async def _key(services: Services, secret: str, needed: Scope, *, address: str | None) -> Key:
    services.login_limiter.require(address, secret)
    key = await services.db.read(keys.find, secret, services.clock())
    if key is None:
        services.login_limiter.failed(address)
        raise NotAuthenticated(_NO_KEY)
    services.login_limiter.succeeded(secret)
    services.rate_limiter.acquire(key)
    services.key_usage.note(key, services.clock())
    if not key.allows(needed):
        raise NotAllowed(f"key {key.name!r} has the scopes {', '.join(key.scopes)}; this needs {needed}")
    return key


async def _key_for(services: Services, secret: str | None, request: Request, needed: Scope) -> Key:
    if secret is None:
        raise NotAuthenticated("this needs an API key: send Authorization: Bearer <key>")
    key = await _key(services, secret, needed, address=_address(request))
    await key_limits.require(key, request, services.db)
    return key


async def _reads(services: ServicesOf, secret: Secret, request: Request) -> Key:
    return await _key_for(services, secret, request, Scope.READ)


async def _writes(services: ServicesOf, secret: Secret, request: Request) -> Key:
    return await _doing(services, secret, request, Scope.WRITE)


async def _administers(services: ServicesOf, secret: Secret, request: Request) -> Key:
    return await _doing(services, secret, request, Scope.ADMIN)


async def _doing(services: Services, secret: str | None, request: Request, needed: Scope) -> Key:
    key = await _key_for(services, secret, request, needed)
    act_as(key, request, clock=services.clock)
    return key


#: Route dependencies: the caller needs a key with this scope.
READS = Depends(_reads)
WRITES = Depends(_writes)
ADMINISTERS = Depends(_administers)
#: The key of a caller with the scope read, or admin.
Reader = Annotated[Key, READS]
Administrator = Annotated[Key, ADMINISTERS]


async def _still_reads(services: ServicesOf, key: Annotated[Key, READS]) -> Callable[[], Awaitable[None]]:
    async def require() -> None:
        if not await services.db.read(keys.is_valid, key.fid, services.clock()):
            raise NotAuthenticated(_NO_KEY)

    return require


#: For endless responses: raises NotAuthenticated once the caller's key is revoked.
StillReads = Annotated[Callable[[], Awaitable[None]], Depends(_still_reads)]


@dataclass(frozen=True, kw_only=True)
class Speaker:
    """The caller of an upload or status report."""

    task: Task
    #: Its API key; None if it authenticated with the token of the task's current attempt.
    key: Key | None

    @property
    def is_crawler(self) -> bool:
        """Whether it is the task's crawler."""
        return self.key is None


async def speaker(services: Services, task_id: str, bearer: str | None, *, address: str | None = None) -> Speaker:
    """Authenticate a caller for a task, by a token in the path, or by a bearer token or API key.

    Raises:
        NotAuthenticated, NotAllowed: authentication or authorization failed.
        TooManyRequests: too many wrong keys and tokens came from the address.
        NotFound: there is no such task, or it is deleted and the caller is its crawler.
    """
    fid, _, in_path = task_id.partition(".")
    token = in_path or bearer or ""
    is_key = not in_path and token.startswith(keys.PREFIX)
    if not token:
        raise NotAuthenticated("this needs the task's token, in the path or as Authorization: Bearer, or an API key")
    key = await _key(services, token, Scope.WRITE, address=address) if is_key else None
    if key is None:
        services.login_limiter.require(address, token)
    else:
        await key_limits.require_object(key, "tasks", fid, services.db)
    task = await services.db.read(objects.find, TASKS, fid)
    if task is None:
        raise NotFound(f"there is no task {fid!r}")
    if not is_key and not services.vault.is_task_token(token, fid, task.attempt):
        services.login_limiter.failed(address)
        raise NotAuthenticated("the token is not that of the task's current attempt; each attempt has one of its own")
    if not is_key and task.removed_at is not None:
        raise NotFound(f"task {fid} was deleted; there is nothing more to do for it")
    if not is_key:
        services.login_limiter.succeeded(token)
    return Speaker(task=task, key=key)


async def uploader(services: Services, task_id: str, bearer: str | None, *, address: str | None = None) -> Speaker:
    """Like ``speaker``, but answered from the task cache where possible."""
    fid, _, in_path = task_id.partition(".")
    known = services.task_cache.get(fid)
    if known is not None and services.vault.is_task_token(in_path or bearer or "", fid, known.attempt):
        return Speaker(task=known, key=None)
    found = await speaker(services, task_id, bearer, address=address)
    if found.task.is_open:
        services.task_cache.put(found.task)
    return found


async def _speaker(
    services: ServicesOf,
    secret: Secret,
    request: Request,
    task_id: Annotated[str, Path(description="The task's fid, or `{fid}.{token}`.")],
) -> Speaker:
    return await speaker(services, task_id, secret, address=_address(request))


#: The authenticated caller of an upload or status report, with its task.
TaskSpeaker = Annotated[Speaker, Depends(_speaker)]
