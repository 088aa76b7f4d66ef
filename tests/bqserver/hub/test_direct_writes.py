"""Direct writes: idle peers get a turn's bytes by a bare send, and peers with something pending leave the set in time."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import ExitStack

import pytest
from bqserver.hub.dispatch import dispatch, submit
from bqserver.hub.hub import Hub
from bqserver.hub.peer import Peer
from bqserver.model import Submission
from bqserver.storage.memory import MemoryLog
from bqserver.websocket.connection import WebSocketConnection
from bqserver.websocket.turns import Turns
from support.handshake import MAX_MESSAGE_BYTES, handshake
from support.hub import draft, frames, join, new_peer, settle
from tornado.iostream import IOStream

BUFFER = 1 << 20
Story = Callable[[Hub, list[Peer], list[socket.socket]], Awaitable[None]]


def in_a_room(story: Story, members: int = 3) -> None:
    """Members with real sockets, all of them written to directly already, and the other ends of these sockets."""

    async def main() -> None:
        with ExitStack() as stack:
            hub = Hub(MemoryLog(), buffer=BUFFER)
            peers, ends = [], []
            for _ in range(members):
                ours, theirs = tcp_pair()
                stack.enter_context(theirs).setblocking(False)
                stream = IOStream(ours)
                stack.callback(stream.close)
                connection = WebSocketConnection(
                    stream, handshake(None), buffer=BUFFER, max_frame=MAX_MESSAGE_BYTES, turns=Turns()
                )
                peers.append(new_peer(hub, connection))
                await join(hub, peers[-1])
                ends.append(theirs)
            post(hub, peers[0], 0)
            await settle()
            post(hub, peers[0], 1)  # the first turn follows the replay of the join
            await settle()
            for end in ends:
                await received(end, b'"text":"1"')
            assert not hub.rooms["lobby"].buffered_peers
            async with asyncio.timeout(100):
                await story(hub, peers, ends)

    asyncio.run(main())


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        theirs = socket.create_connection(server.getsockname())
        return server.accept()[0], theirs


def post(hub: Hub, peer: Peer, number: int, text: str = "") -> None:
    """Append a message that no peer here gets an ack for, as a POST does."""
    hub.submit(Submission("lobby", "ada", draft(number, text)), lambda _: None)


async def received(end: socket.socket, last: bytes) -> bytes:
    """The bytes received until ``last`` has arrived and its frame is complete."""
    data = b""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(10):
        while last not in data or not data.endswith(b"}"):
            data += await loop.sock_recv(end, 1 << 20)
    return data


def texts(data: bytes) -> list[str]:
    return [frame["entry"]["text"] for frame in frames(data) if frame["type"] == "message"]


def test_a_sender_gets_its_ack_first_and_is_written_to_directly_again():
    async def story(hub: Hub, peers: list[Peer], ends: list[socket.socket]) -> None:
        sender = peers[1]
        submit(hub, sender, draft(2))
        await settle()
        got = [frames(await received(end, b'"text":"2"')) for end in ends]
        assert [[frame["type"] for frame in some] for some in got] == [
            ["message"],
            ["ack", "message"],
            ["message"],
        ]
        assert not hub.rooms["lobby"].buffered_peers

    in_a_room(story)


def test_a_peer_that_stops_reading_gets_everything_in_order_later():
    async def story(hub: Hub, peers: list[Peer], ends: list[socket.socket]) -> None:
        slow, number = peers[0], 1
        while slow.direct_writers is not None:
            number += 1
            post(hub, slow, number, f"{number:015000}")
            await settle()
            await asyncio.gather(*[received(end, b"%015000d" % number) for end in ends[1:]])
        assert hub.rooms["lobby"].buffered_peers == {slow}
        post(hub, slow, number + 1, f"{number + 1:015000}")  # queued behind the rest
        await settle()
        data = await received(ends[0], b"%015000d" % (number + 1))
        assert [int(text[-9:]) for text in texts(data)] == list(range(2, number + 2))
        post(hub, slow, number + 2)
        await settle()
        assert texts(await received(ends[0], b'"text":"%d"' % (number + 2))) == [str(number + 2)]
        assert not hub.rooms["lobby"].buffered_peers

    in_a_room(story)


def test_a_replay_comes_before_messages_sent_during_it():
    async def story(hub: Hub, peers: list[Peer], ends: list[socket.socket]) -> None:
        peer, said = peers[0], asyncio.Event()
        entries = hub.log.entries

        async def slowly(*args, **more):
            await said.wait()
            return await entries(*args, **more)

        hub.log.entries = slowly
        dispatch(hub, hub.peers[peer], peer, '{"type":"chat.resume","after":0}')
        await settle()
        post(hub, peer, 2)
        await settle()
        said.set()
        data = await received(ends[0], b'"synced"')
        data += await received(ends[0], b'"text":"2"') if b'"text":"2"' not in data else b""
        assert texts(data) == ["0", "1", "2"]

    in_a_room(story)


def test_nothing_is_written_after_a_close_frame():
    async def story(hub: Hub, peers: list[Peer], ends: list[socket.socket]) -> None:
        peers[0].expel(4403, "out")
        post(hub, peers[0], 2)
        await settle()
        await received(ends[1], b'"text":"2"')
        closing = await asyncio.get_running_loop().sock_recv(ends[0], 1 << 16)
        assert closing == b"\x88\x05" + (4403).to_bytes(2, "big") + b"out"
        with pytest.raises(BlockingIOError):
            ends[0].recv(1)

    in_a_room(story)


def test_a_peer_that_has_gone_does_not_affect_the_others():
    async def story(hub: Hub, peers: list[Peer], ends: list[socket.socket]) -> None:
        peers[1].connection._stream.socket.close()
        post(hub, peers[0], 2)
        await settle()
        for end in (ends[0], ends[2]):
            assert texts(await received(end, b'"text":"2"')) == ["2"]
        assert not peers[1].connection.open
        assert not peers[1].live
        hub.leave(peers[1])
        assert hub.rooms["lobby"].peers == {peers[0], peers[2]}
        assert not hub.rooms["lobby"].buffered_peers

    in_a_room(story)


def test_a_peer_that_left_is_not_written_to():
    async def story(hub: Hub, peers: list[Peer], ends: list[socket.socket]) -> None:
        hub.leave(peers[2])
        post(hub, peers[0], 2)
        await settle()
        await received(ends[0], b'"text":"2"')
        with pytest.raises(BlockingIOError):
            ends[2].recv(1)

    in_a_room(story)


def test_a_connection_reports_when_it_can_not_be_written_to_directly():
    async def story(hub: Hub, peers: list[Peer], ends: list[socket.socket]) -> None:
        connection = peers[0].connection
        draining = asyncio.ensure_future(connection.drain(b"x" * (1 << 24)))
        await settle()
        assert connection.direct_send is None
        assert peers[0].direct_writers is None
        left = 1 << 24
        while left:
            left -= len(await asyncio.get_running_loop().sock_recv(ends[0], 1 << 20))
        assert await draining
        assert connection.direct_send is not None

    in_a_room(story)
