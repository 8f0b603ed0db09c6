"""Who may do what: API keys with scopes, and the tokens with which ECs prove themselves."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Path
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from headwater.api.parts import Backend, Parts
from headwater.catalog import keys, objects
from headwater.catalog.keys import Key, Scope
from headwater.catalog.objects import TASKS
from headwater.domain.errors import NotAllowed, NotAuthenticated, NotFound
from headwater.domain.task import Task

_bearer = HTTPBearer(auto_error=False, description="An API key; for an EC, the token of its task.")
Bearer = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


async def _key(backend: Parts, bearer: HTTPAuthorizationCredentials | None, needed: Scope) -> Key:
    if bearer is None:
        raise NotAuthenticated("this needs an API key: send Authorization: Bearer <key>")
    key = await backend.db.read(keys.find, bearer.credentials)
    if key is None:
        raise NotAuthenticated("the API key is unknown or revoked; 'headwater keys list' shows those that are valid")
    if not key.allows(needed):
        raise NotAllowed(f"key {key.name!r} has the scopes {', '.join(key.scopes)}; this needs {needed}")
    return key


async def _reads(backend: Backend, bearer: Bearer) -> Key:
    return await _key(backend, bearer, Scope.READ)


async def _writes(backend: Backend, bearer: Bearer) -> Key:
    return await _key(backend, bearer, Scope.WRITE)


async def _administers(backend: Backend, bearer: Bearer) -> Key:
    return await _key(backend, bearer, Scope.ADMIN)


#: Put among a route's dependencies: who calls it has a key with that scope.
READS = Depends(_reads)
WRITES = Depends(_writes)
ADMINISTERS = Depends(_administers)


@dataclass(frozen=True, kw_only=True)
class Speaker:
    """Who uploads to a task or reports on it."""

    task: Task
    #: Whether it proved itself with the token of the task's present attempt; otherwise it has a key.
    is_crawler: bool


async def _speaker(
    backend: Backend,
    bearer: Bearer,
    task_id: Annotated[str, Path(description="The task's fid, or `{fid}.{token}`.")],
) -> Speaker:
    fid, _, in_path = task_id.partition(".")
    token = in_path or (bearer.credentials if bearer is not None else "")
    is_key = not in_path and token.startswith(keys.PREFIX)
    if not token:
        raise NotAuthenticated("this needs the task's token, in the path or as Authorization: Bearer, or an API key")
    if is_key:
        await _key(backend, bearer, Scope.WRITE)
    task = await backend.db.read(objects.find, TASKS, fid)
    if task is None:
        raise NotFound(f"there is no task {fid!r}")
    if not is_key and not backend.vault.is_task_token(token, fid, task.attempt):
        raise NotAuthenticated("the token is not that of the task's present attempt; each attempt has one of its own")
    if not is_key and task.removed_at is not None:
        raise NotFound(f"task {fid} was deleted; there is nothing more to do for it")
    return Speaker(task=task, is_crawler=not is_key)


#: The task that a call speaks for, and proof that it may.
TaskSpeaker = Annotated[Speaker, Depends(_speaker)]
