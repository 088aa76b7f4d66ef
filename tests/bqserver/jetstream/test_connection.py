"""Connections to a real NATS server."""

from __future__ import annotations

import asyncio
import socket
import subprocess

import pytest
from bqserver.jetstream.address import parse_address
from bqserver.jetstream.client import NatsClient
from bqserver.jetstream.connection import Credentials, close, connect
from nats.aio.client import Client
from support.eventually import eventually
from support.ports import free_port

PASSWORD = "p@ss/w:rd%20#?"


@pytest.mark.parametrize(
    ("options", "login"),
    [
        (["--user=ada", f"--pass={PASSWORD}"], "ada:p%40ss%2Fw%3Ard%2520%23%3F"),
        ([f"--auth={PASSWORD}"], "p%40ss%2Fw%3Ard%2520%23%3F"),
    ],
    ids=["password", "token"],
)
def test_a_login_is_percent_decoded(nats_server, options, login):
    port = free_port()

    async def scenario() -> None:
        client = Client()
        url = f"nats://{login}@127.0.0.1:{port}"
        await connect(client, url, Credentials(None, None), on_disconnect=asyncio.Event().wait)
        assert client.is_connected
        await client.flush(10)
        await close(client)

    def listens() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    process = subprocess.Popen([nats_server, "--addr=127.0.0.1", f"--port={port}", *options], stderr=subprocess.DEVNULL)
    try:
        eventually(listens, what="nats-server")
        asyncio.run(scenario())
    finally:
        process.terminate()
        process.wait(20)


def test_a_connection_that_is_being_made_ends_with_the_client(nats_single, monkeypatch):
    """The watcher makes one when the former was lost, as while a server starts again."""

    async def scenario() -> None:
        waiting = asyncio.Event()

        async def no_answer(_: Client, **__: float) -> None:
            waiting.set()
            await asyncio.sleep(3600)

        monkeypatch.setattr(Client, "flush", no_answer)
        client = NatsClient(parse_address(nats_single.log()))
        client._watcher = asyncio.create_task(client._watch())
        await waiting.wait()
        await client.close()
        async with asyncio.timeout(30):
            while len(asyncio.all_tasks()) > 1:  # this one; a connection that is open has two
                await asyncio.sleep(0.01)

    asyncio.run(scenario())
