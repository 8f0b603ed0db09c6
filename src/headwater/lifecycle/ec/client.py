"""HTTP client for ECs, and the interpretation of their responses."""

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import msgspec

from headwater.domain.errors import RequestInvalid
from headwater.domain.json_limits import clean_text, cleaned, unstorable
from headwater.domain.redaction import Redactor, leaves, secrets_of_headers, secrets_of_url
from headwater.domain.schema import cut
from headwater.domain.task import CODE_RUNNING, state_of
from headwater.domain.tracing import span, traceparent, under
from headwater.lifecycle.retry_after import retry_after
from headwater.lifecycle.ssrf_guard import AddressRefused, GuardedTransport, no_crawler_at, no_private_crawler_at

#: Seconds within which an EC has to respond.
ANSWER_WITHIN = 30.0
#: Bytes of a response that are read.
LONGEST_ANSWER = 64 << 10
#: Bytes of a non-JSON response that are redacted and stored, before it is cut.
LONGEST_TEXT = 8 << 10
#: Redirects that are followed, within the same scheme, host and port.
MOST_REDIRECTS = 3

_REDIRECTS = {301, 302, 303, 307, 308}
#: Status codes that mean that the EC does not implement the call, or does not know the task.
_NOT_KNOWN = {404, 405, 410, 501}


@dataclass(frozen=True, kw_only=True)
class Target:
    """An EC as a notice describes it."""

    endpoint: str
    headers: Mapping[str, str]
    #: The version of the External that the task runs with.
    version: int
    #: Where the EC wants to be notified of the task's end, if it gave a URL.
    callback: str | None = None
    #: The trace context of the request that caused the call (W3C Trace Context).
    traceparent: str | None = None

    def callback_url(self, task: str) -> str:
        """Return the URL for the task's end; a relative callback is appended to the endpoint."""
        callback = self.callback or f"/task/{task}"
        return callback if "://" in callback else self.endpoint.rstrip("/") + "/" + callback.lstrip("/")


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """The EC accepted the task."""

    callback: str | None
    code: int
    message: str | None
    detail: Any


@dataclass(frozen=True, kw_only=True)
class Refused:
    """The EC rejected the call; a retry would not help."""

    why: str
    #: The response, with its status.
    detail: Any = None


@dataclass(frozen=True, kw_only=True)
class Again:
    """The EC is unreachable or overloaded; the call should be retried."""

    why: str
    detail: Any = None
    #: Seconds from ``Retry-After``.
    after: float = 0.0


class EcClient:
    """HTTP client for ECs."""

    def __init__(self, transport: httpx.AsyncBaseTransport | None = None, *, is_private_allowed: bool = True) -> None:
        """Call through ``transport``; by default the network, except addresses that cannot belong to an EC."""
        rule = no_crawler_at if is_private_allowed else no_private_crawler_at
        self._client = httpx.AsyncClient(
            transport=transport or GuardedTransport(rule), timeout=ANSWER_WITHIN, follow_redirects=False
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def start(
        self, target: Target, body: Mapping[str, Any], *, secrets: Iterable[str] = ()
    ) -> Accepted | Refused | Again:
        """Ask an EC to run a task; ``secrets`` of the body are redacted in its response."""
        sent = [*secrets, *leaves(body.get("credential")), *leaves(body.get("token"))]
        redactor = _redactor(target.endpoint, target.headers, sent)
        answer = await self._send_json("POST", target.endpoint.rstrip("/") + "/task", target, body, redactor)
        return answer if isinstance(answer, Again | Refused) else await asyncio.to_thread(_accepted, answer, redactor)

    async def end(self, target: Target, task: str, body: Mapping[str, Any]) -> Refused | Again | None:
        """Notify an EC that its task is over; None means that it accepted, or does not implement the call."""
        url = target.callback_url(task).rstrip("/") + "/status"
        if _origin(url) != _origin(target.endpoint):
            target = replace(target, headers={})  # they are meant for the External's EC only
        return _failure(await self._send_json("PATCH", url, target, body, _redactor(url, target.headers)))

    async def token(self, url: str, headers: Mapping[str, str]) -> bytes | Refused | Again:
        """Fetch the token of a login from an EC; return the content of its 2xx response."""
        return await self._call("GET", url, headers, _redactor(url, headers))

    async def clear(self, url: str, headers: Mapping[str, str]) -> Refused | Again | None:
        """Ask an EC to delete the token of a login; None means that it has, or never had it."""
        return _failure(await self._call("DELETE", url, headers, _redactor(url, headers)))

    async def _send_json(
        self, method: str, url: str, target: Target, body: Mapping[str, Any], redactor: Redactor
    ) -> bytes | Refused | Again:
        version = {"version": str(target.version)}
        with under(target.traceparent):
            return await self._call(method, url, target.headers, redactor, params=version, body=body)

    async def _call(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        redactor: Redactor,
        *,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> bytes | Refused | Again:
        """Send a request; return the content of a 2xx response, or why there is none, with secrets redacted."""
        with span(f"ec {method}", {"server.address": _host(url)}, kind="client") as recorded:
            outcome = await self._request(method, url, headers, redactor, params=params, body=body)
            if recorded is not None and not isinstance(outcome, bytes):
                recorded.failed(type(outcome).__name__)
            return outcome if isinstance(outcome, bytes) else replace(outcome, why=redactor.text(outcome.why))

    async def _request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        redactor: Redactor,
        *,
        params: Mapping[str, str] | None,
        body: Mapping[str, Any] | None,
    ) -> bytes | Refused | Again:
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                where = httpx.URL(url)
                where = where if params is None else where.copy_merge_params(params)
                return await self._send(method, where, headers, body, redactor)
        except AddressRefused as error:
            return Refused(why=str(error))
        except TimeoutError:
            return Again(why=f"the crawler at {_host(url)} did not answer within {ANSWER_WITHIN:g} seconds")
        except httpx.ProtocolError:
            # The text of such an error may quote the response.
            return Again(why=f"the crawler at {_host(url)} broke off, or answers what is no HTTP")
        except httpx.TransportError as error:
            return Again(why=f"the crawler at {_host(url)} cannot be reached: {str(error) or type(error).__name__}")
        except (httpx.InvalidURL, httpx.HTTPError, ValueError) as error:
            return Refused(why=f"the crawler's URL cannot be called: {error}")

    async def _send(
        self,
        method: str,
        where: httpx.URL,
        headers: Mapping[str, str],
        body: Mapping[str, Any] | None,
        redactor: Redactor,
    ) -> bytes | Refused | Again:
        for _ in range(MOST_REDIRECTS + 1):
            request = self._client.build_request(method, where, headers=_traced(headers), json=body)
            response = await self._client.send(request, stream=True)
            try:
                content = await _read(response)
            finally:
                await response.aclose()
            if response.status_code not in _REDIRECTS:
                return await asyncio.to_thread(_classify, response, content, redactor)
            onward = where.join(response.headers.get("location", ""))
            if _origin(onward) != _origin(where) or onward.userinfo not in {b"", where.userinfo}:
                return Refused(
                    why=f"the crawler redirects to {redactor.text(_named(onward))}; redirects to another scheme, "
                    "host or port are not followed: set the External's URL to where it leads",
                    detail={"status": response.status_code, "location": redactor.text(str(onward))},
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


def _classify(response: httpx.Response, content: bytes, redactor: Redactor) -> bytes | Refused | Again:
    if response.is_success:
        return content
    why = f"the crawler answered {status_line(response.status_code)}"
    detail = _content(response.status_code, content, redactor)
    if response.status_code == HTTPStatus.TOO_MANY_REQUESTS or response.is_server_error:
        return Again(why=why, detail=detail, after=retry_after(response))
    return Refused(why=why, detail=detail)


def _failure(answer: bytes | Refused | Again) -> Refused | Again | None:
    """Return why an end could not be delivered; None if the EC accepted it, or does not implement the call."""
    if isinstance(answer, bytes) or (answer.detail is not None and answer.detail["status"] in _NOT_KNOWN):
        return None
    return answer


def _content(status: int, content: bytes, redactor: Redactor) -> dict[str, Any]:
    text = clean_text(content.decode(errors="replace"))
    try:
        answer = json.loads(text)
        is_kept = unstorable(answer) is None
    except (ValueError, RecursionError):
        is_kept, answer = False, None
    # A response that cannot be stored as JSON is stored as text.
    return {"status": status, "answer": redactor.json(answer) if is_kept else cut(redactor.text(text[:LONGEST_TEXT]))}


def status_line(status: int) -> str:
    """Return a status with its standard phrase; the phrase in the response is arbitrary text."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


class _Status(msgspec.Struct):
    code: int | None = None
    message: str | None = None
    detail: Any = None


class _Payload(msgspec.Struct):
    callback: str | None = None
    status: _Status | None = None


class _Answer(msgspec.Struct):
    """An EC's response to a start; absent fields have defaults."""

    success: bool = True
    payload: _Payload | None = None


def _accepted(content: bytes, redactor: Redactor) -> Accepted | Refused:
    detail = _content(HTTPStatus.OK, content, redactor)
    try:
        answer = msgspec.convert(json.loads(content if content.strip() else b"{}"), _Answer)
        fault = None if answer.payload is None else unstorable(answer.payload.callback)
    except (msgspec.ValidationError, ValueError, RecursionError) as error:
        return Refused(
            why="the crawler's answer is not {'success': true, 'payload': {'callback', 'status'}}: "
            f"{redactor.text(str(error))}",
            detail=detail,
        )
    if fault is not None:
        return Refused(why=f"the crawler's answer cannot be kept: {fault}", detail=detail)
    if not answer.success:
        return Refused(why="the crawler answered that it did not succeed", detail=detail)
    payload = answer.payload or _Payload()
    status = payload.status or _Status()
    code = status.code or CODE_RUNNING
    try:
        state_of(code)
    except RequestInvalid as error:
        return Refused(why=f"the crawler answered with a wrong status: {error.detail}", detail=detail)
    message = None if status.message is None else redactor.text(clean_text(status.message))
    return Accepted(callback=payload.callback, code=code, message=message, detail=redactor.json(cleaned(status.detail)))


def _redactor(url: str, headers: Mapping[str, str], secrets: Iterable[str] = ()) -> Redactor:
    return Redactor([*secrets, *secrets_of_headers(headers), *secrets_of_url(url)])


def _origin(url: str | httpx.URL) -> tuple[str, str, int | None] | None:
    """Return scheme, host and port of a URL; None if it has no host."""
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError):
        return None
    return parsed.scheme, parsed.host, parsed.port or {"http": 80, "https": 443}.get(parsed.scheme)


def _named(url: httpx.URL) -> str:
    return f"{url.scheme}://{url.netloc.decode(errors='replace')}"


def _traced(headers: Mapping[str, str]) -> dict[str, str]:
    parent = traceparent()
    if parent is None or any(name.lower() == "traceparent" for name in headers):
        return dict(headers)
    return {**headers, "traceparent": parent}


def _host(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2] or quote(url)
