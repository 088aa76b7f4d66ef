"""A WebSocket over a bare stream: what the peer sees when it ends badly."""

from __future__ import annotations

import asyncio
import socket
import tracemalloc
import zlib
from collections.abc import Awaitable, Callable

import pytest
from bqserver.websocket.connection import WebSocketConnection
from bqserver.websocket.framing import text_frame
from bqserver.websocket.turns import Turns
from chaos.load.raw_websocket import close_code, frame
from support.handshake import MAX_MESSAGE_BYTES, OFFER, handshake
from tornado.iostream import IOStream

FRAME = text_frame(b'{"type":"synced","seq":1}')


def over_a_pair(
    story: Callable[[WebSocketConnection, socket.socket], Awaitable[None]],
    buffer: int = 1 << 20,
    offer: str | None = None,
) -> None:
    """A connection whose handshake is done, and the peer's end of its socket."""

    async def main() -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            theirs.settimeout(30)
            stream = IOStream(ours)
            wire = WebSocketConnection(
                stream, handshake(offer), buffer=buffer, max_frame=MAX_MESSAGE_BYTES, turns=Turns()
            )
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += theirs.recv(1)
            try:
                await story(wire, theirs)
            finally:
                stream.close()

    asyncio.run(main())


def test_a_frame_goes_out_as_it_is():
    async def story(wire: WebSocketConnection, theirs: socket.socket) -> None:
        assert wire.write(FRAME)
        assert theirs.recv(1_000) == FRAME

    over_a_pair(story)


def test_writing_to_a_peer_that_has_just_gone_raises_nothing():
    """The fan-out writes to many in a row: a peer that is gone must not end it for the others."""

    async def story(wire: WebSocketConnection, theirs: socket.socket) -> None:
        wire._stream.close()
        assert wire.open
        assert not wire.write(FRAME)
        assert not wire.open
        assert not await wire.drain(FRAME)
        wire.close(1000)
        wire.abort()

    over_a_pair(story)


def test_writes_beyond_the_buffer_are_refused_until_it_is_read():
    async def story(wire: WebSocketConnection, theirs: socket.socket) -> None:
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


def ending(sent: bytes, offer: str | None = None) -> tuple[int | None, list[str | bytes]]:
    """The close code for a peer that sends this, and the messages that were received from it."""
    told: list[tuple[int | None, list[str | bytes]]] = []

    async def story(wire: WebSocketConnection, theirs: socket.socket) -> None:
        theirs.sendall(sent)
        heard: list[str | bytes] = []
        code = asyncio.ensure_future(asyncio.to_thread(close_code, theirs))
        code.add_done_callback(lambda _: theirs.close())
        while (messages := await wire.receive()) is not None:
            heard += messages
        assert not wire.open
        told.append((await code, heard))

    over_a_pair(story, offer=offer)
    return told[0]


def test_a_close_is_answered_with_its_code_even_between_fragments():
    close = frame(8, b"\x03\xe8")
    assert ending(close) == (1000, [])
    assert ending(frame(1, b"a", first=0) + close) == (1000, [])


def test_bad_frames_and_bad_utf8_end_the_connection_after_earlier_messages():
    good = frame(1, b"good")
    assert ending(good + b"\xff" * 20) == (1002, ["good"])
    assert ending(good + frame(1, b"\xff") + frame(1, b"later")) == (1007, ["good"])
    assert ending(good + frame(1, b"unmasked", mask=None)) == (1002, ["good"])
    assert ending(good + frame(1, b"x" * (1 << 18))[:99]) == (1009, ["good"])


def test_fragments_are_one_message_even_with_pings_between():
    whole = frame(1, "añ".encode()[:2], first=0) + frame(9, b"?") + frame(0, "añ".encode()[2:])
    assert ending(whole + frame(2, b"\0") + frame(8)) == (1005, ["añ", b"\0"])


# ---- compression

ALONE = "; server_no_context_takeover; client_no_context_takeover"
RSV1 = 0x40


def packed(text: bytes) -> bytes:
    """RFC 7692, 7.2.1."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (deflate.compress(text) + deflate.flush(zlib.Z_SYNC_FLUSH))[:-4]


@pytest.mark.parametrize(
    ("offer", "answer", "deflates"),
    [
        (None, None, False),
        ("x-webkit-deflate-frame", None, False),
        (OFFER, OFFER + ALONE, True),
        (OFFER + "; client_max_window_bits", OFFER + ALONE, True),  # browsers, and most libraries
        (OFFER + ALONE, OFFER + ALONE, True),
        (OFFER + "; client_max_window_bits=9", OFFER + ALONE + "; client_max_window_bits=9", True),
        (OFFER + "; server_max_window_bits=15", OFFER + ALONE + "; server_max_window_bits=15", True),
        # Shared frames may refer back further: such a peer gets plain frames, and may send compressed ones.
        (OFFER + "; server_max_window_bits=10", OFFER + ALONE + "; server_max_window_bits=10", False),
        (OFFER + "; server_max_window_bits=8", None, False),  # zlib can't
        (f"{OFFER}; server_max_window_bits=8, {OFFER}", OFFER + ALONE, True),
        (f"{OFFER}, {OFFER}; client_max_window_bits", OFFER + ALONE, True),
        (OFFER + "; unheard_of", None, False),
        (OFFER + "; client_max_window_bits=99", None, False),
    ],
)
def test_compression_is_negotiated_without_context(offer, answer, deflates):
    negotiated = handshake(offer)
    assert negotiated.accepted
    assert negotiated.response.headers.get("Sec-WebSocket-Extensions") == answer

    async def story(wire: WebSocketConnection, theirs: socket.socket) -> None:
        assert wire.compresses is deflates
        assert [vars(one).keys() & {"encoder", "decoder"} for one in negotiated.extensions] in ([], [set()])

    over_a_pair(story, offer=offer)


def test_a_malformed_offer_is_a_bad_handshake():
    assert handshake(OFFER + "; ;").response.status_code == 400


def test_compressed_messages_are_read_between_plain_ones():
    text = "näheres " * 1_000
    whole = packed(text.encode())
    sent = (
        frame(1, b"plain")
        + frame(1, packed(b"short"), first=0x80 | RSV1)
        + frame(1, whole, first=0x80 | RSV1)
        + frame(1, whole[:20], first=RSV1)
        + frame(9, b"?")
        + frame(0, whole[20:])
        + frame(1, b"plain")
        + frame(8)
    )
    assert ending(sent, OFFER) == (1005, ["plain", "short", text, text, "plain"])


@pytest.mark.parametrize("offer", [None, OFFER + "; server_max_window_bits=8"])
def test_a_compressed_frame_that_was_not_negotiated_ends_the_connection(offer):
    assert ending(frame(1, packed(b"short"), first=0x80 | RSV1), offer) == (1002, [])


def test_a_frame_falsely_marked_as_compressed_ends_the_connection():
    assert ending(frame(1, b"\xff" * 20, first=0x80 | RSV1), OFFER) == (1002, [])


def test_a_compressed_message_may_be_as_long_as_a_plain_one():
    longest = frame(1, packed(b"x" * MAX_MESSAGE_BYTES), first=0x80 | RSV1)
    beyond = frame(1, packed(b"x" * (MAX_MESSAGE_BYTES + 1)), first=0x80 | RSV1)
    assert ending(longest + beyond, OFFER) == (1009, ["x" * MAX_MESSAGE_BYTES])


@pytest.mark.parametrize("fragments", [1, 5])
def test_a_zip_bomb_is_rejected_before_it_is_decompressed(fragments):
    bomb = packed(bytes(96 << 20))
    assert len(bomb) < MAX_MESSAGE_BYTES
    size = len(bomb) // fragments + 1
    parts = [bomb[start : start + size] for start in range(0, len(bomb), size)]
    sent = b"".join(
        frame(
            0 if number else 1,
            part,
            first=(0 if number else RSV1) | (0x80 if number == fragments - 1 else 0),
        )
        for number, part in enumerate(parts)
    )
    tracemalloc.start()
    try:
        assert ending(sent, OFFER) == (1009, [])
        assert tracemalloc.get_traced_memory()[1] < 16 * MAX_MESSAGE_BYTES
    finally:
        tracemalloc.stop()


def test_control_frames_are_never_compressed():
    async def story(wire: WebSocketConnection, theirs: socket.socket) -> None:
        theirs.sendall(frame(9, b"?" * 100) + frame(1, b"heard"))
        assert await wire.receive() == ["heard"]
        assert theirs.recv(1_000) == b"\x8a\x64" + b"?" * 100
        wire.close(1001, "restart " * 12)
        assert theirs.recv(1_000) == b"\x88\x62\x03\xe9" + b"restart " * 12

    over_a_pair(story, offer=OFFER)
