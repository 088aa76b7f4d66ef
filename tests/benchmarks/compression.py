"""The cost and the saving of compressed frames, by length: ``python tests/benchmarks/compression.py [--peers 100]``.

The texts are excerpts of server/README.md. The table has bytes, and microseconds on one core (the best of 9 rounds):
for the server to compress a message once, and to write it to ``--peers`` members over loopback TCP, plain and
compressed (the saving grows with their number); for a client to inflate it; and for the server to read such a message
from a client, plain and compressed. Nothing leaves the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import selectors
import socket
import statistics
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Self

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "server"), str(ROOT / "tests")]

from bqserver.websocket import compression as deflate  # noqa: E402
from bqserver.websocket.compression import PERMESSAGE_DEFLATE  # noqa: E402
from bqserver.websocket.decoder import Decoder  # noqa: E402
from bqserver.websocket.framing import text_frame  # noqa: E402
from chaos.load.raw_websocket import frame  # noqa: E402

TEXT_LENGTHS = (100, 300, 700, 1_000, 2_000, 4_000, 16_000)
EXCERPTS = 5
ROUNDS = 9


def main() -> None:
    parser = argparse.ArgumentParser(description="Compressed frames: bytes against processor time.")
    parser.add_argument("--peers", type=int, default=100, help="members written to (default: %(default)s)")
    peers = parser.parse_args().peers
    deflate.MIN_COMPRESSED_BYTES = 0  # otherwise short frames would not be compressed
    prose = (ROOT / "server" / "README.md").read_text().encode("ascii", "ignore").decode()
    print(f"{'':>16}  {'bytes':^19}  {'server: once':>12}  {f'server: {peers} peers':^19}  ", end="")
    print(f"{'client':>8}  {'server: reads one':^19}")
    print(
        f"{'characters':>16}  {'plain':>6} {'small':>6} {'':>5}  {'compress':>12}  {'plain':>9} {'small':>9}  ",
        end="",
    )
    print(f"{'inflate':>8}  {'plain':>9} {'small':>9}")
    with Readers(peers) as readers:
        for size in TEXT_LENGTHS:
            step = max(1, (len(prose) - size) // EXCERPTS)
            rows = [measure(prose[start * step :][:size], readers) for start in range(EXCERPTS)]
            plain, small, once, to_plain, to_small, inflate, read_plain, read_compressed = map(
                statistics.median, zip(*rows, strict=True)
            )
            print(f"{size:>16,}  {plain:>6.0f} {small:>6.0f} {small / plain:>5.0%}  {once:>9.1f} us  ", end="")
            print(f"{to_plain:>6.0f} us {to_small:>6.0f} us  {inflate:>5.1f} us  ", end="")
            print(f"{read_plain:>6.1f} us {read_compressed:>6.1f} us")


def measure(text: str, readers: Readers) -> tuple[float, ...]:
    payload = (
        b'{"type":"message","entry":{"seq":123456,"room":"lobby","user":"ada","text":%b,'
        b'"at":1761000000000,"cid":"f3a9c1e25b7d4d0f"},"prev":123455}' % json_string(text)
    )
    plain = text_frame(payload)
    small = deflate.compress(plain)
    packed = small[2 if small[1] < 126 else 4 :]
    received = frame(1, payload, mask=b"\1\2\3\4")
    received_compressed = frame(1, packed, first=0xC0, mask=b"\1\2\3\4")
    assert small is not plain
    incoming = Decoder(1 << 17, [PERMESSAGE_DEFLATE.process_request_params([], [])[1]])
    assert incoming.feed(received) == incoming.feed(received_compressed) == [payload.decode()]
    return (
        len(plain),
        len(small),
        best_time(lambda: deflate.compress(plain)),
        best_time(lambda: readers.write(plain), repeat=3),
        best_time(lambda: readers.write(small), repeat=3),
        best_time(lambda: zlib.decompressobj(-15).decompress(packed + b"\0\0\xff\xff")),
        best_time(lambda: incoming.feed(received)),
        best_time(lambda: incoming.feed(received_compressed)),
    )


def json_string(text: str) -> bytes:
    return json.dumps(text, ensure_ascii=False).encode()


def best_time(work: Callable[[], object], repeat: int = 50) -> float:
    """Microseconds of processor time of one call, the best of ``ROUNDS`` averages over ``repeat`` calls."""
    best = float("inf")
    for _ in range(ROUNDS):
        started = time.process_time_ns()
        for _ in range(repeat):
            work()
        best = min(best, (time.process_time_ns() - started) / repeat / 1_000)
    return best


class Readers:
    """``count`` TCP connections, and a child process that reads them all."""

    def __init__(self, count: int) -> None:
        with socket.create_server(("127.0.0.1", 0), backlog=count) as listener:
            clients = [socket.create_connection(listener.getsockname()) for _ in range(count)]
            self.sockets = [listener.accept()[0] for _ in range(count)]
        for one in self.sockets:
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.child = os.fork()
        if not self.child:
            for one in self.sockets:
                one.close()
            read(clients)
            os._exit(0)
        for one in clients:
            one.close()

    def write(self, data: bytes) -> None:
        for one in self.sockets:
            one.sendall(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for one in self.sockets:
            one.close()
        os.waitpid(self.child, 0)


def read(sockets: list[socket.socket]) -> None:
    with selectors.DefaultSelector() as selector:
        for one in sockets:
            selector.register(one, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select():
                if not key.fileobj.recv(1 << 20):
                    selector.unregister(key.fileobj)


if __name__ == "__main__":
    main()
