"""A TCP proxy that delays what a client sends, so that each round trip takes longer, as over a network.

Run it with ``python -m bench.latency_proxy PORT SOCKET SECONDS``: it listens on a port of 127.0.0.1, and connects to a
Unix socket. What is sent while something is on its way is not delayed twice: a pipeline costs one delay.
"""

import asyncio
import contextlib
import sys

_MOST = 1 << 16


async def _delayed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float) -> None:
    """Pass on what comes, each piece so many seconds after it came."""
    loop = asyncio.get_running_loop()
    on_their_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def deliver() -> None:
        while True:
            due, piece = await on_their_way.get()
            await asyncio.sleep(due - loop.time())
            if not piece:
                writer.close()
                return
            writer.write(piece)
            await writer.drain()

    async def receive() -> None:
        piece = b"-"
        while piece:
            piece = await reader.read(_MOST)
            on_their_way.put_nowait((loop.time() + seconds, piece))

    with contextlib.suppress(OSError):
        await asyncio.gather(receive(), deliver())


async def serve(port: int, socket: str, *, seconds: float) -> None:
    """Run the proxy until cancelled."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_reader, to_writer = await asyncio.open_unix_connection(socket)
        await asyncio.gather(_delayed(reader, to_writer, seconds), _delayed(to_reader, writer, 0))

    server = await asyncio.start_server(connected, "127.0.0.1", port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(int(sys.argv[1]), sys.argv[2], seconds=float(sys.argv[3])))
