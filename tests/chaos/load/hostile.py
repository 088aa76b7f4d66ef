"""Well-behaved members next to hostile neighbours: their latency, the server's memory and its logs.

As a program, ``python hostile.py [SECONDS [MEMBERS [KIND]]]`` measures the bqserver that PYTHONPATH names; KIND: see
``flooders.py``.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

from chaos.load.client import LoadClient
from chaos.load.memory import processor_time, rss
from chaos.load.server_process import ServerProcess
from support.ws_client import request

ROOMS, SEND_INTERVAL, FILES = 10, 1.0, 1024
ACK_TIMEOUT = 30.0
MEMBERS_LINES = ("send", "join", "leave")
"""What the audit log has of well-behaved members."""


@dataclass
class Figures:
    """Seconds until each message was acknowledged, without and with neighbours; ``worked``: of these, the processor time of
    the server's event loop, which other programs hardly change (Linux). Memory and logs in bytes.
    """

    quiet: list[float] = field(default_factory=list)
    flooded: list[float] = field(default_factory=list)
    worked: list[float] = field(default_factory=list)
    unacknowledged: int = 0
    closed: int = 0
    memory: int = 0
    log: int = 0
    lines: int = 0

    def __str__(self) -> str:
        quiet, flooded = percentile(self.quiet), percentile(self.flooded)
        return (
            f"p99 {quiet * 1000:.0f} ms quiet, {flooded * 1000:.0f} ms with neighbours (p50 {median(self.flooded) * 1000:.0f}), "
            f"of which the server worked {percentile(self.worked) * 1000:.0f} ms (p50 {median(self.worked) * 1000:.0f}); "
            f"{self.unacknowledged} of {len(self.flooded) + self.unacknowledged} not acknowledged, {self.closed} members "
            f"closed; memory +{self.memory / 1e6:.0f} MB; logs {self.log / 1e3:.0f} kB in {self.lines} lines"
        )


def percentile(values: list[float], share: float = 0.99) -> float:
    return sorted(values)[int(len(values) * share)] if values else float("inf")


def median(values: list[float]) -> float:
    return percentile(values, 0.5)


class WellBehaved:
    """Sends a message each ``SEND_INTERVAL`` and notes how long its ack takes."""

    def __init__(self, name: str, pid: int) -> None:
        self.name = name
        self.pid = pid
        self.client: LoadClient | None = None
        self.sent: dict[str, tuple[float, float]] = {}
        self.times: list[float] = []
        self.worked: list[float] = []
        self._count = 0

    async def join(self, url: str, room: str, token: str) -> None:
        self.client = await LoadClient.join(url, room, self._on_payloads, token=token)

    async def run(self, until: float, offset: float) -> None:
        assert self.client is not None
        await asyncio.sleep(offset)
        while time.perf_counter() < until and not self.client.closed.is_set():
            cid = f"{self.name}-{self._count}"
            self._count += 1
            self.sent[cid] = time.perf_counter(), processor_time(self.pid)
            self.client.send(json.dumps({"type": "chat.send", "cid": cid, "user": self.name, "text": "hello"}).encode())
            await asyncio.sleep(SEND_INTERVAL)

    def _on_payloads(self, payloads: list[bytes]) -> None:
        for payload in payloads:
            if payload.startswith(b'{"type":"ack"'):
                sent, worked = self.sent.pop(json.loads(payload)["cid"])
                self.times.append(time.perf_counter() - sent)
                self.worked.append(processor_time(self.pid) - worked)


async def run_members(members: list[WellBehaved], seconds: float) -> list[float]:
    """Let them send for ``seconds``, wait for the acks, and return their times."""
    until = time.perf_counter() + seconds
    await asyncio.gather(
        *[member.run(until, SEND_INTERVAL * number / len(members)) for number, member in enumerate(members)]
    )
    deadline = time.perf_counter() + ACK_TIMEOUT
    while any(member.sent for member in members) and time.perf_counter() < deadline:
        await asyncio.sleep(0.05)
    times = [one for member in members for one in member.times]
    for member in members:
        member.times.clear()
    return times


def take_worked(members: list[WellBehaved]) -> list[float]:
    """The processor time before each ack since the last call."""
    worked = [one for member in members for one in member.worked]
    for member in members:
        member.worked.clear()
    return worked


async def measure(
    url: str, pid: int, token: str, own: str = "", *, seconds: float, count: int, kind: str = ""
) -> Figures:
    """``token``: of a member who may only read; ``own``: that of all others, if they need one; ``kind``: of the flooders."""
    figures = Figures()
    path, headers = f"{urlsplit(url).path}/rooms/long/messages", {"Authorization": f"Bearer {own}"} if own else {}
    for _ in range(200):
        assert request(url, "POST", path, {"user": "filler", "text": "long " * 3_000}, **headers).status == 201
    members = [WellBehaved(f"member-{number}", pid) for number in range(count)]
    for number, member in enumerate(members):
        await member.join(url, f"room-{number % ROOMS}", own)
    figures.quiet = await run_members(members, min(seconds, 10.0))
    take_worked(members)
    before, used = rss(pid), [0]

    async def watch() -> None:
        while True:
            used.append(rss(pid))
            await asyncio.sleep(0.1)

    watching = asyncio.create_task(watch())
    program = [sys.executable, str(Path(__file__).with_name("flooders.py")), url, token, own, *([kind] if kind else [])]
    flooders = await asyncio.create_subprocess_exec(*program, stdin=subprocess.PIPE)
    try:
        figures.flooded = await run_members(members, seconds)
        figures.worked = take_worked(members)
    finally:
        flooders.kill()
        await flooders.wait()
    watching.cancel()
    figures.memory = max(used) - before
    figures.unacknowledged = sum(len(member.sent) for member in members)
    figures.closed = sum(member.client is None or member.client.closed.is_set() for member in members)
    for member in members:
        if member.client is not None:
            member.client.close()
    return figures


def run(folder: Path, *, seconds: float, count: int, kind: str = "") -> Figures:
    """Start a server with its files in ``folder``, and measure."""
    add = [sys.executable, "-m", "bqserver", "token", "add", "eve", "--read-only"]
    token = subprocess.check_output(
        [*add, f"--named-tokens={folder / 'tokens.json'}"], text=True, stderr=subprocess.DEVNULL
    ).split()[0]
    audit = folder / "audit.jsonl"
    server = ServerProcess(
        f"sqlite:{folder / 'log.sqlite'}",
        f"--audit-log={audit}",
        f"--named-tokens={folder / 'tokens.json'}",
        prefix=("sh", "-c", f'ulimit -n {FILES}; exec "$@"', "sh"),
    )
    try:
        server.start()
        figures = asyncio.run(measure(server.url, server.pid, token, seconds=seconds, count=count, kind=kind))
        lines = [line for line in audit.read_text().splitlines() if json.loads(line)["what"] not in MEMBERS_LINES]
        lines += server.stderr_output().splitlines()
        figures.log, figures.lines = sum(map(len, lines)), len(lines)
        return figures
    finally:
        server.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        given = dict(enumerate(sys.argv))
        print(run(Path(name), seconds=float(given.get(1, 60)), count=int(given.get(2, 200)), kind=given.get(3, "")))
