"""One client's HTTP connection, with limits on the size of what it sends and on how long it may be silent.

They apply before the caller is identified. Timeouts are checked once a second for all connections, so that
they cost nothing while a request is served.
"""

import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from heapq import nsmallest
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from headwater.api.errors import MEDIA_TYPE, status_of, unrouted_problem
from headwater.api.middleware.security_headers import DEFAULTS
from headwater.domain.errors import (
    HeaderTooLarge,
    HeadwaterError,
    RequestInvalid,
    RequestTimedOut,
    Unavailable,
)

#: Seconds for which a rejected client's data is read and discarded, so that it receives the response.
LINGER_FOR = 10.0
#: Seconds of silence after which this ends early.
LINGER_WHILE = 2.0
#: ``Retry-After`` in seconds for a client whose connection was rejected.
RETRY_AFTER = 5

_TOO_SLOW = "the request's header did not arrive within {:g} s (setting header_timeout)"


@dataclass(frozen=True, kw_only=True)
class ConnectionLimits:
    """Limits of a connection, and of the number of connections."""

    #: Bytes of a request's line and headers.
    header: int
    #: Seconds within which they have to arrive.
    header_timeout: float
    #: Seconds for which a connection may be idle between requests.
    keep_alive: float
    #: Seconds for which a client may read nothing of a response.
    response_stall: float
    #: Maximum number of connections.
    connections: int


class HttpConnection(HttpToolsProtocol):
    """A connection that is closed if its client is too slow, sends too much, or is idle while others wait."""

    def __init__(self, *, limits: ConnectionLimits, **arguments: Any) -> None:
        """Create a connection that has received nothing."""
        super().__init__(**arguments)
        self._limits = limits
        #: Since when the connection has waited for a request.
        self._idle_since = self.loop.time()
        #: When the first byte of the current request arrived.
        self._begun_at: float | None = None
        #: Bytes since the last one that ended a header or belonged to a body.
        self._unparsed = 0
        self._has_advanced = False
        #: Whether there has been a request.
        self._has_asked = False
        self._refused_at: float | None = None
        self._last_received = 0.0
        self._unsent = 0
        self._unsent_since = self._idle_since
        self._fault: HeadwaterError | None = None

    @property
    def is_idle(self) -> bool:
        """Whether no request is being served."""
        return not self._has_asked or self.cycle.response_complete

    def connection_made(self, transport: Any) -> None:
        """Accept a connection; if there are too many, close idle ones."""
        super().connection_made(transport)
        excess = len(self.connections) - self._limits.connections
        if excess > 0 and not make_room(self.connections, besides=self):
            self._refuse(
                Unavailable(
                    "the server has as many connections as it can hold; try again later", retry_after=RETRY_AFTER
                )
            )
            self.transport.close()  # waiting for the client would occupy what is scarce

    def data_received(self, data: bytes) -> None:
        """Process received data."""
        if self._refused_at is not None:
            self._last_received = self.loop.time()
            return
        if self._begun_at is None:
            self._begun_at = self.loop.time()
        self._has_advanced = False
        super().data_received(data)
        self._unparsed = 0 if self._has_advanced else self._unparsed + len(data)
        if self._unparsed > self._limits.header and self._refused_at is None:
            self._refuse(self._header_too_large())

    def on_headers_complete(self) -> None:
        """Check the exact size of the header, then serve the request."""
        self._has_advanced = True
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > self._limits.header:
            self._fault = self._header_too_large()
            raise self._fault  # the parser stops, and send_400_response is called
        super().on_headers_complete()
        self._has_asked = True

    def on_body(self, body: bytes) -> None:
        """Process a chunk of the body."""
        self._has_advanced = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note the end of a request."""
        self._has_advanced = True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self._idle_since = self.loop.time()
        self._begun_at = None
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """Reject a malformed request, or one with too large a header."""
        if self._refused_at is None:
            self._refuse(self._fault or RequestInvalid("this is not a request of HTTP/1.1; " + msg))

    def check(self, now: float) -> None:
        """Close the connection if its client has been silent for too long."""
        limits = self._limits
        if self.transport.is_closing() or not self.is_idle:
            self._check_unsent(now)
        elif self._refused_at is not None:
            if now - self._refused_at > LINGER_FOR or now - self._last_received > LINGER_WHILE:
                self.transport.close()
        elif self._begun_at is not None:
            if now - self._begun_at > limits.header_timeout:
                self._refuse(RequestTimedOut(_TOO_SLOW.format(limits.header_timeout)))
        elif now - self._idle_since > (limits.keep_alive if self._has_asked else limits.header_timeout):
            self.transport.close()

    def idle_since(self) -> float:
        """Return since when an idle connection has been idle."""
        return self._idle_since

    def abort(self) -> None:
        """Close the connection at once."""
        self.transport.abort()

    def _check_unsent(self, now: float) -> None:
        unsent = self.transport.get_write_buffer_size()
        if unsent != self._unsent or not unsent:
            self._unsent, self._unsent_since = unsent, now
        elif now - self._unsent_since > self._limits.response_stall:
            self.transport.abort()

    def _header_too_large(self) -> HeaderTooLarge:
        return HeaderTooLarge(
            f"the request's line and header fields are over the limit of {self._limits.header} bytes "
            "(setting max_header)"
        )

    def _refuse(self, error: HeadwaterError) -> None:
        """Respond to what cannot reach the application, and close once the client has read the response."""
        self._refused_at = self._last_received = self.loop.time()
        self._unset_keepalive_if_required()
        if not self.is_idle:
            has_begun = self.cycle.response_started
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if has_begun:  # a second response within one would be taken for part of it
                self.transport.abort()
                return
            self.cycle.response_complete = True
        self.transport.write(self._answer(error))
        self.flow.resume_reading()
        if not self.transport.is_closing() and self.transport.can_write_eof():
            self.transport.write_eof()

    def _answer(self, error: HeadwaterError) -> bytes:
        request_id = secrets.token_hex(8)
        body = json.dumps(unrouted_problem(error, request_id=request_id)).encode()
        fields = [
            *self.server_state.default_headers,
            *DEFAULTS,
            (b"content-type", MEDIA_TYPE.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"x-request-id", request_id.encode()),
            (b"connection", b"close"),
        ]
        if error.retry_after is not None:
            fields.append((b"retry-after", str(error.retry_after).encode()))
        head = b"".join(b"%b: %b\r\n" % field for field in fields)
        return STATUS_LINE[status_of(error)] + head + b"\r\n" + body


def make_room(connections: Iterable[Any], *, besides: object = None) -> int:
    """Close some of those connections that have been idle for longest; return how many."""
    idle = [each for each in connections if each is not besides and each.is_idle and not each.transport.is_closing()]
    chosen = nsmallest(max(1, len(idle) // 32), idle, key=HttpConnection.idle_since)
    for connection in chosen if idle else ():
        connection.abort()
    return len(chosen)
