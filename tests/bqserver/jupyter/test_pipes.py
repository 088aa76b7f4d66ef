"""The pipes between two connections: every byte passes in its order, at the pace of the slower side, until both end."""

from __future__ import annotations

import asyncio
import os
import socket

import pytest
from bqserver.jupyter.pipes import connect_streams
from tornado.iostream import IOStream

BUFFER_BYTES = 64 * 1024
SIZE = 100 * BUFFER_BYTES
"""More than the buffers of all sockets hold."""
SMALL_SIZE = 50_000


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    for one in (near, far):
        one.setblocking(False)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
    return near, far


async def pass_on(talk) -> None:
    """``talk(client, server)`` has the outer ends, as streams of asyncio, of two connections that are passed on."""
    client, client_end = tcp_pair()
    server, server_end = tcp_pair()
    stopped = asyncio.get_running_loop().create_future()
    passing = asyncio.ensure_future(connect_streams(IOStream(client_end), IOStream(server_end), stopped))
    outer = [await asyncio.open_connection(sock=sock) for sock in (client, server)]
    await talk(*outer)
    for _, writer in outer:
        writer.close()
    await passing


def test_bytes_wait_for_a_side_that_does_not_read() -> None:
    sent = os.urandom(SIZE)

    async def talk(client, server) -> None:
        client[1].write(sent)
        for _ in range(100):  # the other direction, meanwhile
            server[1].write(bytes(SMALL_SIZE))
            assert await client[0].readexactly(SMALL_SIZE) == bytes(SMALL_SIZE)
        assert await server[0].readexactly(SIZE) == sent

    asyncio.run(pass_on(talk))


@pytest.mark.parametrize("ends", [0, 1], ids=["client", "server"])
def test_the_end_of_one_side_reaches_the_other_after_its_last_bytes(ends: int) -> None:
    async def talk(*sides) -> None:
        sides[ends][1].write(b"goodbye")
        sides[ends][1].close()
        assert await sides[1 - ends][0].read() == b"goodbye"

    asyncio.run(pass_on(talk))
