"""kill -9 under load: no acknowledged message is lost or duplicated, and every reader has exactly the stored list.

Size 1: 4 rounds. Size 100 (BQWIDGET_CHAOS=100): 200 rounds, 300,000 acknowledged messages, about five minutes.
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

pytestmark = pytest.mark.slow("kills a server again and again")

SENDERS, READERS = 8, 3
ROUNDS = scaled(4, 200)
ACKS_PER_ROUND = scaled(500, 1_500)


@pytest.mark.timeout(seconds(120))
def test_kill_9_loses_and_duplicates_no_acknowledged_message(tmp_path: Path):
    path = tmp_path / "log.sqlite"
    with server_process(path) as server:
        senders, readers = asyncio.run(rounds(server))
    acked = {cid: seq for sender in senders for cid, seq in sender.acked.items()}
    entries = stored.entries(path)
    assert [line for sender in senders for line in sender.contradictions] == []
    assert len(acked) >= ROUNDS * ACKS_PER_ROUND
    stored_seqs: dict[str | None, int] = {cid: seq for seq, cid in entries}
    assert [cid for cid, seq in acked.items() if stored_seqs.get(cid) != seq] == []  # none lost
    assert len(stored_seqs) == len(entries)  # none duplicated
    assert len(entries) == len(acked)  # and each is known to its sender
    for reader in readers:
        assert reader.entries == entries
    assert stored.problems(path) == []
    resumes = sum(reader.joins for reader in readers)
    print(
        f"\ncrash: {ROUNDS} kills, {len(acked):,} acknowledged, 0 lost, 0 duplicated; {resumes} joins of {READERS} readers"
    )


async def rounds(server: ServerProcess) -> tuple[list[Sender], list[Reader]]:
    round_done = asyncio.Event()
    acks_left = 0

    def on_ack(_: str) -> None:
        nonlocal acks_left
        acks_left -= 1
        if acks_left <= 0:
            round_done.set()

    senders = [Sender(server.url, "lobby", f"sender-{number}", on_ack=on_ack) for number in range(SENDERS)]
    readers = [Reader(server.url, "lobby") for _ in range(READERS)]
    running = [asyncio.create_task(member.run()) for member in (*senders, *readers)]
    for _ in range(ROUNDS):
        acks_left = random.randint(ACKS_PER_ROUND, ACKS_PER_ROUND + 100)
        round_done.clear()
        await round_done.wait()
        server.kill()
        await asyncio.to_thread(server.start)
    for sender in senders:
        sender.finish()
    await asyncio.gather(*[sender.idle.wait() for sender in senders])
    newest = max(seq for sender in senders for seq in sender.acked.values())
    late = Reader(server.url, "lobby")  # it has to catch up with everything
    readers.append(late)
    running.append(asyncio.create_task(late.run()))
    await asyncio.gather(*[reader.reach(newest) for reader in readers])
    assert set(late.gaps) == {"long"}  # once, or more often if it had to rejoin on a slow machine
    for member in (*senders, *readers):
        member.stop()
    await asyncio.gather(*running)
    return senders, readers
