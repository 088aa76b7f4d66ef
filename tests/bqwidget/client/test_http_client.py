"""A room's requests: whatever the network does to them is one error, which the room's thread survives."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from bqwidget._client import http_client
from bqwidget._client.endpoint import Endpoint
from bqwidget._client.http_client import HttpClient
from bqwidget._client.message_list import PageRequest
from bqwidget.errors import ConnectionRefused

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def asking(answer: Answer) -> str:
    """The words of the error that a request gets from a server which does this to it."""

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


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    pass


async def answer_half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[")


async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def say_welcome(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n<h1>Hotel Wi-Fi</h1>")


@pytest.mark.parametrize("answer", [hang_up, answer_half, reset])
def test_an_incomplete_response_is_a_connection_refused(answer: Answer):
    assert "127.0.0.1" in asking(answer)


def test_a_silent_server_times_out(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(http_client, "REQUEST_TIMEOUT", 0.1)
    assert "Timeout" in asking(say_nothing)


def test_another_kind_of_response_is_a_connection_refused():
    assert "did not answer like a bqserver" in asking(say_welcome)


def test_closing_ends_requests_in_progress():
    """A room that is closed, or whose link is lost, must not leave a request behind with its socket."""

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
        asking = asyncio.create_task(asked.get("health"))
        await asked_for.wait()
        asking.cancel()
        asked.close()
        async with asyncio.timeout(5):
            await ended.wait()
        server.close()

    asyncio.run(main())


def test_no_listener_is_a_connection_refused():
    async def main() -> None:
        asked = HttpClient(Endpoint("http://127.0.0.1:9/"), "lobby")
        with pytest.raises(ConnectionRefused, match="Connection refused"):
            await asked.get("health")
        asked.close()

    asyncio.run(main())
