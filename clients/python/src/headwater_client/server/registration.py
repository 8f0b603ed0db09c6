"""Registers a crawler: creates or updates its External from the code; fields that the code leaves unset are kept."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping, Sequence
from typing import Any, cast

from headwater_client.errors import HeadwaterError, InUse, VersionMismatch
from headwater_client.externals import WRITABLE, Externals
from headwater_client.models.objects import External

#: A call of ``hw.externals``, sync or async, depending on the driver of the registration.
Step = Callable[[Any], Any]
Registration = Generator[Step, Any, External]

#: Number of attempts while others edit unrelated fields concurrently.
_TRIES = 5


class NameTaken(HeadwaterError):
    """Another External has the crawler's name, or several have."""


def registering(definition: Mapping[str, Any]) -> Registration:
    """Create the External of a name, or update it to the definition; if it is up to date, change nothing.

    Safe for concurrent registrations: of several that create it, Headwater takes one, and the others update that. After
    a concurrent edit, the External is read again; if the edit concerns fields of the definition, and differs from both
    the previous and the wanted values, registration fails.

    Args:
        definition: fields as on the wire; ``meta`` contains the name; ``meta`` and ``headers`` are merged.

    Raises:
        NameTaken: several Externals have this name, or one without a server.
        VersionMismatch: the defined fields were changed concurrently.
    """
    name = definition["meta"]["name"]
    for tries in range(1, _TRIES + 1):
        found: Sequence[External] = yield lambda externals: externals.list(name=name)
        if len(found) > 1:
            fids = ", ".join(each.fid for each in found)
            raise NameTaken(
                f"{len(found)} Externals are called {name!r} ({fids}); rename or delete all but the crawler's"
            )
        if found:
            return (yield from _updating(found[0], definition))
        try:
            return (yield lambda externals: externals.create(**definition, unique=True))
        except InUse:  # created by another just now
            if tries == _TRIES:
                raise
    raise AssertionError("the last try returns or raises")


def _updating(external: External, definition: Mapping[str, Any]) -> Registration:
    if external.endpoint is None and definition.get("endpoint") is not None:
        # Otherwise the tasks of its crawlers, which scripts start, would be started at this server.
        raise NameTaken(
            f"External {external.fid} is called {external.name!r} and has no server (push); rename it or the crawler, "
            f"or give it this server first: headwater externals edit {external.fid} --endpoint {definition['endpoint']}"
        )
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
    # Not a merge patch, which would keep removed parts of the schema and cannot set a null.
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


def _comparable(fields: Mapping[str, Any], definition: Mapping[str, Any]) -> str:
    """Return the fields that the definition sets as canonical JSON, for comparison."""
    compared: dict[str, Any] = {name: fields.get(name) for name in definition}
    compared["meta"] = {name: compared["meta"].get(name) for name in definition["meta"]}
    if "headers" in definition:
        values = {name.lower(): value for name, value in compared["headers"].items()}
        compared["headers"] = {name.lower(): values.get(name.lower()) for name in definition["headers"]}
    if "parameters" in definition:
        compared["parameters"] = _bare(compared["parameters"])
    return json.dumps(compared, sort_keys=True)


def _bare(value: Any) -> Any:
    """Return a parameter without default values, which Headwater fills in."""
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
    """Run a registration, sync."""
    try:
        step = next(registration)
        while True:
            step = _next(registration, _outcome(step, externals))
    except StopIteration as end:
        return end.value


async def settle_awaiting(registration: Registration, externals: Externals[Any]) -> External:
    """Run a registration, async."""
    try:
        step = next(registration)
        while True:
            step = _next(registration, await _awaited_outcome(step, externals))
    except StopIteration as end:
        return end.value


def _next(registration: Registration, outcome: Any) -> Step:
    return registration.throw(outcome) if isinstance(outcome, HeadwaterError) else registration.send(outcome)


def _outcome(step: Step, externals: Externals[Any]) -> Any:
    """Return a call's result, with iterators as lists, or its error."""
    try:
        answer = step(externals)
        return list(cast("Iterator[Any]", answer)) if isinstance(answer, Iterator) else answer
    except HeadwaterError as error:
        return error


async def _awaited_outcome(step: Step, externals: Externals[Any]) -> Any:
    try:
        answer = step(externals)
        if isinstance(answer, AsyncIterator):
            return [each async for each in cast("AsyncIterator[Any]", answer)]
        return await answer
    except HeadwaterError as error:
        return error
