"""Sends calls over HTTP, sync and async.

``retry.py`` decides on retries, ``requests.py`` reads the responses. This module exists in two forms because sending,
sleeping and iterating differ between sync and async code.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import anyio
import httpx

from headwater_client.encoding import json_of
from headwater_client.errors import HeadwaterError, Unavailable, Unsendable
from headwater_client.requests import Call, Paginator, Pieces, cutter, problem_of
from headwater_client.retry import Outcome, RetryPolicy, asked_pause, asks_for_another_try

T = TypeVar("T")

#: Read timeout of one attempt; generous, since a server under load reads slowly.
TIMEOUT = httpx.Timeout(120.0, connect=10.0)
USER_AGENT = f"headwater-client/{version('headwater-client')} (python)"


class Retries:
    """The attempts of one call."""

    def __init__(self, call: Call[Any], retry_for: RetryPolicy) -> None:
        """Start without attempts."""
        self._call = call
        self._policy = retry_for
        self._began = time.monotonic()
        self._tries = 0

    def pause_after(self, outcome: Outcome) -> float | None:
        """Return the seconds until the next attempt; None if the outcome is a success.

        Raises:
            Unavailable: there is no response, and retrying has taken too long.
            Problem: the response is an error that is not retried.
        """
        self._tries += 1
        is_answer = isinstance(outcome, httpx.Response)
        if is_answer and outcome.is_success:
            return None
        if not asks_for_another_try(outcome, is_harmless=self._call.is_harmless):
            if is_answer:
                raise problem_of(outcome)
            raise self._unavailable(outcome)
        asked = asked_pause(outcome) if is_answer else None
        waited = time.monotonic() - self._began
        rng = random.random()  # noqa: S311 - jitter, not a secret
        pause = self._policy.pause(self._tries, waited=waited, asked=asked, rng=rng)
        if pause is None:
            raise self._unavailable(outcome)
        return pause

    def broken_off(self, error: httpx.TransportError, *, is_repeatable: bool) -> Outcome:
        """Return the outcome of an attempt whose response was interrupted.

        Raises:
            Unavailable: part of the response was already passed on, so the call cannot be repeated.
        """
        if is_repeatable:
            return error
        self._tries += 1
        raise self._unavailable(error)

    def _unavailable(self, outcome: Outcome) -> Unavailable:
        cause: Exception = problem_of(outcome) if isinstance(outcome, httpx.Response) else outcome
        waited = time.monotonic() - self._began
        tries = "once" if self._tries == 1 else f"{self._tries} times within {waited:.0f} s"
        method, path = self._call.method, self._call.path
        error = Unavailable(f"{method} {path} was tried {tries}: {str(cause) or type(cause).__name__}")
        error.__cause__ = cause
        return error


def _request(client: httpx.Client | httpx.AsyncClient, call: Call[Any], content: Any) -> httpx.Request:
    timeout = client.timeout if call.retry_for is None else httpx.Timeout(call.retry_for, connect=10.0)
    headers = dict(call.headers)
    if call.json is not None:
        headers["Content-Type"] = "application/json"
        content = json_of(call.json)
    try:
        return client.build_request(
            call.method,
            call.path,
            params={name: value for name, value in call.params.items() if value is not None},
            content=content,
            headers=headers,
            timeout=timeout,
        )
    except UnicodeEncodeError as error:
        raise Unsendable(f"{error.object!r} cannot be sent: {error.reason}") from None


def _read(call: Call[T], outcome: Outcome) -> T:
    """Return the result in a response.

    Raises:
        HeadwaterError: it is a success, but not from Headwater.
    """
    try:
        return call.read(outcome)  # pyright: ignore[reportArgumentType] - it is a response
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"{call.method} {call.path}"
        raise HeadwaterError(f"{what} was answered by something that is not Headwater: {error!r}") from error


class SyncTransport:
    """Sends calls and waits for the responses."""

    def __init__(
        self, client: httpx.Client, retry_for: RetryPolicy, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        """Send through ``client``; between attempts, call ``sleep`` with the seconds."""
        self.client = client
        #: The retry policy of calls.
        self.retry_for = retry_for
        #: Sleeps between two attempts.
        self.sleep = sleep

    def send(self, call: Call[T]) -> T:
        """Send a call, with retries, and return its result.

        Raises:
            HeadwaterError: there is no response, or it is an error.
        """
        tries = Retries(call, self.retry_for)
        while True:
            outcome = self._attempt(call)
            pause = tries.pause_after(outcome)
            if pause is None:
                return _read(call, outcome)
            self.sleep(pause)

    def iterate(self, pages: Paginator[T]) -> Iterator[T]:
        """Iterate over a list, fetching more when needed.

        Raises:
            HeadwaterError: as ``send``.
        """
        while (call := pages.call) is not None:
            if call.pause:
                self.sleep(call.pause)
            tries = Retries(call, self.retry_for)
            while True:
                try:
                    with self._open(call) as answer:
                        outcome: Outcome = answer
                        if answer.is_success:
                            for piece in _pieces(answer, pages.pieces):
                                yield from pages.take(piece)
                            break
                        answer.read()
                except httpx.TransportError as error:
                    if _has_advanced(pages, call):
                        break
                    outcome = tries.broken_off(error, is_repeatable=pages.call is call)
                self.sleep(tries.pause_after(outcome) or 0.0)

    def _attempt(self, call: Call[Any]) -> Outcome:
        try:
            with self._open(call) as answer:
                if call.into is None or not answer.is_success:
                    answer.read()
                else:
                    with call.into.open("wb") as file:
                        for piece in answer.iter_bytes():
                            file.write(piece)
                return answer
        except httpx.TransportError as error:
            return error
        except httpx.DecodingError as error:
            return httpx.ReadError(f"the answer is broken: {error}", request=error.request)

    def _open(self, call: Call[Any]) -> contextlib.closing[httpx.Response]:
        content = None if call.content is None else call.content()
        request = _request(self.client, call, content)
        return contextlib.closing(self.client.send(request, stream=True))


def _has_advanced(pages: Paginator[Any], call: Call[Any]) -> bool:
    """Return whether the paginator can resume after the items received before the interruption."""
    return pages.call is not None and pages.call is not call


def _pieces(answer: httpx.Response, kind: Pieces) -> Iterator[bytes]:
    if kind is Pieces.ANSWERS:
        yield answer.read()
        return
    cut = cutter(kind)
    for piece in answer.iter_bytes():
        yield from cut(piece)
    if kind is Pieces.BYTES:
        yield b""  # marks an empty file as received


class AsyncTransport:
    """Sends calls; its methods are awaited."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        retry_for: RetryPolicy,
        *,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        """Send through ``client``; between attempts, await ``sleep`` with the seconds."""
        self.client = client
        #: The retry policy of calls.
        self.retry_for = retry_for
        #: Sleeps between two attempts.
        self.sleep = sleep

    async def send(self, call: Call[T]) -> T:
        """Send a call, with retries, and return its result.

        Raises:
            HeadwaterError: there is no response, or it is an error.
        """
        tries = Retries(call, self.retry_for)
        while True:
            outcome = await self._attempt(call)
            pause = tries.pause_after(outcome)
            if pause is None:
                return _read(call, outcome)
            await self.sleep(pause)

    async def iterate(self, pages: Paginator[T]) -> AsyncIterator[T]:
        """Iterate over a list, fetching more when needed.

        Raises:
            HeadwaterError: as ``send``.
        """
        while (call := pages.call) is not None:
            if call.pause:
                await self.sleep(call.pause)
            tries = Retries(call, self.retry_for)
            while True:
                try:
                    async with self._open(call) as answer:
                        outcome: Outcome = answer
                        if answer.is_success:
                            async for piece in _async_pieces(answer, pages.pieces):
                                for item in pages.take(piece):
                                    yield item
                            break
                        await answer.aread()
                except httpx.TransportError as error:
                    if _has_advanced(pages, call):
                        break
                    outcome = tries.broken_off(error, is_repeatable=pages.call is call)
                await self.sleep(tries.pause_after(outcome) or 0.0)

    async def _attempt(self, call: Call[Any]) -> Outcome:
        try:
            async with self._open(call) as answer:
                if call.into is None or not answer.is_success:
                    await answer.aread()
                else:
                    await self._save(answer, call.into)
                return answer
        except httpx.TransportError as error:
            return error
        except httpx.DecodingError as error:
            return httpx.ReadError(f"the answer is broken: {error}", request=error.request)

    @staticmethod
    async def _save(answer: httpx.Response, path: Path) -> None:
        async with await anyio.open_file(path, "wb") as file:
            async for piece in answer.aiter_bytes():
                await file.write(piece)

    @contextlib.asynccontextmanager
    async def _open(self, call: Call[Any]) -> AsyncGenerator[httpx.Response, None]:
        content = None if call.content is None else call.content()
        if content is not None and not isinstance(content, bytes):
            content = _async_iterator(content)
        answer = await self.client.send(_request(self.client, call, content), stream=True)
        try:
            yield answer
        finally:
            await answer.aclose()


async def _async_pieces(answer: httpx.Response, kind: Pieces) -> AsyncIterator[bytes]:
    if kind is Pieces.ANSWERS:
        yield await answer.aread()
        return
    cut = cutter(kind)
    async for piece in answer.aiter_bytes():
        for part in cut(piece):
            yield part
    if kind is Pieces.BYTES:
        yield b""


async def _async_iterator(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
