"""RFC 6455 as the Autobahn cases read it, run by kosoku against the server's own Wire in a bare echo handler.

Size 1 leaves out the cases of long messages (9), up to 16 MiB, and has 14 of the 216 of compression (12: what is in
the messages, 13: what is offered), each of which sends 1,000 messages; size 100 has all: five to eight minutes. Whether a
message comes back compressed goes by its length, as in a room.
"""

from __future__ import annotations

import asyncio
import importlib
import socket

import pytest
import tornado.web
from bqserver.websocket.compression import compress
from bqserver.websocket.connection import Connection, Handshake
from bqserver.websocket.framing import text_frame
from kosoku import FailureError, run_fuzzingclient
from kosoku._caseindex import initialize_shims
from tornado.httpserver import HTTPServer

from .load.sizes import SIZE

PACKED = ["12.*", "13.*"] if SIZE >= 100 else ["12.*.4", "12.1.11", "13.*.4", "13.1.11"]
"""At 4 the messages are of 1 KiB, at 11 of 8 KiB in fragments of 256 bytes."""
CASES = [*(f"{number}.*" for number in (1, 2, 3, 4, 5, 6, 7, 10)), *PACKED, *(["9.*"] if SIZE >= 100 else [])]
LONGEST = 16 * 1024 * 1024 + 1024
"""The suite's longest message and its head; a chat server's limit is 128 KiB."""


class Echo(tornado.web.RequestHandler):
    async def get(self) -> None:
        handshake = Handshake(self.request.uri or "/", self.request.headers)
        assert handshake.accepted
        wire = Connection(self.detach(), handshake, buffer=LONGEST, max_frame=LONGEST)
        task = asyncio.create_task(self.echo(wire))
        self.application.settings["tasks"].append(task)

    async def echo(self, wire: Connection) -> None:
        while (messages := await wire.receive()) is not None:
            for message in messages:
                text = isinstance(message, str)
                frame = text_frame(message.encode()) if text else text_frame(message, 0x82)
                wire.write(compress(frame) if wire.compresses else frame)


@pytest.fixture(autouse=True)
def bytes_are_bytes(monkeypatch):
    """kosoku 0.1 hands these cases a str for a message that comes back plain, of Latin-1 where it is binary: they
    can't hash it.
    """
    initialize_shims()
    module = importlib.import_module("case12_x_x")
    for case in (*module.Case12_X_X, *module.Case13_X_X):

        def hear(self, message, binary, heard=case.onMessage):
            if isinstance(message, str):
                message = message.encode("latin-1" if binary else "utf-8")
            heard(self, message, binary)

        monkeypatch.setattr(case, "onMessage", hear)


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # kosoku leaves its data's open
@pytest.mark.timeout(900)
def test_every_case_passes():
    async def run() -> list[object]:
        tasks: list[asyncio.Task[None]] = []
        server = HTTPServer(tornado.web.Application([("/", Echo)], tasks=tasks, log_function=lambda _: None))
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            listening.listen()
            listening.setblocking(False)
            server.add_socket(listening)
            url = f"ws://127.0.0.1:{listening.getsockname()[1]}/"
            try:
                results = await run_fuzzingclient(url, cases=CASES, concurrency=2)
            except FailureError as failure:
                results = failure.results
            finally:
                server.stop()
                await server.close_all_connections()
        await asyncio.gather(*tasks)
        return results

    results = asyncio.run(run())
    failed = [
        f"{one.case_id}: {one.behavior.value}, {one.behavior_close.value}: {one.result} {one.result_close}"
        for one in results
        if not one.passed
    ]
    assert failed == []
    assert len(results) >= (517 if SIZE >= 100 else 261)
    strict = sum(one.behavior.value == "OK" for one in results)
    print(f"\nconformance: {len(results)} cases pass, {strict} of them OK in every point")
