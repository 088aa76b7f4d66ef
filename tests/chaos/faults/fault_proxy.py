"""A TCP proxy on loopback that injects network faults, drawn at random from a seed.

Each connection gets one fault: ``reset`` (both ends, by RST), ``blackhole`` (stays open, passes nothing on),
``half_open`` (one end is reset, the other is not notified), ``slices`` (byte by byte), ``delay``, ``throttle``,
``refuse``, or ``none``. After ``heal`` new connections have no fault; connections that pass nothing on stay that
way, since only their endpoints can detect it.
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
CHUNK_BYTES = 64 * 1024
THROTTLED_RATE = 20_000
"""Bytes per second of a throttled connection."""


class FaultProxy:
    """``url`` is the proxy's address. ``faults`` counts the connections per fault."""

    def __init__(self, port: int, seed: int) -> None:
        self.faults: Counter[str] = Counter()
        self.url = ""
        self.port = port
        self.healed = False
        self.stopped = asyncio.Event()
        self._rng = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._connections: dict[asyncio.Task[None], _ProxiedConnection] = {}

    def heal(self) -> None:
        self.healed = True

    def silence(self) -> None:
        """Pass nothing on any more on the connections that are open now."""
        for connection in list(self._connections.values()):
            connection.silent = True

    # ---- on the proxy's thread

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
        for connection in self._connections.values():
            connection.abort()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        fault = "none" if self.healed else self._rng.choice(FAULTS)
        self.faults[fault] += 1
        self._connections[task] = connection = _ProxiedConnection(
            self, fault, random.Random(self._rng.random()), writer
        )
        try:
            await connection.run(reader, writer)
        except OSError:
            _reset(writer)  # the server is down
        finally:
            connection.abort()
            del self._connections[task]


class _ProxiedConnection:
    """One connection. Its fault occurs after ``_after`` bytes in either direction."""

    def __init__(self, proxy: FaultProxy, fault: str, rng: random.Random, writer: asyncio.StreamWriter) -> None:
        self.silent = False
        self._proxy, self._fault, self._rng = proxy, fault, rng
        self._after = rng.randint(1, 6_000)
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
        """Forward one direction until it ends."""
        forwarded = 0
        while data := await reader.read(CHUNK_BYTES):
            fault_due = self._fault in ("reset", "blackhole", "half_open") and forwarded + len(data) > self._after
            if fault_due:
                data = data[: max(0, self._after - forwarded)]
            if not self.silent:
                await self._forward(data, writer)
            forwarded += len(data)
            if fault_due:
                await self._cut(reader)
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
                await writer.drain()  # raises if the other end has closed
                await asyncio.sleep(0)
        else:
            delay = self._rng.uniform(0, 0.2) if self._fault == "delay" else len(data) / THROTTLED_RATE
            await asyncio.sleep(delay)
            writer.write(data)
        await writer.drain()

    async def _cut(self, reader: asyncio.StreamReader) -> None:
        if self._fault == "reset":
            for end in self._ends:
                _reset(end)
            raise ConnectionResetError
        if self._fault == "half_open":
            _reset(self._rng.choice(self._ends))
        while await reader.read(CHUNK_BYTES):
            pass  # discard
        await self._proxy.stopped.wait()  # and do not pass on EOF either


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST."""
    raw = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@contextlib.contextmanager
def fault_proxy(port: int, seed: int) -> Iterator[FaultProxy]:
    """A proxy in front of ``port``, on its own thread."""
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
