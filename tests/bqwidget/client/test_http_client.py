"""A room's requests: every network failure is a ConnectionRefused."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import ExitStack

import pytest

from bqwidget._client import http_client
from bqwidget._client.endpoint import Endpoint
from bqwidget._client.http_client import HttpClient
from bqwidget._client.message_list import PageRequest
from bqwidget.errors import ConnectionRefused

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def error_of_request(answer: Answer) -> str:
    """The text of the error of a request to a server that answers by ``answer``."""

    async def main() -> str:
        async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            await answer(reader, writer)
            writer.close()

        server = await asyncio.start_server(served, "127.0.0.1", 0)
        asked = HttpClient(Endpoint(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"), "lobby")
        try:
            with pytest.raises(ConnectionRefused) as refused:
                await asked.fetch_page(PageRequest("log", 0, 200))
            assert refused.value.status is None
            return str(refused.value)
        finally:
            asked.close()
            server.close()

    return asyncio.run(main())


async def close_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    pass


async def send_half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[")


async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def send_login_page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n<h1>Hotel Wi-Fi</h1>")


@pytest.mark.parametrize("answer", [close_connection, send_half, reset])
def test_an_incomplete_response_is_a_connection_refused(answer: Answer):
    assert "127.0.0.1" in error_of_request(answer)


def test_a_silent_server_times_out(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(http_client, "REQUEST_TIMEOUT", 0.1)
    assert "Timeout" in error_of_request(never_answer)


def test_another_kind_of_response_is_a_connection_refused():
    assert "did not answer like a bqserver" in error_of_request(send_login_page)


def test_closing_ends_requests_in_progress(caplog: pytest.LogCaptureFixture):
    """Closing a room, or losing its connection, must not leave a request with an open socket, nor a line in a log."""

    async def main() -> None:
        asked_for, ended = asyncio.Event(), asyncio.Event()

        async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            asked_for.set()
            await reader.read()
            ended.set()
            writer.close()

        server = await asyncio.start_server(served, "127.0.0.1", 0)
        asked = HttpClient(Endpoint(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"), "lobby")
        error_of_request = asyncio.create_task(asked.get("health"))
        await asked_for.wait()
        error_of_request.cancel()
        asked.close()
        async with asyncio.timeout(20):
            await ended.wait()
        server.close()

    asyncio.run(main())
    assert not caplog.records


def test_closing_ends_connections_in_progress():
    """To a server that accepts none: the queue of its socket is full."""

    async def main() -> None:
        with socket.socket() as full, ExitStack() as others:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            for _ in range(3):
                one = others.enter_context(socket.socket())
                one.setblocking(False)
                one.connect_ex(full.getsockname())
            asked = HttpClient(Endpoint(f"http://127.0.0.1:{full.getsockname()[1]}/"), "lobby")
            request = asyncio.create_task(asked.get("health"))
            while not asked._streams._open:
                await asyncio.sleep(0)
            (stream,) = asked._streams._open
            asked.close()
            assert stream.closed()
            with pytest.raises(ConnectionRefused):
                await request

    asyncio.run(main())


def test_no_listener_is_a_connection_refused():
    async def main() -> None:
        asked = HttpClient(Endpoint("http://127.0.0.1:9/"), "lobby")
        with pytest.raises(ConnectionRefused, match="Connection refused"):
            await asked.get("health")
        asked.close()

    asyncio.run(main())
