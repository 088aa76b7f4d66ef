"""The log in memory: what it lets go of, and that it lets go of all of it. Its promises: test_interface.py."""

from __future__ import annotations

import asyncio

from bqserver.model import Bounds, Rejected, Stored, Submission
from bqserver.storage.memory import MemoryLog

from bqwidget.protocol import Edit, React, Send


def hi(number: int, cid: str = "") -> Submission:
    return Submission("lobby", "ada", Send(cid=cid, user="ada", text=str(number)))


def test_a_new_one_has_another_epoch():
    assert MemoryLog().epoch != MemoryLog().epoch


def test_it_keeps_the_newest_and_says_from_where():
    async def story() -> None:
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

    asyncio.run(story())


def test_what_it_let_go_can_neither_be_changed_nor_sent_again():
    async def story() -> None:
        log = MemoryLog(min_entries=8)
        await log.append([hi(1, "first")])
        for number in range(2, 40):
            await log.append([hi(number, f"c{number}")])
        [edited] = await log.append(
            [Submission("lobby", "ada", Edit(cid="e", user="ada", target=1, text="x"))]
        )
        [again] = await log.append([hi(1, "first")])
        assert isinstance(edited, Rejected)
        assert isinstance(again, Stored)
        assert not again.dup  # its memory of cids goes as far back as its entries

    asyncio.run(story())


def test_a_message_in_the_same_batch_as_its_trimming_does_no_harm():
    async def story() -> None:
        log = MemoryLog(min_entries=8)
        batch = [hi(1), Submission("lobby", "bob", React(cid="r", user="bob", target=1, emoji="x"))]
        await log.append([*batch, *[hi(number) for number in range(3, 60)]])
        bounds = await log.bounds("lobby")
        assert bounds == Bounds(bounds.oldest, 59, bounds.oldest - 1)
        assert bounds.oldest > 1

    asyncio.run(story())


def test_nothing_of_trimmed_entries_stays_in_memory():
    async def story() -> None:
        log = MemoryLog(min_entries=8)
        for number in range(1_000):
            await log.append([hi(number, f"c{number}")])
        shelf = log._rooms["lobby"]
        assert max(len(shelf.entries), len(shelf.messages), len(shelf.targets), len(shelf.cids)) <= 10

    asyncio.run(story())
