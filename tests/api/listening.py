"""Somebody who listens to an answer that comes piece by piece, and has heard what came so far."""

import asyncio
from typing import Any

import httpx

from builders import eventually


class Listening:
    """A request to the application, and what has come of its answer: the usual way there gives it at its end only."""

    def __init__(self, api: httpx.AsyncClient, address: str, **options: Any) -> None:
        self.text = ""
        self._answer = asyncio.create_task(self._listen(api, address, options))

    async def hears(self, words: str) -> None:
        """Wait until something is told."""

        async def is_told() -> bool:
            if self._answer.done():
                raise AssertionError(f"{words!r} never came: {(await self._answer).text!r}")
            return words in self.text

        await eventually(is_told)

    async def end(self) -> httpx.Response:
        """Wait for the end of the answer, and return the whole."""
        return await asyncio.wait_for(self._answer, 10)

    async def _listen(self, api: httpx.AsyncClient, address: str, options: dict[str, Any]) -> httpx.Response:
        transport = httpx.ASGITransport(self._overheard(api.app), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=api.base_url, headers=api.headers) as client:
            return await client.get(address, **options)

    def _overheard(self, app: Any) -> Any:
        async def overheard(scope: Any, receive: Any, send: Any) -> None:
            async def hear(message: Any) -> None:
                self.text += message.get("body", b"").decode()
                await send(message)

            await app(scope, receive, hear)

        return overheard
