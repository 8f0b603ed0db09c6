"""Registering a crawler: its External becomes what the code says, and is left as it is where the code says nothing."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping, Sequence
from typing import Any, cast

import anyio

from headwater_client.errors import HeadwaterError, VersionMismatch
from headwater_client.externals import WRITABLE, Externals
from headwater_client.objects import External

#: A call of ``hw.externals``, blocking or to be awaited: whoever drives the registration knows.
Step = Callable[[Any], Any]
Registration = Generator[Step, Any, External]

#: How often others may edit other fields in between.
_TRIES = 5
#: How often it is looked whether one External alone has the name, and the seconds between.
_LOOKS = 6
_PAUSE = 0.3


class NameTaken(HeadwaterError):
    """Several Externals have the crawler's name, so that nobody can tell which is its own."""


def registering(definition: Mapping[str, Any]) -> Registration:
    """Create the External of a name, or make it what the definition says; if it is that already, change nothing.

    Two that register at once do not overwrite each other. What somebody else edited between our reading and writing
    is read again; if that is what we define as well, and is neither what it was nor what we want, we are refused.

    Args:
        definition: fields as on the wire; ``meta`` holds the name; ``meta`` and ``headers`` are merged into what is.

    Raises:
        NameTaken: several are called so.
        VersionMismatch: somebody else defined it otherwise in the same moment.
    """
    name = definition["meta"]["name"]
    found: Sequence[External] = ()
    own: External | None = None
    has_waited = False
    for _ in range(_LOOKS):
        found = yield lambda externals: externals.list(name=name)
        if not found:
            own, has_waited = (yield lambda externals: externals.create(**definition)), False
            found = yield lambda externals: externals.list(name=name)
        if len(found) == 1:
            return (yield from _updating(found[0], definition))
        # Others have created it in the same moment. All but the first withdraw theirs, and the first does so too if
        # another stays, whose creator has not seen it.
        if own is not None and (has_waited or own.fid != min(each.fid for each in found)):
            yield _deletion(own)
            own = None
        yield _pause
        has_waited = True
    fids = ", ".join(each.fid for each in found)
    raise NameTaken(f"{len(found)} Externals are called {name!r} ({fids}); rename or delete all but the crawler's")


def _updating(external: External, definition: Mapping[str, Any]) -> Registration:
    wanted = _comparable(definition, definition)
    for tries in range(1, _TRIES + 1):
        before = _comparable(external.raw, definition)
        if before == wanted:
            return external
        try:
            return (yield _replacement(external, definition))
        except VersionMismatch:
            external = yield _reading(external)
            if tries == _TRIES or _comparable(external.raw, definition) not in {before, wanted}:
                raise
    raise AssertionError("the last try returns or raises")


def _replacement(external: External, definition: Mapping[str, Any]) -> Step:
    # Not a merge patch: it would leave in the schema what the model has lost, and cannot hold a null.
    fields = {name: external.raw[name] for name in WRITABLE if name in external.raw}
    fields.update(definition)
    fields["meta"] = {**external.meta, **definition["meta"]}
    if "headers" in definition:
        ours = {name.lower() for name in definition["headers"]}
        others = {name: value for name, value in external.headers.items() if name.lower() not in ours}
        fields["headers"] = {**others, **definition["headers"]}
    return lambda externals: externals.replace(external, fields, if_version=external.version)


def _reading(external: External) -> Step:
    return lambda externals: externals.get(external)


def _deletion(external: External) -> Step:
    return lambda externals: externals.delete(external)


def _pause(_externals: Any) -> Any:
    """Let others come to an end; a step that is known by its name."""
    return None


def _comparable(fields: Mapping[str, Any], definition: Mapping[str, Any]) -> str:
    """Return what fields say of all that the definition speaks of, as a text that is the same for the same."""
    said: dict[str, Any] = {name: fields.get(name) for name in definition}
    said["meta"] = {name: said["meta"].get(name) for name in definition["meta"]}
    if "headers" in definition:
        values = {name.lower(): value for name, value in said["headers"].items()}
        said["headers"] = {name.lower(): values.get(name.lower()) for name in definition["headers"]}
    if "parameters" in definition:
        said["parameters"] = _bare(said["parameters"])
    return json.dumps(said, sort_keys=True)


def _bare(value: Any) -> Any:
    """Return a parameter without what has its default, with which Headwater fills it up."""
    if isinstance(value, list):
        return [_bare(each) for each in cast("list[Any]", value)]
    if isinstance(value, Mapping):
        members = {name: _bare(each) for name, each in cast("Mapping[str, Any]", value).items()}
        return {
            name: each
            for name, each in members.items()
            if each is not None and (name, each) not in (("req", False), ("restrictions", []))
        }
    return value


def settle(registration: Registration, externals: Externals[Any]) -> External:
    """Carry a registration out, blocking."""
    try:
        step = next(registration)
        while True:
            step = _next(registration, _outcome(step, externals))
    except StopIteration as end:
        return end.value


async def settle_awaiting(registration: Registration, externals: Externals[Any]) -> External:
    """Carry a registration out, awaiting."""
    try:
        step = next(registration)
        while True:
            step = _next(registration, await _awaited_outcome(step, externals))
    except StopIteration as end:
        return end.value


def _next(registration: Registration, outcome: Any) -> Step:
    return registration.throw(outcome) if isinstance(outcome, HeadwaterError) else registration.send(outcome)


def _outcome(step: Step, externals: Externals[Any]) -> Any:
    """Return a call's answer, lists as lists, or its error."""
    if step is _pause:
        time.sleep(_PAUSE)
        return None
    try:
        answer = step(externals)
        return list(cast("Iterator[Any]", answer)) if isinstance(answer, Iterator) else answer
    except HeadwaterError as error:
        return error


async def _awaited_outcome(step: Step, externals: Externals[Any]) -> Any:
    if step is _pause:
        await anyio.sleep(_PAUSE)
        return None
    try:
        answer = step(externals)
        if isinstance(answer, AsyncIterator):
            return [each async for each in cast("AsyncIterator[Any]", answer)]
        return await answer
    except HeadwaterError as error:
        return error
