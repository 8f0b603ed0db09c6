"""Calls to ECs over HTTP, and what their answers mean."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import msgspec

from headwater.domain.errors import RequestInvalid
from headwater.domain.schema import cut
from headwater.domain.spans import span, traceparent, under
from headwater.domain.storable import unstorable
from headwater.domain.task import CODE_RUNNING, state_of
from headwater.lifecycle.addresses import AddressRefused, GuardedTransport, no_crawler_at

#: Seconds within which an EC has to answer.
ANSWER_WITHIN = 30.0
#: Bytes of an answer that are read.
LONGEST_ANSWER = 64 << 10
#: Redirects that are followed, on the same host.
MOST_REDIRECTS = 3

_REDIRECTS = {301, 302, 303, 307, 308}
#: Answers with which an EC says that it does not know the call, or what it is told the end of.
_NOT_KNOWN = {404, 405, 410, 501}


@dataclass(frozen=True, kw_only=True)
class Target:
    """An EC, as a notice names it."""

    endpoint: str
    headers: Mapping[str, str]
    #: The External's version that the task runs with.
    version: int
    #: Where the EC wants to be told of the task's end, if it has said so.
    callback: str | None = None
    #: The span that asked for what it is told (W3C Trace Context).
    traceparent: str | None = None

    def callback_url(self, task: str) -> str:
        """Return the URL to which the task's end is told; what is not absolute is appended to the endpoint."""
        callback = self.callback or f"/task/{task}"
        return callback if "://" in callback else self.endpoint.rstrip("/") + "/" + callback.lstrip("/")


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """The EC took the task."""

    callback: str | None
    code: int
    message: str | None
    detail: Any


@dataclass(frozen=True, kw_only=True)
class Refused:
    """The EC did not do what it was asked, and will not."""

    why: str
    #: What it answered.
    detail: Any = None


@dataclass(frozen=True, kw_only=True)
class Again:
    """The EC could not be reached, or asks for patience."""

    why: str
    detail: Any = None
    #: Seconds for which it asked.
    after: float = 0.0


class Outbound:
    """Calls ECs."""

    def __init__(self, transport: httpx.AsyncBaseTransport | None = None) -> None:
        """Call through ``transport``; by default the network, without the addresses that are nobody's EC."""
        self._client = httpx.AsyncClient(
            transport=transport or GuardedTransport(no_crawler_at), timeout=ANSWER_WITHIN, follow_redirects=False
        )

    async def close(self) -> None:
        """Let go of the connections."""
        await self._client.aclose()

    async def start(self, target: Target, body: Mapping[str, Any]) -> Accepted | Refused | Again:
        """Ask an EC to run a task."""
        answer = await self._tell("POST", target.endpoint.rstrip("/") + "/task", target, body)
        return answer if isinstance(answer, Again | Refused) else _accepted(answer)

    async def end(self, target: Target, task: str, body: Mapping[str, Any]) -> Refused | Again | None:
        """Tell an EC that its task is over; None means that it heard, or need not."""
        answer = await self._tell("PATCH", target.callback_url(task).rstrip("/") + "/status", target, body)
        return _heard(answer)

    async def token(self, url: str, headers: Mapping[str, str]) -> bytes | Refused | Again:
        """Ask an EC for the token of a login; return what it answered with 2xx."""
        return await self._call("GET", url, headers)

    async def clear(self, url: str, headers: Mapping[str, str]) -> Refused | Again | None:
        """Tell an EC to forget the token of a login; None means that it has, or never had it."""
        return _heard(await self._call("DELETE", url, headers))

    async def _tell(self, method: str, url: str, target: Target, body: Mapping[str, Any]) -> bytes | Refused | Again:
        with under(target.traceparent):
            return await self._call(method, url, target.headers, params={"version": str(target.version)}, body=body)

    async def _call(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        *,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> bytes | Refused | Again:
        with span(f"ec {method}", {"server.address": _host(url)}, kind="client") as told:
            outcome = await self._answered(method, url, headers, params=params, body=body)
            if told is not None and not isinstance(outcome, bytes):
                told.failed(type(outcome).__name__)
            return outcome

    async def _answered(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        *,
        params: Mapping[str, str] | None,
        body: Mapping[str, Any] | None,
    ) -> bytes | Refused | Again:
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                where = httpx.URL(url)
                where = where if params is None else where.copy_merge_params(params)
                return await self._send(method, where, headers, body)
        except AddressRefused as error:
            return Refused(why=str(error))
        except TimeoutError:
            return Again(why=f"the crawler at {_host(url)} did not answer within {ANSWER_WITHIN:g} seconds")
        except httpx.ProtocolError:
            # The text of such an error may quote what was answered.
            return Again(why=f"the crawler at {_host(url)} broke off, or answers what is no HTTP")
        except httpx.TransportError as error:
            return Again(why=f"the crawler at {_host(url)} cannot be reached: {str(error) or type(error).__name__}")
        except (httpx.InvalidURL, httpx.HTTPError, ValueError) as error:
            return Refused(why=f"the crawler's URL cannot be called: {error}")

    async def _send(
        self, method: str, where: httpx.URL, headers: Mapping[str, str], body: Mapping[str, Any] | None
    ) -> bytes | Refused | Again:
        for _ in range(MOST_REDIRECTS + 1):
            request = self._client.build_request(method, where, headers=_traced(headers), json=body)
            response = await self._client.send(request, stream=True)
            try:
                content = await _read(response)
            finally:
                await response.aclose()
            if response.status_code not in _REDIRECTS:
                return _meaning(response, content)
            onward = where.join(response.headers.get("location", ""))
            if (onward.host, onward.scheme) != (where.host, where.scheme):
                return Refused(
                    why=f"the crawler redirects to {onward.host}; redirects to another host are not followed",
                    detail={"status": response.status_code, "location": str(onward)},
                )
            where = onward
        return Refused(why=f"the crawler redirects more than {MOST_REDIRECTS} times")


async def _read(response: httpx.Response) -> bytes:
    content = b""
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > LONGEST_ANSWER:
            break
    return content[:LONGEST_ANSWER]


def _meaning(response: httpx.Response, content: bytes) -> bytes | Refused | Again:
    if response.is_success:
        return content
    why = f"the crawler answered {response.status_code} {response.reason_phrase}"
    detail = _said(response.status_code, content)
    if response.status_code == HTTPStatus.TOO_MANY_REQUESTS or response.is_server_error:
        asked = response.headers.get("retry-after", "")
        return Again(why=why, detail=detail, after=float(asked) if asked.isdecimal() else 0.0)
    return Refused(why=why, detail=detail)


def _heard(answer: bytes | Refused | Again) -> Refused | Again | None:
    """Return why an EC did not hear that something is over; None if it did, or need not."""
    if isinstance(answer, bytes) or (answer.detail is not None and answer.detail["status"] in _NOT_KNOWN):
        return None
    return answer


def _said(status: int, content: bytes) -> dict[str, Any]:
    text = content.decode(errors="replace").replace("\0", "�")
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        return {"status": status, "answer": cut(text)}
    # What cannot be kept as JSON is kept as the text that it came as.
    return {"status": status, "answer": cut(text) if unstorable(answer) else answer}


class _Status(msgspec.Struct):
    code: int | None = None
    message: str | None = None
    detail: Any = None


class _Payload(msgspec.Struct):
    callback: str | None = None
    status: _Status | None = None


class _Answer(msgspec.Struct):
    """What an EC answers to a start; whatever is absent has a default."""

    success: bool = True
    payload: _Payload | None = None


_ANSWER = msgspec.json.Decoder(_Answer)


def _accepted(content: bytes) -> Accepted | Refused:
    said = _said(HTTPStatus.OK, content)
    try:
        answer = _ANSWER.decode(content if content.strip() else b"{}")
        fault = unstorable(msgspec.to_builtins(answer))
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        return Refused(
            why=f"the crawler's answer is not {{'success': true, 'payload': {{'callback', 'status'}}}}: {error}",
            detail=said,
        )
    if fault is not None:
        return Refused(why=f"the crawler's answer cannot be kept: {fault}", detail=said)
    if not answer.success:
        return Refused(why="the crawler answered that it did not succeed", detail=said)
    payload = answer.payload or _Payload()
    status = payload.status or _Status()
    code = status.code or CODE_RUNNING
    try:
        state_of(code)
    except RequestInvalid as error:
        return Refused(why=f"the crawler answered with a wrong status: {error.detail}", detail=said)
    return Accepted(callback=payload.callback, code=code, message=status.message, detail=status.detail)


def _traced(headers: Mapping[str, str]) -> dict[str, str]:
    parent = traceparent()
    if parent is None or any(name.lower() == "traceparent" for name in headers):
        return dict(headers)
    return {**headers, "traceparent": parent}


def _host(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2] or quote(url)
