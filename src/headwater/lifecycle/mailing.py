"""Sending to webhooks over HTTP, and what an answer means."""

import asyncio
import time
from collections.abc import AsyncIterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from importlib.metadata import version
from typing import cast
from urllib.parse import urlsplit

import httpx

from headwater.lifecycle.addresses import AddressRefused, GuardedTransport, no_metadata, not_public

#: Seconds within which a receiver has to answer.
ANSWER_WITHIN = 20.0
#: Bytes of an answer that are read and kept.
LONGEST_ANSWER = 4 << 10
#: Answers that may ask for patience.
_ASKING = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of sending."""

    duration_ms: int
    #: The status that was answered; None: no answer came.
    status: int | None = None
    #: The beginning of the answer.
    answer: str | None = None
    #: Why it failed; None of a success.
    error: str | None = None
    #: Seconds for which the receiver asked.
    asked: float = 0.0


class Mailer:
    """Sends to webhooks."""

    def __init__(
        self,
        *,
        is_private_allowed: bool = False,
        answer_within: float = ANSWER_WITHIN,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Send through ``transport``; by default the network: by https to public addresses, unless all are allowed."""
        self.is_private_allowed = is_private_allowed
        self.answer_within = answer_within
        self._client = httpx.AsyncClient(
            transport=transport or GuardedTransport(no_metadata if is_private_allowed else not_public),
            timeout=answer_within,
            follow_redirects=False,
            headers={
                "User-Agent": f"Headwater/{version('headwater')}",
                "Content-Type": "application/json",
                "Accept-Encoding": "identity",
            },
        )

    async def close(self) -> None:
        """Let go of the connections."""
        await self._client.aclose()

    async def send(self, url: str, headers: Mapping[str, str], body: str, *, at: datetime) -> Outcome:
        """Send a message; whatever goes wrong is an outcome."""
        began = time.monotonic()
        found = await self._sent(url, headers, body)
        took = round((time.monotonic() - began) * 1000)
        if isinstance(found, str):
            return Outcome(duration_ms=took, error=found)
        response, content = found
        return Outcome(
            duration_ms=took,
            status=response.status_code,
            answer=content.decode(errors="replace").replace("\0", "�"),
            error=None if response.is_success else _why(response),
            asked=_asked(response, at=at),
        )

    async def _sent(self, url: str, headers: Mapping[str, str], body: str) -> tuple[httpx.Response, bytes] | str:
        """Return the answer with the beginning of what it holds, or why there is none."""
        if not self.is_private_allowed and urlsplit(url).scheme != "https":
            return "only https is sent to, unless webhook_private_addresses is set"
        response: httpx.Response | None = None
        content = bytearray()
        fault: Exception | None = None
        try:
            async with asyncio.timeout(self.answer_within):
                request = self._client.build_request("POST", url, headers=dict(headers), content=body.encode())
                response = await self._client.send(request, stream=True)
                async for chunk in _undecoded(response):
                    content += chunk
                    if len(content) >= LONGEST_ANSWER:
                        break
        except AddressRefused as error:
            return str(error)
        except (TimeoutError, httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            fault = error
        finally:
            if response is not None:
                await response.aclose()
        # Who has answered has answered, though the rest of it did not come.
        return self._silence(fault) if response is None else (response, bytes(content[:LONGEST_ANSWER]))

    def _silence(self, error: Exception | None) -> str:
        if isinstance(error, TimeoutError | httpx.TimeoutException):
            return f"no answer came within {self.answer_within:g} seconds"
        return f"it cannot be reached: {str(error) or type(error).__name__}"


def _undecoded(response: httpx.Response) -> AsyncIterable[bytes]:
    """Return what an answer holds, as it comes: a small one that was compressed may be huge when it is not."""
    return cast("httpx.AsyncByteStream", response.stream)


def _why(response: httpx.Response) -> str:
    said = f"the answer was {response.status_code} {response.reason_phrase}".rstrip()
    return f"{said}; redirects are not followed" if response.has_redirect_location else said


def _asked(response: httpx.Response, *, at: datetime) -> float:
    """Return for how many seconds an answer asks for patience (RFC 9110, 10.2.3)."""
    asked = response.headers.get("retry-after", "")
    if response.status_code not in _ASKING or not asked:
        return 0.0
    if asked.isdecimal():
        return float(asked[:9])
    try:
        moment = parsedate_to_datetime(asked)
    except ValueError:
        return 0.0
    return (moment - at).total_seconds() if moment.tzinfo is not None else 0.0
