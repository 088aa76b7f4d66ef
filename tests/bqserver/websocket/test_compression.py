"""Compressed frames: one for all peers that take them, the plain one for the others, in the same order."""

from __future__ import annotations

import json
import random
import socket
import string
import zlib

import pytest
from bqserver.hub.dispatch import submit
from bqserver.hub.hub import Hub
from bqserver.storage.memory import MemoryLog
from bqserver.testing import running_server
from bqserver.websocket.compression import MIN_COMPRESSED_BYTES, compress
from bqserver.websocket.connection import WebSocketConnection
from bqserver.websocket.framing import text_frame
from support.handshake import OFFER, handshake
from support.hub import draft, frames, join, joined, new_peer, run, settle
from support.ws_client import member
from tornado.iostream import IOStream

LONG = "The quick brown fox jumps over the lazy dog. " * 60


def inflated(frame: bytes) -> bytes:
    """The payload of a compressed frame, read as RFC 7692 (7.2.2) says."""
    assert frame[0] == 0xC1
    assert not frame.endswith(b"\0\0\xff\xff")
    size, start = frame[1], 2
    if size == 126:
        size, start = int.from_bytes(frame[2:4], "big"), 4
    elif size == 127:
        size, start = int.from_bytes(frame[2:10], "big"), 10
    assert len(frame) == start + size
    return zlib.decompressobj(-15).decompress(frame[start:] + b"\0\0\xff\xff")


@pytest.fixture
def compressed(monkeypatch) -> list[int]:
    """The sizes of the frames that were given to the compressor."""
    sizes = []

    def counting(frame: bytes) -> bytes:
        if len(frame) >= MIN_COMPRESSED_BYTES:
            sizes.append(len(frame))
        return compress(frame)

    for module in ("room", "hub"):
        monkeypatch.setattr(f"bqserver.hub.{module}.compress", counting)
    return sizes


# ---- one frame


@pytest.mark.parametrize("size", [MIN_COMPRESSED_BYTES, 5_000, 65_535, 65_536, 2_000_000])
def test_a_long_frame_is_compressed_by_itself(size):
    payload = (LONG.encode() * (size // len(LONG) + 1))[:size]
    small = compress(text_frame(payload))
    assert len(small) < size / 5
    assert inflated(small) == payload


def test_a_short_frame_stays_plain():
    frame = text_frame(b"x" * (MIN_COMPRESSED_BYTES - 5))
    assert len(frame) == MIN_COMPRESSED_BYTES - 1
    assert compress(frame) is frame
    assert compress(text_frame(b"x" * (MIN_COMPRESSED_BYTES - 4)))[0] == 0xC1


def test_a_frame_that_would_not_shrink_stays_plain():
    frame = text_frame(random.Random(1).randbytes(10_000), 0x82)
    assert compress(frame) is frame


# ---- a room


def test_a_frame_is_compressed_once_for_all_peers_that_take_it(compressed):
    async def scenario():
        hub = Hub(MemoryLog())
        sender = await joined(hub)
        taking = [await joined(hub, compresses=True) for _ in range(5)]
        plain = [await joined(hub) for _ in range(5)]
        for number, text in enumerate(["before", LONG, "after"]):
            submit(hub, sender, draft(number, text))
        await settle()
        assert len(compressed) == 1
        (small,) = {id(data): data for peer in taking for data in peer.connection.writes}.values()
        (whole,) = {id(data): data for peer in plain for data in peer.connection.writes}.values()
        assert [frame["entry"]["text"] for frame in frames(whole)] == ["before", LONG, "after"]
        begin = small.index(b"\xc1")
        end = begin + 4 + int.from_bytes(small[begin + 2 : begin + 4], "big")
        told = [*frames(small[:begin]), json.loads(inflated(small[begin:end])), *frames(small[end:])]
        assert told == frames(whole)

    run(scenario)


def test_short_messages_are_plain_for_all_peers():
    async def scenario():
        hub = Hub(MemoryLog())
        sender, plain = await joined(hub), await joined(hub)
        taking = await joined(hub, compresses=True)
        submit(hub, sender, draft(1, "short"))
        await settle()
        assert frames(taking.connection.writes[0]) == frames(plain.connection.writes[0])

    run(scenario)


def test_the_senders_ack_comes_first_and_plain(compressed):
    async def scenario():
        hub = Hub(MemoryLog())
        sender = await joined(hub, compresses=True)
        submit(hub, sender, draft(1, LONG))
        await settle()
        (data,) = sender.connection.writes
        begin = data.index(b"\xc1")
        assert [frame["type"] for frame in frames(data[:begin])] == ["ack"]
        assert json.loads(inflated(data[begin:]))["entry"]["text"] == LONG

    run(scenario)


def test_nothing_is_compressed_if_no_peer_takes_it(compressed):
    async def scenario():
        hub = Hub(MemoryLog())
        sender, elsewhere = await joined(hub), await joined(hub, "other", compresses=True)
        gone = await joined(hub, compresses=True)
        hub.leave(gone)
        submit(hub, sender, draft(1, LONG))
        hub.broadcast(hub.peers[sender], text_frame(LONG.encode()))
        await settle()
        assert compressed == []
        assert not elsewhere.connection.writes
        assert sender.connection.writes

    run(scenario)


def test_a_long_list_of_members_is_compressed_too(compressed):
    async def scenario():
        hub = Hub(MemoryLog())
        plain, taking = await joined(hub), await joined(hub, compresses=True)
        frame = text_frame(LONG.encode())
        hub.broadcast(hub.peers[plain], frame)
        assert plain.connection.writes == [frame]
        assert inflated(taking.connection.writes[0]) == LONG.encode()
        assert len(compressed) == 1

    run(scenario)


def test_a_stalled_reader_is_measured_by_its_own_queued_bytes():
    """The plain peer is closed when its buffer is full; the other's holds the same messages, compressed."""

    async def scenario():
        hub = Hub(MemoryLog(), buffer=1 << 16)
        pairs = [socket.socketpair() for _ in range(2)]
        streams = [IOStream(ours) for ours, _ in pairs]
        try:
            connections = [
                WebSocketConnection(stream, handshake(offer), buffer=hub.buffer, max_frame=1 << 17, turns=hub.turns)
                for stream, offer in zip(streams, (None, OFFER), strict=True)
            ]
            plain, taking = [new_peer(hub, connection) for connection in connections]
            for peer in (plain, taking):
                await join(hub, peer)
            count = 0
            while plain.connection.open:
                count += 1
                submit(hub, taking, draft(count, LONG * 5))
                await settle()
                assert plain.connection._queued <= hub.buffer
            assert taking.connection.open
            assert taking.connection._queued == 0
            theirs = pairs[1][1]
            theirs.settimeout(30)
            data = b""
            while data.count(b"\xc1\x7e") < count:
                data += theirs.recv(1 << 20)
        finally:
            for stream, (_, theirs) in zip(streams, pairs, strict=True):
                stream.close()
                theirs.close()

    run(scenario)


# ---- a real server


def test_plain_and_compressed_peers_get_the_same_messages_in_order():
    words = random.Random(7)
    texts = [
        "x" + "".join(words.choices(string.ascii_lowercase + "    äß", k=length - 1))
        for length in (3, 5_000, 1, 900, 1_100, 16_000, 20, 2_000) * 5
    ]
    with (
        running_server(log="memory", open=True) as server,
        member(server.url) as plain,
        member(server.url, compression="deflate") as taking,
    ):
        assert "Sec-WebSocket-Extensions" not in plain.socket.response.headers
        assert "permessage-deflate" in taking.socket.response.headers["Sec-WebSocket-Extensions"]
        for one in (plain, taking):
            one.until("synced")
        for number, text in enumerate(texts):
            (plain, taking)[number % 2].say(text, cid=f"c{number}")
        heard = [[one.until("message") for _ in texts] for one in (plain, taking)]
        assert heard[0] == heard[1]
        assert sorted(frame["entry"]["text"] for frame in heard[0]) == sorted(texts)
        with member(server.url, query="?after=0", compression="deflate") as late:
            assert [late.until("message") for _ in texts] == heard[0]
