"""The program that a process of the sandbox runs: ``python -m headwater.sandbox.process <socket> <shared memory>``.

The kernel kills it, by a signal that has no handler here, as soon as it has used the CPU time that it was given
for one document, and fails its allocations beyond ``MEMORY``. It imports no more of Headwater than it needs, so that it
starts in about a tenth of a second.
"""

import gc
import json
import mmap
import os
import resource
import select
import signal
import socket
import sys
import time
from collections import OrderedDict
from itertools import islice
from typing import Any

import msgspec

from headwater.domain.broken_json import broken_at, not_an_object, seeming_id
from headwater.domain.document import document_id
from headwater.domain.errors import Flaw, SchemaInvalid
from headwater.domain.schema import compile_schema, first_flaw, flaws_of
from headwater.domain.schema_cost import with_linear_patterns
from headwater.domain.schema_probe import probe
from headwater.sandbox.messages import BOARD, INVALID, PENDING, UNDECODABLE, VALID, Reply, Request, receive, send

#: Bytes of address space.
MEMORY = 1 << 30
#: Seconds without a request after which the process exits.
_IDLE = 300.0
#: Compiled schemas that are cached.
_MOST_SCHEMAS = 16


class _Compiled:
    """A schema, compiled on demand."""

    def __init__(self, text: bytes) -> None:
        schema: Any = json.loads(text)
        self.validator = compile_schema(schema)
        self.linear = with_linear_patterns(schema)
        #: Validates without error details, perhaps faster than the schema as written.
        self.is_valid = (self.validator if self.linear == schema else compile_schema(self.linear)).is_valid


class _Worker:
    """Serves requests."""

    def __init__(self, connection: socket.socket, board: mmap.mmap) -> None:
        self._connection = connection
        self._board = board
        self._schemas: OrderedDict[bytes, _Compiled] = OrderedDict()
        self._decode = msgspec.json.Decoder().decode

    def run(self) -> None:
        decode = msgspec.msgpack.Decoder(Request).decode
        while select.select([self._connection], [], [], _IDLE)[0]:
            try:
                request = decode(receive(self._connection))
            except (EOFError, ConnectionError):
                return
            begun = time.process_time()
            reply = self._answer(request)
            _limit(None)
            reply.seconds = time.process_time() - begun
            send(self._connection, reply)

    def _answer(self, request: Request) -> Reply:
        self._board[:] = bytes(BOARD)
        _limit(request.seconds)
        try:
            compiled = self._compiled(request)
        except SchemaInvalid as error:
            return Reply(flaws=list(error.flaws))
        if compiled is None:
            return Reply(is_unknown=True)
        self._board[BOARD - 1] = 1
        if request.flaws is not None:
            _limit(request.seconds)
            return self._explain(compiled, request)
        ids: list[str | None] = []
        until = time.process_time() + request.seconds_in_all
        for place, line in enumerate(request.lines):
            _limit(request.seconds)
            self._board[place], doc_id = self._verdict(compiled, line, request.field)
            ids.append(doc_id)
            if time.process_time() > until:
                break
        return Reply(ids=ids)

    def _compiled(self, request: Request) -> _Compiled | None:
        found = self._schemas.get(request.key)
        if found is None and request.schema is not None:
            found = self._schemas[request.key] = _Compiled(request.schema)
            if len(self._schemas) > _MOST_SCHEMAS:
                self._schemas.popitem(last=False)
        if found is not None:
            self._schemas.move_to_end(request.key)
        return found

    def _verdict(self, compiled: _Compiled, line: bytes, field: str | None) -> tuple[int, str | None]:
        """Return whether a document is valid, and its id if it is."""
        try:
            document = self._decode(line)
            if type(document) is dict and compiled.is_valid(document):
                return VALID, document_id(document, field)  # pyright: ignore[reportUnknownArgumentType] - any JSON
        except MemoryError:
            raise  # which ends the process
        except (msgspec.DecodeError, ValueError, RecursionError):
            return UNDECODABLE, None
        return INVALID, None

    def _explain(self, compiled: _Compiled, request: Request) -> Reply:
        most, line, doc_id = request.flaws or 1, request.lines[0], None
        try:
            document = self._decode(line)
        except MemoryError:
            raise  # which ends the process
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            detail, offset = broken_at(line, error)
            return Reply(flaws=[Flaw(detail=detail)], offset=offset, ids=[seeming_id(line, request.field)])
        try:
            if type(document) is not dict:
                return Reply(flaws=[not_an_object(document)])
            doc_id = document_id(document, request.field)  # pyright: ignore[reportUnknownArgumentType] - any JSON
            self._send_flaw(probe(compiled.linear, document), doc_id)
            first = first_flaw(compiled.validator, document)
            if first is None or most == 1:
                return Reply(flaws=[] if first is None else [first], ids=[doc_id])
            self._send_flaw(first, doc_id)
            flaws = list(islice(flaws_of(compiled.validator, document), most + 1))
        except MemoryError:
            raise  # which ends the process
        except (ValueError, RecursionError):
            return Reply(is_too_deep=True, ids=[doc_id])
        return Reply(flaws=flaws[:most], is_truncated=len(flaws) > most, ids=[doc_id])

    def _send_flaw(self, flaw: Flaw | None, doc_id: str) -> None:
        """Send the flaws found so far: the process may be killed before it finds more."""
        flaws = [] if flaw is None else [flaw]
        send(self._connection, Reply(flaws=flaws, ids=[doc_id], has_more=True, is_truncated=True))


def _limit(seconds: float | None) -> None:
    """Limit this process to so many more CPU seconds; None lifts the limit."""
    signal.setitimer(signal.ITIMER_PROF, seconds or 0)


def main() -> None:
    """Serve until the server is gone, or until the idle timeout."""
    gc.disable()  # JSON has no cycles, and a collection takes longer than all else if a document is large
    os.nice(5)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is meant for the server
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    connection = socket.socket(fileno=int(sys.argv[1]))
    with connection, mmap.mmap(int(sys.argv[2]), BOARD) as board:
        board[:1] = bytes([PENDING])
        _Worker(connection, board).run()


if __name__ == "__main__":
    main()
