"""What follows an upgrade: bytes are passed on in both directions, or the connection itself is handed over."""

from __future__ import annotations

import asyncio
import socket
import sys
from contextlib import closing, suppress

from tornado.iostream import IOStream, SSLIOStream, StreamClosedError

from bqserver.web.fastpath.handover import LENGTH_BYTES

CHUNK_BYTES = 64 * 1024
ALL_BYTES = sys.maxsize
END_TIMEOUT = 2.0
"""Seconds that one side has to end after the other."""


async def connect_streams(one: IOStream, other: IOStream, stopped: asyncio.Future[None]) -> None:
    """Pass bytes on until both have ended, or ``stopped`` is done; close both."""
    copies = [asyncio.ensure_future(_copy(one, other)), asyncio.ensure_future(_copy(other, one))]
    await asyncio.wait([*copies, stopped], return_when=asyncio.FIRST_COMPLETED)
    if not stopped.done():
        await asyncio.wait(copies, timeout=END_TIMEOUT)
    one.close()
    other.close()


async def _copy(source: IOStream, target: IOStream) -> None:
    with suppress(StreamClosedError):
        while True:
            data = await source.read_bytes(CHUNK_BYTES, partial=True)
            with suppress(StreamClosedError):  # it is read on, so that it gets the last frames and no reset
                await target.write(data)
    if not target.closed() and not isinstance(target, SSLIOStream):  # TLS has no half-close
        with suppress(OSError):
            target.socket.shutdown(socket.SHUT_WR)


def take_socket(stream: IOStream) -> tuple[socket.socket, bytes]:
    """The stream's connection as a socket of its own, and what the stream has read already. Closes the stream."""
    taken, read = stream.socket.dup(), b""
    with suppress(StreamClosedError):
        reading = asyncio.ensure_future(stream.read_bytes(ALL_BYTES, partial=True))
        if reading.done():
            read = reading.result()
    stream.close()
    return taken, read


async def hand_over(client: socket.socket, early: bytes, request: bytes, local: socket.socket) -> None:
    """Hand the client's connection over to the server that ``local`` is connected to, with the request read of it, and
    what has come after that.

    See ``bqserver.web.fastpath.handover``. Returns when the connection has ended; cancelled, it ends it.
    """
    loop = asyncio.get_running_loop()
    with closing(local), suppress(OSError):  # the server has ended, and the client's connection with it
        with closing(client):
            data = len(request + early).to_bytes(LENGTH_BYTES) + request + early
            sent = socket.send_fds(local, [data], [client.fileno()])
        await loop.sock_sendall(local, data[sent:])
        await loop.sock_recv(local, 1)
