"""HTTP client for webhooks, and the interpretation of their responses."""

import asyncio
import time
from collections.abc import AsyncIterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import cast
from urllib.parse import urlsplit

import httpx

from headwater.domain.redaction import Redactor, secrets_of_url
from headwater.domain.software_version import software_version
from headwater.lifecycle.ec.client import status_line
from headwater.lifecycle.retry_after import retry_after
from headwater.lifecycle.ssrf_guard import AddressRefused, GuardedTransport, no_metadata, not_public

#: Seconds within which a receiver has to respond.
ANSWER_WITHIN = 20.0
#: Bytes of a response that are read and kept.
LONGEST_ANSWER = 4 << 10
#: Status codes whose ``Retry-After`` is honored.
_ASKING = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The outcome of an attempt."""

    duration_ms: int
    #: The response's status; None if there was no response.
    status: int | None = None
    #: The beginning of the response body.
    answer: str | None = None
    #: Why it failed; None on success.
    error: str | None = None
    #: Seconds to wait, from the response's ``Retry-After``.
    asked: float = 0.0


class WebhookClient:
    """HTTP client for webhooks."""

    def __init__(
        self,
        *,
        is_private_allowed: bool = False,
        answer_within: float = ANSWER_WITHIN,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Send through ``transport``; by default by https to public addresses, unless private ones are allowed."""
        self.is_private_allowed = is_private_allowed
        self.answer_within = answer_within
        self._client = httpx.AsyncClient(
            transport=transport or GuardedTransport(no_metadata if is_private_allowed else not_public),
            timeout=answer_within,
            follow_redirects=False,
            headers={
                "User-Agent": f"Headwater/{software_version()}",
                "Content-Type": "application/json",
                "Accept-Encoding": "identity",
            },
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def send(self, url: str, headers: Mapping[str, str], body: str, *, at: datetime) -> Outcome:
        """Send a message; failures are outcomes, not exceptions."""
        began = time.monotonic()
        found = await self._sent(url, headers, body)
        took = round((time.monotonic() - began) * 1000)
        # Anyone who reads a signature could replay it for some minutes.
        redactor = Redactor([*_signatures(headers), *secrets_of_url(url)])
        if isinstance(found, str):
            return Outcome(duration_ms=took, error=redactor.text(found))
        response, content = found
        return Outcome(
            duration_ms=took,
            status=response.status_code,
            answer=redactor.text(content.decode(errors="replace").replace("\0", "�")),
            error=None if response.is_success else _why(response),
            asked=_requested_wait(response, at=at),
        )

    async def _sent(self, url: str, headers: Mapping[str, str], body: str) -> tuple[httpx.Response, bytes] | str:
        """Return the response with the beginning of its body, or why there is none."""
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
        # A status counts although the rest of the response did not arrive.
        return self._failure(fault) if response is None else (response, bytes(content[:LONGEST_ANSWER]))

    def _failure(self, error: Exception | None) -> str:
        if isinstance(error, TimeoutError | httpx.TimeoutException):
            return f"no answer came within {self.answer_within:g} seconds"
        return f"it cannot be reached: {str(error) or type(error).__name__}"


def _undecoded(response: httpx.Response) -> AsyncIterable[bytes]:
    """Return the raw body as it arrives: decompressed, a small body may become huge."""
    return cast("httpx.AsyncByteStream", response.stream)


def _signatures(headers: Mapping[str, str]) -> list[str]:
    return [each.partition(",")[2] or each for each in headers.get("webhook-signature", "").split()]


def _why(response: httpx.Response) -> str:
    said = f"the answer was {status_line(response.status_code)}"
    return f"{said}; redirects are not followed" if response.has_redirect_location else said


def _requested_wait(response: httpx.Response, *, at: datetime) -> float:
    """Return how many seconds a response asks to wait."""
    return retry_after(response, at=at) if response.status_code in _ASKING else 0.0
