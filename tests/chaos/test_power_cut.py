"""Power cuts: no acknowledged message is lost, because every one was synced.

A shim journals every write and sync of a server under load. The server is killed, and the journal is replayed up to
the end and up to random earlier points, strictly and with torn writes. With synchronous=NORMAL acknowledged messages
are lost, which shows that the test detects a loss.

Size 1: 3 rounds of 4 cuts. Size 100: 50 rounds of 20.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, NoReturn

import pytest

from .faults import simulated_disk as disk
from .load import stored
from .load.members import Reader, Sender
from .load.server_process import MODULE, ServerProcess, server_process
from .load.sizes import scaled, seconds

pytestmark = pytest.mark.slow("simulates power cuts")

SENDERS = 8
ROUNDS = scaled(3, 50)
CUTS = scaled(4, 20)
ACKS_PER_ROUND = scaled(400, 1_500)
UNSYNCED_SERVER = (str(Path(__file__).with_name("faults") / "unsynced_server.py"),)


class Ack(NamedTuple):
    """A message known to be in the log. ``journal``: an upper bound of the journal's length in bytes at that time.
    ``own``: known from an acknowledgement of this round; otherwise a reader received it.
    """

    cid: str
    seq: int
    journal: int
    own: bool


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory, missing: Callable[[str], NoReturn]) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc") or missing("a C compiler (cc) for the power-cut shim")
    library = tmp_path_factory.mktemp("shim") / "powercut.so"
    source = Path(__file__).with_name("faults") / "powercut.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", library, source, "-ldl", "-lpthread"], check=True)
    return library


@pytest.mark.timeout(seconds(120))
def test_a_power_cut_loses_no_acknowledged_message(shim: Path, tmp_path: Path):
    cuts, acked = power_cuts(shim, tmp_path.resolve(), MODULE)
    assert [lost for lost in cuts if lost] == []
    assert acked >= ROUNDS * ACKS_PER_ROUND
    print(f"\npower cut: {ROUNDS} rounds, {len(cuts):,} cuts, {acked:,} acknowledged, 0 lost")


@pytest.mark.timeout(seconds(120))
def test_a_server_that_does_not_sync_its_commits_is_detected(shim: Path, tmp_path: Path):
    cuts, acked = power_cuts(shim, tmp_path.resolve(), UNSYNCED_SERVER)
    assert sum(map(len, cuts)) > 0
    print(
        f"\npower cut, synchronous=NORMAL: {sum(map(len, cuts)):,} lost in {len(cuts):,} cuts of {acked:,} acknowledged"
    )


def power_cuts(shim: Path, folder: Path, program: tuple[str, ...]) -> tuple[list[list[str]], int]:
    """Returns the acknowledged cids that each cut lost, and the number of acknowledged messages.

    Each round starts from the disk that the last cut of the previous round left.
    """
    state, journal = folder / "disk", folder / "journal"
    state.mkdir()
    environ = {"LD_PRELOAD": str(shim), "POWERCUT_DISK": str(state), "POWERCUT_JOURNAL": str(journal)}
    lost: list[list[str]] = []
    kept: dict[str, int] = {}
    total = 0
    with server_process(state / "log.sqlite", program=program, environ=environ) as server:
        server.kill()
        for number in range(ROUNDS):
            journal.unlink(missing_ok=True)
            before = disk.Disk(state)
            server.start()
            acks = asyncio.run(load(server, journal, f"{number}"))
            total += sum(one.own for one in acks)
            cids, left = cut(before, journal.read_bytes(), acks, kept, folder / "after")
            lost += cids
            disk.write(state, left)
            kept = {str(cid): seq for seq, cid in stored.entries(state / "log.sqlite")}
    return lost, total


def cut(
    before: disk.Disk, journal: bytes, acks: list[Ack], kept: dict[str, int], after: Path
) -> tuple[list[list[str]], dict[str, bytes]]:
    """Replay the journal, and cut the power at CUTS random points and at the end.

    Returns the cids missing after each cut, and the disk after the last one, which is strict.
    """
    records = list(disk.records(journal))
    rng = random.Random(len(records))
    end = records[-1].end
    moments = {*(rng.choice(records).end for _ in range(CUTS)), end}
    lost, left = [], {}
    for record in records:
        before.apply(record)
        if record.end in moments:
            torn = record.end != end and rng.random() < 0.5
            left = before.after_cut(rng if torn else None)
            acked = {one.cid: one.seq for one in acks if one.journal <= record.end}
            lost.append(missing_from(left, after, {**kept, **acked}))
    return lost, left


def missing_from(files: dict[str, bytes], folder: Path, acked: dict[str, int]) -> list[str]:
    """Open the log on that disk. Returns the acknowledged cids that are missing or have another seq."""
    disk.write(folder, files)
    path = folder / "log.sqlite"
    if not acked:
        return []  # the log may not exist yet
    assert stored.problems(path) == []
    found = {cid: seq for seq, cid in stored.entries(path)}
    return [cid for cid, seq in acked.items() if found.get(cid) != seq]


async def load(server: ServerProcess, journal: Path, name: str) -> list[Ack]:
    """Send until enough messages are acknowledged, then kill the server. Messages a reader received count as acknowledged."""
    sizes: dict[str, int] = {}
    done = asyncio.Event()
    goal = random.randint(ACKS_PER_ROUND, ACKS_PER_ROUND + 200)

    def on_ack(cid: str) -> None:
        sizes[cid] = journal_size(journal)
        if len(sizes) >= goal:
            done.set()

    senders = [Sender(server.url, "lobby", f"{name}-{number}", on_ack=on_ack) for number in range(SENDERS)]
    reader = Reader(server.url, "lobby")
    running = [asyncio.create_task(member.run()) for member in (*senders, reader)]
    await done.wait()
    server.kill()
    end = journal_size(journal)
    for member in (*senders, reader):
        member.stop()
    await asyncio.gather(*running)
    acks = [Ack(cid, seq, sizes[cid], own=True) for sender in senders for cid, seq in sender.acked.items()]
    received = [Ack(str(cid), seq, end, own=False) for seq, cid in reader.entries if cid not in sizes]
    return acks + received


def journal_size(journal: Path) -> int:
    return journal.stat().st_size
