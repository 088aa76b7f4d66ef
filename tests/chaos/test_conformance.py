"""RFC 6455 conformance: the Autobahn cases, run by kosoku against the server's Connection in an echo handler.

Size 1 leaves out the cases of long messages (9), up to 16 MiB, and runs 14 of the 216 cases of compression (12:
message contents, 13: offers), each of which sends 1,000 messages; size 100 runs all, in five to eight minutes. A
message's length decides whether it is echoed compressed, as in a room.
"""

from __future__ import annotations

import asyncio
import importlib
import socket

import pytest
import tornado.web
from bqserver.websocket.compression import compress
from bqserver.websocket.connection import Handshake, WebSocketConnection
from bqserver.websocket.framing import text_frame
from bqserver.websocket.turns import Turns
from kosoku import FailureError, run_fuzzingclient
from kosoku._caseindex import initialize_shims
from tornado.httpserver import HTTPServer

from .load.sizes import SIZE

pytestmark = pytest.mark.slow("runs hundreds of cases")

COMPRESSION_CASES = ["12.*", "13.*"] if SIZE >= 100 else ["12.*.4", "12.1.11", "13.*.4", "13.1.11"]
"""The messages of the cases x.4 have 1 KiB, those of x.11 have 8 KiB in fragments of 256 bytes."""
CASES = [
    *(f"{number}.*" for number in (1, 2, 3, 4, 5, 6, 7, 10)),
    *COMPRESSION_CASES,
    *(["9.*"] if SIZE >= 100 else []),
]
MAX_MESSAGE_BYTES = 16 * 1024 * 1024 + 1024
"""The suite's longest message and its header; the chat server's default limit is 256 KiB."""


class Echo(tornado.web.RequestHandler):
    async def get(self) -> None:
        handshake = Handshake(self.request.uri or "/", self.request.headers)
        assert handshake.accepted
        connection = WebSocketConnection(
            self.detach(), handshake, buffer=MAX_MESSAGE_BYTES, max_frame=MAX_MESSAGE_BYTES, turns=Turns()
        )
        task = asyncio.create_task(self.echo(connection))
        self.application.settings["tasks"].append(task)

    async def echo(self, connection: WebSocketConnection) -> None:
        while (messages := await connection.receive()) is not None:
            for message in messages:
                text = isinstance(message, str)
                frame = text_frame(message.encode()) if text else text_frame(message, 0x82)
                connection.write(compress(frame) if connection.compresses else frame)


@pytest.fixture(autouse=True)
def binary_messages_as_bytes(monkeypatch):
    """Encode the str that kosoku 0.1 passes to these cases for an uncompressed message (Latin-1 for a binary one),
    because the cases can't hash it.
    """
    initialize_shims()
    module = importlib.import_module("case12_x_x")
    for case in (*module.Case12_X_X, *module.Case13_X_X):

        def on_message(self, message, binary, original=case.onMessage):
            if isinstance(message, str):
                message = message.encode("latin-1" if binary else "utf-8")
            original(self, message, binary)

        monkeypatch.setattr(case, "onMessage", on_message)


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # kosoku does not close its data files
@pytest.mark.timeout(900)
def test_every_case_passes():
    async def run() -> list[object]:
        tasks: list[asyncio.Task[None]] = []
        server = HTTPServer(tornado.web.Application([("/", Echo)], tasks=tasks, log_function=lambda _: None))
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            listener.setblocking(False)
            server.add_socket(listener)
            url = f"ws://127.0.0.1:{listener.getsockname()[1]}/"
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
    strictly_ok = sum(one.behavior.value == "OK" for one in results)
    print(f"\nconformance: {len(results)} cases pass, {strictly_ok} of them strictly OK")
