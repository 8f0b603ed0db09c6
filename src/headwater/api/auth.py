"""Who may do what: API keys with scopes, and the tokens with which ECs prove themselves."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Path, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from headwater.api.doers import is_done_by
from headwater.api.parts import Backend, Parts
from headwater.catalog import keys, objects
from headwater.catalog.keys import Key, Scope
from headwater.catalog.objects import TASKS
from headwater.domain.errors import NotAllowed, NotAuthenticated, NotFound
from headwater.domain.task import Task

_bearer = HTTPBearer(auto_error=False, description="An API key; for an EC, the token of its task.")
Bearer = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]

_NO_KEY = "the API key is unknown or revoked; 'headwater keys list' shows those that are valid"


async def _key(backend: Parts, secret: str, needed: Scope) -> Key:
    key = await backend.db.read(keys.find, secret)
    if key is None:
        raise NotAuthenticated(_NO_KEY)
    backend.allowance.take(key)
    if not key.allows(needed):
        raise NotAllowed(f"key {key.name!r} has the scopes {', '.join(key.scopes)}; this needs {needed}")
    return key


def _secret(bearer: HTTPAuthorizationCredentials | None) -> str:
    if bearer is None:
        raise NotAuthenticated("this needs an API key: send Authorization: Bearer <key>")
    return bearer.credentials


async def _reads(backend: Backend, bearer: Bearer) -> Key:
    return await _key(backend, _secret(bearer), Scope.READ)


async def _writes(backend: Backend, bearer: Bearer, request: Request) -> Key:
    return await _doing(backend, bearer, request, Scope.WRITE)


async def _administers(backend: Backend, bearer: Bearer, request: Request) -> Key:
    return await _doing(backend, bearer, request, Scope.ADMIN)


async def _doing(backend: Parts, bearer: HTTPAuthorizationCredentials | None, request: Request, needed: Scope) -> Key:
    key = await _key(backend, _secret(bearer), needed)
    is_done_by(key, request, clock=backend.clock)
    return key


#: Put among a route's dependencies: who calls it has a key with that scope.
READS = Depends(_reads)
WRITES = Depends(_writes)
ADMINISTERS = Depends(_administers)


async def _still_reads(backend: Backend, key: Annotated[Key, READS]) -> Callable[[], Awaitable[None]]:
    async def require() -> None:
        if not await backend.db.read(keys.is_valid, key.fid):
            raise NotAuthenticated(_NO_KEY)

    return require


#: For an answer without end: raises NotAuthenticated once the key was revoked with which it was asked for.
StillReads = Annotated[Callable[[], Awaitable[None]], Depends(_still_reads)]


@dataclass(frozen=True, kw_only=True)
class Speaker:
    """Who uploads to a task or reports on it."""

    task: Task
    #: Its API key; None if it proved itself with the token of the task's present attempt.
    key: Key | None

    @property
    def is_crawler(self) -> bool:
        """Whether it is the task's crawler."""
        return self.key is None


async def speaker(backend: Parts, task_id: str, bearer: str | None) -> Speaker:
    """Return who speaks for a task, proved by a token in the path, or by a token or API key as bearer.

    Raises:
        NotAuthenticated, NotAllowed: it is not proved.
        NotFound: there is no such task, or for its crawler no more.
    """
    fid, _, in_path = task_id.partition(".")
    token = in_path or bearer or ""
    is_key = not in_path and token.startswith(keys.PREFIX)
    if not token:
        raise NotAuthenticated("this needs the task's token, in the path or as Authorization: Bearer, or an API key")
    key = await _key(backend, token, Scope.WRITE) if is_key else None
    task = await backend.db.read(objects.find, TASKS, fid)
    if task is None:
        raise NotFound(f"there is no task {fid!r}")
    if not is_key and not backend.vault.is_task_token(token, fid, task.attempt):
        raise NotAuthenticated("the token is not that of the task's present attempt; each attempt has one of its own")
    if not is_key and task.removed_at is not None:
        raise NotFound(f"task {fid} was deleted; there is nothing more to do for it")
    return Speaker(task=task, key=key)


async def uploader(backend: Parts, task_id: str, bearer: str | None) -> Speaker:
    """Return the same for an upload: a crawler that was here a moment ago is known."""
    fid, _, in_path = task_id.partition(".")
    known = backend.acquaintances.find(fid)
    if known is not None and backend.vault.is_task_token(in_path or bearer or "", fid, known.attempt):
        return Speaker(task=known, key=None)
    found = await speaker(backend, task_id, bearer)
    if found.task.is_open:
        backend.acquaintances.add(found.task)
    return found


async def _speaker(
    backend: Backend,
    bearer: Bearer,
    task_id: Annotated[str, Path(description="The task's fid, or `{fid}.{token}`.")],
) -> Speaker:
    return await speaker(backend, task_id, None if bearer is None else bearer.credentials)


#: The task that a call speaks for, and proof that it may.
TaskSpeaker = Annotated[Speaker, Depends(_speaker)]
