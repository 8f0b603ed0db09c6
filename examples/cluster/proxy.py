"""A proxy in front of several nodes, in a few lines; a deployment has nginx, Caddy or a load balancer instead.

It passes bytes on, a connection at a time, to the nodes in turn, and leaves out nodes that do not answer. What is known
of HTTP is the answer where there is no node at all. Run it with the port to listen on and those of the nodes:
``python -m examples.cluster.proxy 8080 8081 8082``.
"""

import asyncio
import contextlib
import sys
from itertools import count

_HOST = "127.0.0.1"
#: Bytes that are passed on at a time.
_BLOCK = 1 << 16
#: Seconds within which a node has to accept a connection.
_ACCEPTS_WITHIN = 2.0
_NO_NODE = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Proxy:
    """Passes each connection to one of the nodes."""

    def __init__(self, nodes: list[int]) -> None:
        """Pass connections to these ports of this machine."""
        self._nodes = nodes
        self._turn = count()

    async def serve(self, port: int) -> None:
        """Listen until this is cancelled."""
        server = await asyncio.start_server(self._pass_on, _HOST, port)
        async with server:
            await server.serve_forever()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            node = await self._connected()
            if node is None:
                writer.write(_NO_NODE)
                await writer.drain()
            else:
                there, back = _copy(reader, node[1]), _copy(node[0], writer)
                await asyncio.gather(there, back)
        writer.close()

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """Return a connection to the node whose turn it is, or to the first after it that accepts one."""
        first = next(self._turn)
        for place in range(len(self._nodes)):
            port = self._nodes[(first + place) % len(self._nodes)]
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(_ACCEPTS_WITHIN):
                    return await asyncio.open_connection(_HOST, port)
        return None


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what comes, and then that nothing more will."""
    try:
        while block := await reader.read(_BLOCK):
            writer.write(block)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except OSError:
        writer.close()  # the other direction ends then, too


def main() -> None:
    """Serve until Ctrl-C."""
    port, *nodes = map(int, sys.argv[1:])
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(Proxy(nodes).serve(port))


if __name__ == "__main__":
    main()
