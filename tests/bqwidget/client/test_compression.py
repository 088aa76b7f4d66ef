"""Compression of a Room's connection: the offer, the agreement, and what is compressed."""

from __future__ import annotations

import pytest
from bqserver.testing import running_server
from websockets.frames import Frame, Opcode
from websockets.sync.client import connect

from bqwidget import Room
from bqwidget._client.compression import MIN_COMPRESSED_BYTES, ClientCompression, LongMessageDeflate
from bqwidget._client.endpoint import Endpoint

LONG = "The quick brown fox jumps over the lazy dog. " * 60


@pytest.fixture
def server():
    with running_server(log="memory", open=True) as running:
        yield running


def test_neither_side_keeps_context_and_only_long_messages_are_compressed(server):
    address = f"{server.url.replace('http', 'ws', 1)}/rooms/lobby"
    with connect(address, subprotocols=["chat.v1"], compression=None, extensions=[ClientCompression()]) as socket:
        asked = socket.request.headers["Sec-WebSocket-Extensions"]
        assert "server_no_context_takeover; client_no_context_takeover" in asked
        (agreed,) = socket.protocol.extensions
    assert agreed.remote_no_context_takeover
    assert agreed.local_no_context_takeover
    short, long, pong = [
        agreed.encode(Frame(opcode, b"x" * size))
        for opcode, size in [
            (Opcode.TEXT, MIN_COMPRESSED_BYTES - 1),
            (Opcode.TEXT, MIN_COMPRESSED_BYTES),
            (Opcode.PONG, 125),
        ]
    ]
    assert [short.rsv1, long.rsv1, pong.rsv1] == [False, True, False]
    assert len(long.data) < 100
    assert vars(agreed).keys() & {"encoder", "decoder"} == set()


@pytest.mark.parametrize("far", [False, True])
def test_compression_is_offered_to_remote_servers_only(server, monkeypatch, far):
    sent, received = [], []

    class RecordingDeflate(LongMessageDeflate):
        def encode(self, frame):
            sent.append(super().encode(frame).rsv1)
            return super().encode(frame)

        def decode(self, frame, *, max_size=None):
            received.append(frame.rsv1)
            return super().decode(frame, max_size=max_size)

    monkeypatch.setattr("bqwidget._client.compression.LongMessageDeflate", RecordingDeflate)
    monkeypatch.setattr(Endpoint, "is_loopback", not far)
    with (
        Room("lobby", user="ada", url=server.url, insecure=True) as ada,
        Room("lobby", user="bob", url=server.url, insecure=True) as bob,
    ):
        for room in (ada, bob):
            room.wait_open(20)
        message = ada.send(LONG)
        ada.send("short")
        assert bob.wait_for(lambda m: m.text == "short", timeout=20, after=message)
        assert [message.text for message in bob.messages] == [LONG, "short"]
        assert ada.wait_for(lambda m: m.text == "short", timeout=20, after=message)
    assert (sent.count(True), received.count(True)) == ((1, 2) if far else (0, 0))
    assert bool(received) is far
