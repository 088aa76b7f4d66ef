"""RFC 6455 as the Autobahn cases read it, run by kosoku against the server's own Wire in a bare echo handler.

Size 1 leaves out the cases of long messages (9), up to 16 MiB; size 100 has them. Cases 12 and 13 are about
compression, which the server never agrees to: a room's frames are small, and the same bytes go to everyone.
"""

from __future__ import annotations

import asyncio
import socket

import pytest
import tornado.web
from bqserver.wire import Handshake, Wire, text_frame
from kosoku import FailureError, run_fuzzingclient
from tornado.httpserver import HTTPServer

from .sizes import SIZE

LEFT_OUT = ["12.*", "13.*", *([] if SIZE >= 100 else ["9.*"])]
LONGEST = 16 * 1024 * 1024 + 1024
"""The suite's longest message and its head; a chat server's limit is 128 KiB."""


class Echo(tornado.web.RequestHandler):
    async def get(self) -> None:
        handshake = Handshake(self.request.uri or "/", self.request.headers)
        assert handshake.accepted
        wire = Wire(self.detach(), handshake, buffer=LONGEST, max_frame=LONGEST)
        task = asyncio.create_task(self.echo(wire))
        self.application.settings["tasks"].append(task)

    async def echo(self, wire: Wire) -> None:
        while (messages := await wire.receive()) is not None:
            for message in messages:
                if isinstance(message, str):
                    wire.write(text_frame(message.encode()))
                else:
                    wire.write(b"\x82" + text_frame(message)[1:])


@pytest.mark.timeout(300)
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
                results = await run_fuzzingclient(url, exclude_cases=LEFT_OUT, concurrency=2)
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
    assert len(results) >= (301 if SIZE >= 100 else 247)
    strict = sum(one.behavior.value == "OK" for one in results)
    print(f"\nconformance: {len(results)} cases pass, {strict} of them OK in every point")
