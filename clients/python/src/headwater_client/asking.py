"""Asking questions, blocking and awaiting: the two places where something is sent.

Whether and when to try again is decided in ``patience.py``, what an answer means in ``questions.py``. What is here
stands twice because sending, sleeping and iterating are two languages.
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

from headwater_client.errors import Unavailable
from headwater_client.patience import Outcome, Patience, asked_pause, asks_for_another_try
from headwater_client.questions import Pieces, Question, Walk, cutter, problem_of

T = TypeVar("T")

#: Seconds without a byte after which a try has failed; a server under pressure reads slowly.
TIMEOUT = httpx.Timeout(120.0, connect=10.0)
USER_AGENT = f"headwater-client/{version('headwater-client')} (python)"


class Tries:
    """The tries of one question."""

    def __init__(self, question: Question[Any], patience: Patience) -> None:
        """Begin with none."""
        self._question = question
        self._patience = patience
        self._began = time.monotonic()
        self._tries = 0

    def pause_after(self, outcome: Outcome) -> float | None:
        """Return the seconds until the next try; None if the outcome is an answer to take.

        Raises:
            Unavailable: there is no answer, and patience is at its end.
            Problem: the answer is an error.
        """
        self._tries += 1
        is_answer = isinstance(outcome, httpx.Response)
        if is_answer and outcome.is_success:
            return None
        if not asks_for_another_try(outcome, is_harmless=self._question.is_harmless):
            if is_answer:
                raise problem_of(outcome)
            raise self._unavailable(outcome)
        asked = asked_pause(outcome) if is_answer else None
        waited = time.monotonic() - self._began
        dice = random.random()  # noqa: S311 - it keeps clients apart, and no secret
        pause = self._patience.pause(self._tries, waited=waited, asked=asked, dice=dice)
        if pause is None:
            raise self._unavailable(outcome)
        return pause

    def broken_off(self, error: httpx.TransportError, *, is_repeatable: bool) -> Outcome:
        """Return what came of a try whose answer broke off.

        Raises:
            Unavailable: a part of the answer was handed on already, and cannot be taken back.
        """
        if is_repeatable:
            return error
        self._tries += 1
        raise self._unavailable(error)

    def _unavailable(self, outcome: Outcome) -> Unavailable:
        cause: Exception = problem_of(outcome) if isinstance(outcome, httpx.Response) else outcome
        waited = time.monotonic() - self._began
        tries = "once" if self._tries == 1 else f"{self._tries} times within {waited:.0f} s"
        method, path = self._question.method, self._question.path
        error = Unavailable(f"{method} {path} was tried {tries}: {str(cause) or type(cause).__name__}")
        error.__cause__ = cause
        return error


def _request(client: httpx.Client | httpx.AsyncClient, question: Question[Any], content: Any) -> httpx.Request:
    timeout = client.timeout if question.patience is None else httpx.Timeout(question.patience, connect=10.0)
    return client.build_request(
        question.method,
        question.path,
        params={name: value for name, value in question.params.items() if value is not None},
        json=question.json,
        content=content,
        headers=dict(question.headers),
        timeout=timeout,
    )


class Blocking:
    """Asks, and waits for the answer."""

    def __init__(
        self, client: httpx.Client, patience: Patience, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        """Ask through ``client``; between tries, call ``sleep`` with the seconds."""
        self.client = client
        #: For how long questions are asked again.
        self.patience = patience
        #: What waits between two tries.
        self.sleep = sleep

    def ask(self, question: Question[T]) -> T:
        """Return the answer, after as many tries as it takes.

        Raises:
            HeadwaterError: there is none, or it is an error.
        """
        tries = Tries(question, self.patience)
        while True:
            outcome = self._send(question)
            pause = tries.pause_after(outcome)
            if pause is None:
                return question.read(outcome)  # pyright: ignore[reportArgumentType] - without a pause it is an answer
            self.sleep(pause)

    def walk(self, walk: Walk[T]) -> Iterator[T]:
        """Iterate over a list, asking for more when it is needed.

        Raises:
            HeadwaterError: as above.
        """
        while (question := walk.question) is not None:
            if question.pause:
                self.sleep(question.pause)
            tries = Tries(question, self.patience)
            while True:
                try:
                    with self._begun(question) as answer:
                        outcome: Outcome = answer
                        if answer.is_success:
                            for piece in _pieces(answer, walk.pieces):
                                yield from walk.take(piece)
                            break
                        answer.read()
                except httpx.TransportError as error:
                    if _has_gone_on(walk, question):
                        break
                    outcome = tries.broken_off(error, is_repeatable=walk.question is question)
                self.sleep(tries.pause_after(outcome) or 0.0)

    def _send(self, question: Question[Any]) -> Outcome:
        try:
            with self._begun(question) as answer:
                if question.into is None or not answer.is_success:
                    answer.read()
                else:
                    with question.into.open("wb") as file:
                        for piece in answer.iter_bytes():
                            file.write(piece)
                return answer
        except httpx.TransportError as error:
            return error

    def _begun(self, question: Question[Any]) -> contextlib.closing[httpx.Response]:
        content = None if question.content is None else question.content()
        request = _request(self.client, question, content)
        return contextlib.closing(self.client.send(request, stream=True))


def _has_gone_on(walk: Walk[Any], question: Question[Any]) -> bool:
    """Tell whether a walk goes on behind what it was told before a break, with another question."""
    return walk.question is not None and walk.question is not question


def _pieces(answer: httpx.Response, kind: Pieces) -> Iterator[bytes]:
    if kind is Pieces.ANSWERS:
        yield answer.read()
        return
    cut = cutter(kind)
    for piece in answer.iter_bytes():
        yield from cut(piece)
    if kind is Pieces.BYTES:
        yield b""  # of an empty file, too, something has come


class Awaiting:
    """Asks, and is awaited for the answer."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        patience: Patience,
        *,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        """Ask through ``client``; between tries, await ``sleep`` with the seconds."""
        self.client = client
        #: For how long questions are asked again.
        self.patience = patience
        #: What waits between two tries.
        self.sleep = sleep

    async def ask(self, question: Question[T]) -> T:
        """Return the answer, after as many tries as it takes.

        Raises:
            HeadwaterError: there is none, or it is an error.
        """
        tries = Tries(question, self.patience)
        while True:
            outcome = await self._send(question)
            pause = tries.pause_after(outcome)
            if pause is None:
                return question.read(outcome)  # pyright: ignore[reportArgumentType] - without a pause it is an answer
            await self.sleep(pause)

    async def walk(self, walk: Walk[T]) -> AsyncIterator[T]:
        """Iterate over a list, asking for more when it is needed.

        Raises:
            HeadwaterError: as above.
        """
        while (question := walk.question) is not None:
            if question.pause:
                await self.sleep(question.pause)
            tries = Tries(question, self.patience)
            while True:
                try:
                    async with self._begun(question) as answer:
                        outcome: Outcome = answer
                        if answer.is_success:
                            async for piece in _awaited_pieces(answer, walk.pieces):
                                for item in walk.take(piece):
                                    yield item
                            break
                        await answer.aread()
                except httpx.TransportError as error:
                    if _has_gone_on(walk, question):
                        break
                    outcome = tries.broken_off(error, is_repeatable=walk.question is question)
                await self.sleep(tries.pause_after(outcome) or 0.0)

    async def _send(self, question: Question[Any]) -> Outcome:
        try:
            async with self._begun(question) as answer:
                if question.into is None or not answer.is_success:
                    await answer.aread()
                else:
                    await self._save(answer, question.into)
                return answer
        except httpx.TransportError as error:
            return error

    @staticmethod
    async def _save(answer: httpx.Response, path: Path) -> None:
        async with await anyio.open_file(path, "wb") as file:
            async for piece in answer.aiter_bytes():
                await file.write(piece)

    @contextlib.asynccontextmanager
    async def _begun(self, question: Question[Any]) -> AsyncGenerator[httpx.Response, None]:
        content = None if question.content is None else question.content()
        if content is not None and not isinstance(content, bytes):
            content = _awaited(content)
        answer = await self.client.send(_request(self.client, question, content), stream=True)
        try:
            yield answer
        finally:
            await answer.aclose()


async def _awaited_pieces(answer: httpx.Response, kind: Pieces) -> AsyncIterator[bytes]:
    if kind is Pieces.ANSWERS:
        yield await answer.aread()
        return
    cut = cutter(kind)
    async for piece in answer.aiter_bytes():
        for part in cut(piece):
            yield part
    if kind is Pieces.BYTES:
        yield b""


async def _awaited(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
