"""A network that goes wrong, between a client and a server on loopback; what goes wrong is drawn from a seed.

Each connection gets one fault, somewhere in its life: ``reset`` (both ends, by RST), ``blackhole`` (open, and
silent for ever), ``half_open`` (one end is gone and the other never hears of it), ``slices`` (byte by byte),
``delay``, ``throttle``, ``refuse``, or ``none``. After ``heal`` new connections are sound; those that went silent
stay silent, for only their ends can find that out.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator

FAULTS = (
    "none",
    "none",
    "none",
    "none",
    "reset",
    "blackhole",
    "half_open",
    "slices",
    "delay",
    "throttle",
    "refuse",
)
CHUNK = 64 * 1024
RATE = 20_000
"""Bytes a second of a throttled connection."""


class FaultProxy:
    """``url`` is its address. ``faults`` counts what connections met with."""

    def __init__(self, port: int, seed: int) -> None:
        self.faults: Counter[str] = Counter()
        self.url = ""
        self._port = port
        self._chance = random.Random(seed)
        self._healed = False
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()

    def heal(self) -> None:
        self._healed = True

    # ---- its thread

    def run(self, ready: threading.Event) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve(ready))

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)

    async def _serve(self, ready: threading.Event) -> None:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        ready.set()
        await self._stop.wait()
        server.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        fault = "none" if self._healed else self._chance.choice(FAULTS)
        self.faults[fault] += 1
        if fault == "refuse":
            _reset(writer)
            return
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            _reset(writer)
            return
        both = (writer, up_writer)
        for one in both:
            one.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        after = self._chance.randint(1, 6_000)
        pipes = [
            asyncio.create_task(self._pipe(reader, up_writer, fault, after, both)),
            asyncio.create_task(self._pipe(up_reader, writer, fault, after, both)),
        ]
        try:
            await asyncio.gather(*pipes)
        except OSError:
            pass
        finally:
            for pipe in pipes:
                pipe.cancel()
            for one in both:
                one.transport.abort()

    async def _pipe(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        fault: str,
        after: int,
        both: tuple[asyncio.StreamWriter, asyncio.StreamWriter],
    ) -> None:
        """One direction, to its end. The fault strikes behind byte ``after`` of it."""
        passed = 0
        while data := await reader.read(CHUNK):
            struck = fault in ("reset", "blackhole", "half_open") and passed + len(data) > after
            if struck:
                data = data[: max(0, after - passed)]
            await self._forward(data, writer, fault)
            passed += len(data)
            if struck:
                await self._strike(fault, reader, both)
        writer.write_eof()

    async def _forward(self, data: bytes, writer: asyncio.StreamWriter, fault: str) -> None:
        if self._healed or fault not in ("slices", "delay", "throttle"):
            writer.write(data)
        elif fault == "slices":
            for byte in data:
                writer.write(bytes((byte,)))
                await asyncio.sleep(0)
        else:
            await asyncio.sleep(self._chance.uniform(0, 0.2) if fault == "delay" else len(data) / RATE)
            writer.write(data)
        await writer.drain()

    async def _strike(
        self,
        fault: str,
        reader: asyncio.StreamReader,
        both: tuple[asyncio.StreamWriter, asyncio.StreamWriter],
    ) -> None:
        if fault == "reset":
            for one in both:
                _reset(one)
            raise ConnectionResetError
        if fault == "half_open":
            _reset(self._chance.choice(both))
        while await reader.read(CHUNK):
            pass  # swallowed
        await self._stop.wait()  # and its end too


def _reset(writer: asyncio.StreamWriter) -> None:
    """Not an orderly end: the other side gets RST."""
    raw = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@contextlib.contextmanager
def fault_proxy(port: int, seed: int) -> Iterator[FaultProxy]:
    """One in front of ``port``, on a thread of its own."""
    proxy = FaultProxy(port, seed)
    ready = threading.Event()
    thread = threading.Thread(target=proxy.run, args=(ready,), name=f"fault-proxy-{seed}")
    thread.start()
    ready.wait()
    try:
        yield proxy
    finally:
        proxy.stop()
        thread.join()
