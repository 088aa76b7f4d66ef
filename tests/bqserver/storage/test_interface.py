"""The contract of MessageLog, tested with every engine."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from bqserver.model import Bounds, Outcome, Rejected, RoomRow, Stored, Submission
from bqserver.storage.interface import MessageLog, messages_around, messages_at
from bqserver.storage.memory import MemoryLog
from bqserver.storage.nats import publisher
from bqserver.storage.nats.log import open_log
from bqserver.storage.sqlite.log import SqliteLog
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from support.submissions import submissions

from bqwidget.protocol import Delete, Edit, React, Send

Opener = Callable[[], contextlib.AbstractAsyncContextManager[MessageLog]]


@pytest.fixture(params=["memory", "sqlite", "nats"])
def new_log(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Opener:
    """``async with new_log() as log``."""
    monkeypatch.setattr(publisher, "PUBLISH_TIMEOUT", 100.0)  # thousands at once take long on a busy machine
    url = request.getfixturevalue("nats_single").log() if request.param == "nats" else ""

    @asynccontextmanager
    async def opener() -> AsyncIterator[MessageLog]:
        log: MessageLog = MemoryLog()
        if request.param == "sqlite":
            log = SqliteLog(tmp_path / "log.sqlite")
        if request.param == "nats":
            log = await open_log(url, tmp_path / "view.sqlite", single=True)
        try:
            yield log
        finally:
            await log.close()

    return opener


def hi(text: str = "hi", cid: str = "", room: str = "lobby") -> Submission:
    return Submission(room, "ada", Send(cid=cid, user="ada", text=text))


def edit(target: int, text: str) -> Submission:
    return Submission("lobby", "ada", Edit(cid=f"edit-{target}-{text}", user="ada", target=target, text=text))


def test_the_format_of_a_text_is_stored_and_part_of_what_a_cid_stands_for(new_log: Opener):
    def send(**more: Any) -> Submission:
        return Submission("lobby", "ada", Send(cid="one", user="ada", text="2*3*4", **more))

    async def scenario(log: MessageLog) -> None:
        assert isinstance((await log.append([send(format="plain")]))[0], Stored)
        again, other = await log.append([send(format="plain"), send()])
        assert isinstance(again, Stored)
        assert again.dup
        assert isinstance(other, Rejected)
        assert other.code == "conflict"
        assert [json.loads(body)["format"] for body in await log.messages("lobby", limit=50)] == ["plain"]

    run_scenario(new_log, scenario)


def run_scenario(new_log: Opener, scenario: Callable[[MessageLog], Awaitable[None]]) -> None:
    async def main() -> None:
        async with new_log() as log:
            await scenario(log)

    asyncio.run(main())


async def texts(log: MessageLog, limit: int = 50, before: int | None = None, after: int | None = None) -> list[str]:
    found = await log.messages("lobby", limit=limit, before=before, after=after)
    return [json.loads(body)["text"] for body in found]


def test_a_new_log_is_empty(new_log: Opener):
    async def scenario(log: MessageLog) -> None:
        assert await log.bounds("lobby") == Bounds(0, 0)
        assert await log.messages("lobby", limit=50) == []
        assert await log.entries("lobby", after=0, upto=100, limit=100) == []
        assert await log.rooms() == []
        assert log.healthy()
        assert log.epoch

    run_scenario(new_log, scenario)


def test_outcomes_have_the_order_of_the_batch(new_log: Opener):
    async def scenario(log: MessageLog) -> None:
        outcomes = await log.append([hi("1", "a"), hi("2", "a"), hi("1", "a"), edit(77, "x"), hi("3")])
        assert [type(one) for one in outcomes] == [Stored, Rejected, Stored, Rejected, Stored]
        assert [one.dup for one in outcomes if isinstance(one, Stored)] == [False, True, False]

    run_scenario(new_log, scenario)


def test_listeners_get_each_new_entry_once_and_in_order(new_log: Opener):
    async def scenario(log: MessageLog) -> None:
        received: list[Stored] = []
        log.subscribe(received.extend)
        futures = [log.append([hi(str(number), str(number // 2))]) for number in range(40)]
        outcomes = [one for done in futures for one in await done]
        new = [one for one in outcomes if isinstance(one, Stored) and not one.dup]
        assert received == new == await log.entries("lobby", after=0, upto=99, limit=99)
        assert [entry.seq for entry in received] == list(range(1, 21))

    run_scenario(new_log, scenario)


def test_listeners_get_an_entry_before_append_returns(new_log: Opener):
    async def scenario(log: MessageLog) -> None:
        received: list[Stored] = []
        log.subscribe(received.extend)
        outcomes: list[Outcome] = await log.append([hi()])
        assert received == outcomes

    run_scenario(new_log, scenario)


def test_entries_and_count_respect_both_bounds_and_the_limit(new_log: Opener):
    async def scenario(log: MessageLog) -> None:
        await log.append([hi(str(number)) for number in range(1, 11)])
        seqs = [entry.seq for entry in await log.entries("lobby", after=3, upto=8, limit=99)]
        assert seqs == [4, 5, 6, 7, 8]
        assert [entry.seq for entry in await log.entries("lobby", after=3, upto=8, limit=2)] == [4, 5]
        assert await log.entries("lobby", after=10, upto=1 << 60, limit=2) == []
        assert await log.count("lobby", after=3, upto=8, limit=99) == 5
        assert await log.count("lobby", after=3, upto=8, limit=2) == 2
        assert await log.count("lobby", after=8, upto=3, limit=2) == 0
        assert await log.count("lobby", after=0, upto=1 << 60, limit=99) == 10
        assert await log.count("nowhere", after=0, upto=1 << 60, limit=99) == 0
        assert await log.bounds("lobby") == Bounds(1, 10)

    run_scenario(new_log, scenario)


def test_messages_are_paged_both_ways_without_changes(new_log: Opener):
    async def scenario(log: MessageLog) -> None:
        await log.append([hi("1"), hi("2"), edit(1, "1!"), hi("4"), edit(2, "2!"), hi("6")])
        assert await texts(log) == ["1!", "2!", "4", "6"]
        assert await texts(log, 2) == ["4", "6"]
        assert await texts(log, 2, before=6) == ["2!", "4"]
        assert await texts(log, 2, after=1) == ["2!", "4"]
        assert await texts(log, 9, after=1, before=6) == ["2!", "4"]
        assert await texts(log, 9, after=6) == []
        assert await texts(log, 9, before=0) == []
        assert await texts(log, 9, after=1 << 62) == []
        assert await texts(log, 9, before=1 << 62) == ["1!", "2!", "4", "6"]

    run_scenario(new_log, scenario)


def test_rooms_are_independent(new_log: Opener):
    async def scenario(log: MessageLog) -> None:
        batch = [hi("b", room="b"), hi("a", room="a"), hi("b", room="b"), edit(1, "no such room")]
        *_, a, b, rejected = await log.append(batch)
        assert isinstance(a, Stored)
        assert isinstance(b, Stored)
        assert isinstance(rejected, Rejected)
        assert await log.rooms() == [RoomRow("a", a.seq), RoomRow("b", b.seq)]
        assert len(await log.messages("a", limit=50)) == 1

    run_scenario(new_log, scenario)


@pytest.mark.parametrize("target", [1 << 40, (1 << 40) + 1, 1 << 41 | 1, 1 << 63, 1 << 70, -1, -(1 << 70)])
def test_a_target_out_of_range_is_not_found(new_log: Opener, target: int):
    async def scenario(log: MessageLog) -> None:
        await log.append([hi(room="lobby"), hi(room="b"), hi(room="c"), hi(room="d")])
        rejected, stored = await log.append([edit(target, "gone"), hi("after")])
        assert isinstance(rejected, Rejected)
        assert rejected.status == 404
        assert isinstance(stored, Stored)  # the rest of the batch is not affected
        assert [json.loads(body)["text"] for body in await log.messages("b", limit=9)] == ["hi"]

    run_scenario(new_log, scenario)


def test_a_batch_may_have_any_size(new_log: Opener):
    async def scenario(log: MessageLog) -> None:
        outcomes = await log.append([hi(str(number), f"c{number}") for number in range(13_000)])
        assert [one.seq for one in outcomes if isinstance(one, Stored)] == list(range(1, 13_001))
        repeated = await log.append([hi(str(number), f"c{number}") for number in range(13_000)])
        assert all(one.dup for one in repeated if isinstance(one, Stored))
        assert await log.bounds("lobby") == Bounds(1, 13_000)

    run_scenario(new_log, scenario)


def test_pinned_messages_are_read_apart_from_the_others(new_log: Opener):
    def react(target: int, emoji: str = "📌", *, moderator: bool = True, **more: bool) -> Submission:
        return Submission(
            "lobby", "eve", React(cid="", user="eve", target=target, emoji=emoji, **more), moderator=moderator
        )

    async def pinned(log: MessageLog, **position: int) -> list[str]:
        page: dict[str, int] = {"limit": 50, **position}
        return [json.loads(body)["text"] for body in await log.messages("lobby", pinned=True, **page)]

    async def scenario(log: MessageLog) -> None:
        first, second, third, fourth = [one.seq for one in await log.append([hi(text) for text in "abcd"])]
        assert await pinned(log) == []
        named = react(first, "pinned", moderator=False)  # a reaction of that name
        await log.append([named, react(fourth, pin=True), react(second, pin=True), react(third, pin=True)])
        assert await pinned(log) == ["b", "c", "d"]
        assert await pinned(log, limit=1) == ["d"]
        assert await pinned(log, before=fourth) == ["b", "c"]
        assert await pinned(log, after=second, limit=1) == ["c"]
        assert json.loads((await log.messages("lobby", limit=1))[0]).get("reactions") is None
        for refused in await log.append(
            [react(first, pin=True, moderator=False), react(third, pin=True, on=False, moderator=False)]
        ):
            assert isinstance(refused, Rejected)
            assert refused.code == "forbidden"
        delete = Submission("lobby", "ada", Delete(cid="", user="ada", target=fourth))
        await log.append([edit(second, "B"), react(third, pin=True, on=False), delete])
        assert await pinned(log) == ["B"]

    run_scenario(new_log, scenario)


@pytest.mark.slow("tries random drafts")
@settings(max_examples=30)
@given(drafts=st.lists(submissions(), max_size=30), size=st.integers(1, 9))
def test_memory_and_sqlite_give_the_same_outcomes_and_messages(tmp_path_factory: pytest.TempPathFactory, drafts, size):
    folder = tmp_path_factory.mktemp("logs")

    async def replay(log: MessageLog) -> object:
        outcomes = [
            one for start in range(0, len(drafts), size) for one in await log.append(drafts[start : start + size])
        ]
        results = [replace(one, at=0, body=b"") if isinstance(one, Stored) else one for one in outcomes]
        rooms = await log.rooms()
        contents = [
            (
                await log.bounds(room),
                [_timeless(body) for body in await log.messages(room, limit=99)],
                [_timeless(body) for body in await log.messages(room, limit=99, pinned=True)],
            )
            for room, _ in rooms
        ]
        for _, messages, pinned in contents:
            assert pinned == [message for message in messages if "pinned" in message]
        await log.close()
        return results, rooms, contents

    async def main() -> None:
        assert await replay(MemoryLog()) == await replay(SqliteLog(folder / "log.sqlite"))

    asyncio.run(main())


def _timeless(body: bytes) -> dict[str, object]:
    message = json.loads(body)
    assert message.pop("at")
    for name in ("edited", "expired", "pinned"):
        if name in message:
            message[name] = True
    return message


def test_a_page_around_a_message_has_half_of_it_on_each_side(new_log: Opener):
    async def scenario(log: MessageLog) -> None:
        stored = await log.append([hi(str(number)) for number in range(9)])
        seqs = [one.seq for one in stored]
        (changed,) = await log.append([edit(seqs[4], "four")])

        async def around(seq: int, limit: int) -> list[str]:
            return [json.loads(body)["text"] for body in await messages_around(log, "lobby", seq, limit)]

        assert await around(seqs[4], 5) == ["2", "3", "four", "5", "6"]
        assert await around(seqs[4], 4) == ["2", "3", "four", "5"]
        assert await around(seqs[4], 1) == ["four"]
        assert await around(changed.seq, 3) == ["3", "four", "5"]
        assert await around(seqs[0], 4) == ["0", "1", "2", "3"]
        assert await around(seqs[1], 4) == ["0", "1", "2", "3"]
        assert await around(seqs[8], 4) == ["5", "6", "7", "8"]
        assert await around(seqs[7], 20) == ["0", "1", "2", "3", "four", "5", "6", "7", "8"]
        assert await around(changed.seq + 100, 2) == ["7", "8"]
        assert await messages_around(log, "empty", 1, 5) == []

        async def at(moment: int, limit: int) -> list[str]:
            return [json.loads(body)["text"] for body in await messages_at(log, "lobby", moment, limit)]

        assert await at(stored[5].at, 3) == ["four", "5", "6"]
        assert await at(0, 3) == ["0", "1", "2"]
        assert await at(stored[8].at + 1_000_000, 3) == ["6", "7", "8"]
        assert await messages_at(log, "empty", 5, 5) == []

    run_scenario(new_log, scenario)
