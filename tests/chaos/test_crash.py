"""kill -9 under load: nothing acknowledged is lost, nothing is doubled, every reader has the store's list.

Size 1: 4 rounds. Size 100 (BQWIDGET_CHAOS=100): 200 rounds, 300,000 acknowledged, five minutes or so.
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from .load import stored
from .load.members import Reader, Sender
from .load.server_process import ServerProcess, server_process
from .load.sizes import scaled, seconds

SENDERS, READERS = 8, 3
ROUNDS = scaled(4, 200)
ACKS_PER_ROUND = scaled(500, 1_500)


@pytest.mark.timeout(seconds(60))
def test_nothing_acknowledged_is_lost_or_doubled_by_kill_9(tmp_path: Path):
    path = tmp_path / "log.sqlite"
    with server_process(path) as server:
        senders, readers = asyncio.run(rounds(server))
    acked = {cid: seq for sender in senders for cid, seq in sender.acked.items()}
    entries = stored.entries(path)
    assert [line for sender in senders for line in sender.contradictions] == []
    assert len(acked) >= ROUNDS * ACKS_PER_ROUND
    where: dict[str | None, int] = {cid: seq for seq, cid in entries}
    assert [cid for cid, seq in acked.items() if where.get(cid) != seq] == []  # none lost
    assert len(where) == len(entries)  # none doubled
    assert len(entries) == len(acked)  # and none that its sender doesn't know of
    for reader in readers:
        assert reader.entries == entries
    assert stored.wrong(path) == []
    resumes = sum(reader.joins for reader in readers)
    print(
        f"\ncrash: {ROUNDS} kills, {len(acked):,} acknowledged, 0 lost, 0 doubled; {resumes} joins of {READERS} readers"
    )


async def rounds(server: ServerProcess) -> tuple[list[Sender], list[Reader]]:
    enough = asyncio.Event()
    left = 0

    def told(_: str) -> None:
        nonlocal left
        left -= 1
        if left <= 0:
            enough.set()

    senders = [Sender(server.url, "lobby", f"sender-{number}", told=told) for number in range(SENDERS)]
    readers = [Reader(server.url, "lobby") for _ in range(READERS)]
    running = [asyncio.create_task(member.run()) for member in (*senders, *readers)]
    for _ in range(ROUNDS):
        left = random.randint(ACKS_PER_ROUND, ACKS_PER_ROUND + 100)
        enough.clear()
        await enough.wait()
        server.kill()
        await asyncio.to_thread(server.start)
    for sender in senders:
        sender.finish()
    await asyncio.gather(*[sender.idle.wait() for sender in senders])
    newest = max(seq for sender in senders for seq in sender.acked.values())
    late = Reader(server.url, "lobby")  # one that has everything to catch up with
    readers.append(late)
    running.append(asyncio.create_task(late.run()))
    await asyncio.gather(*[reader.reach(newest) for reader in readers])
    assert set(late.gaps) == {"long"}  # once, or again where a slow machine had it rejoin on the way
    for member in (*senders, *readers):
        member.stop()
    await asyncio.gather(*running)
    return senders, readers
