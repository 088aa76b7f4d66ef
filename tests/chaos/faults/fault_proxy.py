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
    """``url`` is its address. ``faults`` counts what connections met with; ``healed`` ones meet with nothing."""

    def __init__(self, port: int, seed: int) -> None:
        self.faults: Counter[str] = Counter()
        self.url = ""
        self.port = port
        self.healed = False
        self.stopped = asyncio.Event()
        self._chance = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._lines: dict[asyncio.Task[None], _Line] = {}

    def heal(self) -> None:
        self.healed = True

    def silence(self) -> None:
        """From now on nothing passes on the connections that there are."""
        for line in list(self._lines.values()):
            line.silent = True

    # ---- its thread

    def run(self, ready: threading.Event) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve(ready))

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self.stopped.set)

    async def _serve(self, ready: threading.Event) -> None:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        ready.set()
        await self.stopped.wait()
        server.close()
        for line in self._lines.values():
            line.abort()
        await asyncio.gather(*self._lines, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        fault = "none" if self.healed else self._chance.choice(FAULTS)
        self.faults[fault] += 1
        self._lines[task] = line = _Line(self, fault, random.Random(self._chance.random()), writer)
        try:
            await line.run(reader, writer)
        except OSError:
            _reset(writer)  # there is no server now
        finally:
            line.abort()
            del self._lines[task]


class _Line:
    """One connection. Its fault strikes behind so many bytes of each direction."""

    def __init__(
        self, proxy: FaultProxy, fault: str, chance: random.Random, writer: asyncio.StreamWriter
    ) -> None:
        self.silent = False
        self._proxy, self._fault, self._chance = proxy, fault, chance
        self._after = chance.randint(1, 6_000)
        self._ends = [writer]

    def abort(self) -> None:
        for end in self._ends:
            end.transport.abort()

    async def run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._fault == "refuse":
            _reset(writer)
            return
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._proxy.port)
        self._ends.append(up_writer)
        for end in self._ends:
            end.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pipes = [
            asyncio.create_task(self._pipe(reader, up_writer)),
            asyncio.create_task(self._pipe(up_reader, writer)),
        ]
        try:
            await asyncio.gather(*pipes)
        except OSError:
            pass
        finally:
            self.abort()
            await asyncio.gather(*pipes, return_exceptions=True)

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One direction, to its end."""
        passed = 0
        while data := await reader.read(CHUNK):
            struck = self._fault in ("reset", "blackhole", "half_open") and passed + len(data) > self._after
            if struck:
                data = data[: max(0, self._after - passed)]
            if not self.silent:
                await self._forward(data, writer)
            passed += len(data)
            if struck:
                await self._strike(reader)
                return
        if self.silent:
            await self._proxy.stopped.wait()
        writer.write_eof()

    async def _forward(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        if self._proxy.healed or self._fault not in ("slices", "delay", "throttle"):
            writer.write(data)
        elif self._fault == "slices":
            for byte in data:
                writer.write(bytes((byte,)))
                await writer.drain()  # raises where the other end is gone
                await asyncio.sleep(0)
        else:
            delay = self._chance.uniform(0, 0.2) if self._fault == "delay" else len(data) / RATE
            await asyncio.sleep(delay)
            writer.write(data)
        await writer.drain()

    async def _strike(self, reader: asyncio.StreamReader) -> None:
        if self._fault == "reset":
            for end in self._ends:
                _reset(end)
            raise ConnectionResetError
        if self._fault == "half_open":
            _reset(self._chance.choice(self._ends))
        while await reader.read(CHUNK):
            pass  # swallowed
        await self._proxy.stopped.wait()  # and its end too


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
