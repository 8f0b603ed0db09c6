"""Messages between the server and a sandbox process: length-prefixed MessagePack."""

import struct
from socket import socket

import msgspec

from headwater.domain.errors import Flaw

#: Approximate maximum of documents per request.
MOST_LINES = 1 << 15
#: Size of the shared memory: a verdict for each document, and whether the schema has been compiled.
BOARD = MOST_LINES + 1

#: Verdicts, in the shared memory.
PENDING, VALID, INVALID, UNDECODABLE = range(4)

_LENGTH = struct.Struct(">I")


class Request(msgspec.Struct, kw_only=True):
    """A request to compile a schema, and then to validate documents."""

    #: Identifies the schema.
    key: bytes
    #: The schema as JSON; None if the process has seen it.
    schema: bytes | None
    #: Documents, as JSON.
    lines: list[bytes]
    #: The field that holds a document's id; None if the id is a hash of the content.
    field: str | None
    #: CPU seconds for the schema, and for each document.
    seconds: float
    #: CPU seconds for all documents together; those that remain stay pending.
    seconds_in_all: float
    #: How many flaws of the (then only) document are wanted; None for a verdict only.
    flaws: int | None = None


class Reply(msgspec.Struct, kw_only=True):
    """A reply; a request for flaws gets several, each more complete than the one before."""

    #: Whether another reply follows.
    has_more: bool = False
    #: Whether the process has evicted the schema, which must be sent again.
    is_unknown: bool = False
    #: The byte offset of the syntax error in a line that is not JSON.
    offset: int = 0
    #: Whether the document is nested too deeply for the validator.
    is_too_deep: bool = False
    #: The ids of the documents that were validated, or of the one that was explained; None where there is none.
    ids: list[str | None] = []
    #: What is wrong with the schema or the document.
    flaws: list[Flaw] = []
    #: Whether there are more flaws.
    is_truncated: bool = False
    #: CPU seconds that were used.
    seconds: float = 0.0


def send(connection: socket, message: Request | Reply) -> None:
    """Send a message."""
    packed = msgspec.msgpack.encode(message)
    connection.sendall(_LENGTH.pack(len(packed)) + packed)


def receive(connection: socket) -> bytes:
    """Return the next message, packed.

    Raises:
        EOFError: the other side has closed the connection.
    """
    (length,) = _LENGTH.unpack(_exactly(connection, _LENGTH.size))
    return _exactly(connection, length)


def _exactly(connection: socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = connection.recv(min(size - len(parts), 1 << 20))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)
