"""The cost of many connections and rooms: ``python tests/benchmarks/scale.py [--connections 5000] [--rooms 1000]``.

A bqserver (memory log) runs on one core, its members on another, as plain sockets that count and check messages:

- one room with 10, 100, 1,000 and ``--connections`` members: latency with one message in flight, server CPU per
  delivery, memory per connection; at the end, the server's CPU with all those members idle over two heartbeats;
- ``--rooms`` rooms of 5 members, one message to every room in turn, and a single room of 5: CPU per delivery.

Every member checks that it got each message once and in order. Needs Linux and ``taskset``.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import selectors
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
HEARTBEAT = 20.0
MEMBERS_PER_ROOM = 5
"""Members of each of the many rooms."""
_SEQ = re.compile(rb'"type":"message","entry":\{"seq":(\d+)')


class Member:
    """A raw WebSocket client that answers pings and keeps the seqs of received messages."""

    def __init__(self, port: int, room: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET /rooms/{room}?after=0 HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        self.seqs: list[int] = []
        self._rest = b""

    def read(self) -> int:
        """Read once from the socket. Returns the number of messages received."""
        data = self._rest + self.socket.recv(1 << 16)
        found = 0
        end = 0
        for match in _SEQ.finditer(data):
            self.seqs.append(int(match[1]))
            found += 1
            end = match.end()
        self._rest = data[max(end, len(data) - 200) :]
        if b"\x89\x00" in data:
            self.socket.send(b"\x8a\x80\0\0\0\0")
        return found

    def send(self, *texts: str) -> None:
        self.socket.sendall(b"".join([_masked(text) for text in texts]))


def _masked(text: str) -> bytes:
    """A chat.send frame, masked with a zero key."""
    body = json.dumps({"type": "chat.send", "cid": os.urandom(8).hex(), "user": "u", "text": text}).encode()
    size = bytes((0x80 | len(body),)) if len(body) < 126 else b"\xfe" + len(body).to_bytes(2, "big")
    return b"\x81" + size + b"\0\0\0\0" + body


class Members:
    """Members, and the selector that reads from all of them."""

    def __init__(self) -> None:
        self.all: list[Member] = []
        self._selector = selectors.DefaultSelector()

    def join(self, port: int, room: str) -> Member:
        member = Member(port, room)
        self.all.append(member)
        self._selector.register(member.socket, selectors.EVENT_READ, member)
        return member

    def receive(self, expected: int, timeout: float = 60.0) -> int:
        """Read until all members together have received ``expected`` messages. Returns the number received."""
        got = 0
        deadline = time.perf_counter() + timeout
        while got < expected:
            ready = self._selector.select(1.0)
            got += sum(key.data.read() for key, _ in ready)
            if time.perf_counter() > deadline:
                sys.exit(f"only {got:,} of {expected:,} messages were received within {timeout:g} s")
        return got

    def read_for(self, seconds: float) -> None:
        deadline = time.perf_counter() + seconds
        while (left := deadline - time.perf_counter()) > 0:
            for key, _ in self._selector.select(left):
                key.data.read()

    def check(self) -> None:
        for member in self.all:
            if member.seqs != sorted(set(member.seqs)):
                sys.exit("a member received a message twice or out of order")


def main() -> None:
    parser = argparse.ArgumentParser(description="The cost of many connections and rooms.")
    parser.add_argument("--connections", type=int, default=5000, help="(default: %(default)s)")
    parser.add_argument("--rooms", type=int, default=1000, help="(default: %(default)s)")
    options = parser.parse_args()
    os.sched_setaffinity(0, {1})
    for n in sorted({10, 100, 1000, options.connections}):
        show_room(n, idle=n == options.connections)
    show_rooms(options.rooms)


def show_room(n: int, *, idle: bool) -> None:
    with running() as (port, pid):
        before = resident(pid)
        members = Members()
        for _ in range(n):
            members.join(port, "one")
        members.read_for(1.0 + n / 2000)  # hello and presence frames
        each = (resident(pid) - before) / n
        times, cpu = [], used(pid)
        rounds = max(60, 20_000 // n)
        for number in range(rounds):
            started = time.perf_counter()
            members.all[0].send(f"message {number}")
            members.receive(n)
            times.append(time.perf_counter() - started)
        cost = (used(pid) - cpu) / (rounds * n)
        members.check()
        print(
            f"one room of {n:<6,} latency p50 {1e3 * statistics.median(times):7.2f} ms to the last of them "
            f"({1e6 * statistics.median(times) / n:5.1f} us each)  CPU {1e6 * cost:5.1f} us per delivery  "
            f"{each:5.1f} kB per connection"
        )
        if idle:
            members.read_for(HEARTBEAT)
            cpu, started = used(pid), time.perf_counter()
            members.read_for(2 * HEARTBEAT)
            share = (used(pid) - cpu) / (time.perf_counter() - started)
            print(f"{n:,} idle members: {100 * share:.2f} % of a core")


def show_rooms(count: int) -> None:
    costs = []
    for rooms in (1, count):
        with running() as (port, pid):
            members = Members()
            for room in range(rooms):
                for _ in range(MEMBERS_PER_ROOM):
                    members.join(port, f"room-{room}")
            senders = members.all[::MEMBERS_PER_ROOM]
            members.read_for(1.0 + rooms / 500)
            cpu, turns = used(pid), max(1, 4 * max(count, 100) // rooms)
            for number in range(turns):
                for sender in senders:
                    sender.send(f"message {number}")
                    members.receive(MEMBERS_PER_ROOM)
            costs.append((used(pid) - cpu) / (turns * rooms * MEMBERS_PER_ROOM))
            members.check()
    print(
        f"{count:,} rooms of {MEMBERS_PER_ROOM}: {1e6 * costs[1]:.1f} us CPU per delivery, one room of {MEMBERS_PER_ROOM}: "
        f"{1e6 * costs[0]:.1f} us: {costs[1] / costs[0]:.2f} times"
    )


@contextmanager
def running() -> Iterator[tuple[int, int]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "bqserver", "--open", "--log=memory", f"--port={port}"]
    server = subprocess.Popen(["taskset", "-c", "0", *command], stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        server.stdout.readline()  # printed when it listens
        yield port, server.pid
    finally:
        server.terminate()
        server.wait()


def used(pid: int) -> float:
    """Seconds of CPU used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


def resident(pid: int) -> float:
    """Resident memory in kB."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "VmRSS" in line)
    return float(line.split()[1])


if __name__ == "__main__":
    main()
