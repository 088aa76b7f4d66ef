"""A WebSocket over a bare stream: what the peer sees of it when things end badly."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

from bqserver.wire import Handshake, Wire, text_frame
from chaos.raw import close_code, frame, upgrade
from tornado.iostream import IOStream

HEADERS = dict(line.split(": ", 1) for line in upgrade(1, "/").decode().split("\r\n")[1:] if line)
FRAME = text_frame(b'{"type":"synced","seq":1}')


def over_a_pair(story: Callable[[Wire, socket.socket], Awaitable[None]], buffer: int = 1 << 20) -> None:
    """A wire whose handshake is done, and the peer's end of its socket."""

    async def main() -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            theirs.settimeout(5)
            stream = IOStream(ours)
            wire = Wire(stream, Handshake("/", HEADERS), buffer=buffer, max_frame=1 << 17)
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += theirs.recv(1)
            try:
                await story(wire, theirs)
            finally:
                stream.close()

    asyncio.run(main())


def test_a_frame_goes_out_as_it_is():
    async def story(wire: Wire, theirs: socket.socket) -> None:
        assert wire.write(FRAME)
        assert theirs.recv(1_000) == FRAME

    over_a_pair(story)


def test_a_peer_that_has_just_gone_takes_nothing_and_raises_nothing():
    """The fan-out writes to many in a row: one that is gone must not end it for the others."""

    async def story(wire: Wire, theirs: socket.socket) -> None:
        wire._stream.close()
        assert wire.open
        assert not wire.write(FRAME)
        assert not wire.open
        assert not await wire.drain(FRAME)
        wire.close(1000)
        wire.abort()

    over_a_pair(story)


def test_what_is_beyond_the_buffer_is_refused_until_it_is_read():
    async def story(wire: Wire, theirs: socket.socket) -> None:
        written = 0
        while wire.write(FRAME * 1_000):
            written += 1_000
        assert wire.open
        assert wire._queued <= 1 << 16
        theirs.setblocking(False)
        loop = asyncio.get_running_loop()
        left = written * len(FRAME)
        while left:
            left -= len(await loop.sock_recv(theirs, 1 << 20))
        assert wire.write(FRAME)
        assert await loop.sock_recv(theirs, 1 << 20) == FRAME

    over_a_pair(story, buffer=1 << 16)


def ending(sent: bytes) -> tuple[int | None, list[str | bytes]]:
    """The close code that a peer gets who sends this, and the messages that were heard of it."""
    told: list[tuple[int | None, list[str | bytes]]] = []

    async def story(wire: Wire, theirs: socket.socket) -> None:
        theirs.sendall(sent)
        heard: list[str | bytes] = []
        code = asyncio.ensure_future(asyncio.to_thread(close_code, theirs))
        code.add_done_callback(lambda _: theirs.close())
        while (messages := await wire.receive()) is not None:
            heard += messages
        assert not wire.open
        told.append((await code, heard))

    over_a_pair(story)
    return told[0]


def test_a_close_is_answered_with_its_code_even_between_fragments():
    close = frame(8, b"\x03\xe8")
    assert ending(close) == (1000, [])
    assert ending(frame(1, b"a", first=0) + close) == (1000, [])


def test_what_is_no_frame_or_no_utf8_ends_it_after_what_came_before():
    good = frame(1, b"good")
    assert ending(good + b"\xff" * 20) == (1002, ["good"])
    assert ending(good + frame(1, b"\xff") + frame(1, b"later")) == (1007, ["good"])
    assert ending(good + frame(1, b"unmasked", mask=None)) == (1002, ["good"])
    assert ending(good + frame(1, b"x" * (1 << 18))[:99]) == (1009, ["good"])


def test_fragments_are_one_message_and_pings_may_come_between():
    whole = frame(1, "añ".encode()[:2], first=0) + frame(9, b"?") + frame(0, "añ".encode()[2:])
    assert ending(whole + frame(2, b"\0") + frame(8)) == (1005, ["añ", b"\0"])
