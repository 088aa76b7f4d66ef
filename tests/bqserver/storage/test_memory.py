"""The in-memory log: removal of old entries. Its contract as a MessageLog: test_interface.py."""

from __future__ import annotations

import asyncio

from bqserver.model import Bounds, Rejected, Stored, Submission
from bqserver.storage.memory import MemoryLog

from bqwidget.protocol import Edit, React, Send


def hi(number: int, cid: str = "") -> Submission:
    return Submission("lobby", "ada", Send(cid=cid, user="ada", text=str(number)))


def test_each_log_has_its_own_epoch():
    assert MemoryLog().epoch != MemoryLog().epoch


def test_the_newest_entries_are_kept_and_bounds_gives_the_oldest():
    async def scenario() -> None:
        log = MemoryLog(min_entries=80)
        for number in range(1, 201):
            await log.append([hi(number)])
        oldest, seq, _ = await log.bounds("lobby")
        assert seq == 200
        assert 80 <= seq - oldest + 1 <= 90
        entries = await log.entries("lobby", after=0, upto=200, limit=500)
        assert [entry.seq for entry in entries] == list(range(oldest, 201))
        assert entries[0].prev == oldest - 1
        assert len(await log.messages("lobby", limit=500)) == len(entries)
        assert len(await log.messages("lobby", limit=500, before=oldest)) == 0

    asyncio.run(scenario())


def test_a_removed_message_cannot_be_changed_and_its_cid_is_free():
    async def scenario() -> None:
        log = MemoryLog(min_entries=8)
        await log.append([hi(1, "first")])
        for number in range(2, 40):
            await log.append([hi(number, f"c{number}")])
        [edited] = await log.append([Submission("lobby", "ada", Edit(cid="e", user="ada", target=1, text="x"))])
        [repeated] = await log.append([hi(1, "first")])
        assert isinstance(edited, Rejected)
        assert isinstance(repeated, Stored)
        assert not repeated.dup  # cids are remembered as long as their entries

    asyncio.run(scenario())


def test_a_message_may_be_removed_by_its_own_batch():
    async def scenario() -> None:
        log = MemoryLog(min_entries=8)
        batch = [hi(1), Submission("lobby", "bob", React(cid="r", user="bob", target=1, emoji="x"))]
        await log.append([*batch, *[hi(number) for number in range(3, 60)]])
        bounds = await log.bounds("lobby")
        assert bounds == Bounds(bounds.oldest, 59, bounds.oldest - 1)
        assert bounds.oldest > 1

    asyncio.run(scenario())


def test_removed_entries_leave_nothing_in_memory():
    async def scenario() -> None:
        log = MemoryLog(min_entries=8)
        for number in range(1_000):
            await log.append([hi(number, f"c{number}")])
        room = log._rooms["lobby"]
        assert max(len(room.entries), len(room.messages), len(room.targets), len(room.cids)) <= 10

    asyncio.run(scenario())


def test_a_search_lets_the_rest_of_the_server_run():
    async def scenario() -> None:
        log = MemoryLog()
        await log.append([hi(number, f"c{number}") for number in range(1, 5_001)])
        searching = asyncio.create_task(log.search("lobby", "nothing", limit=5))
        turns = 0
        while not searching.done():
            await asyncio.sleep(0)
            turns += 1
        assert turns >= 10

    asyncio.run(scenario())
