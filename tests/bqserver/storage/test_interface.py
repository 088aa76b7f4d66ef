"""What every MessageLog promises, over each of them."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from bqserver.model import Bounds, Outcome, Rejected, RoomRow, Stored, Submission
from bqserver.storage.interface import MessageLog
from bqserver.storage.memory import MemoryLog
from bqserver.storage.nats.log import open_log
from bqserver.storage.sqlite.log import SqliteLog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.submissions import submissions

from bqwidget.protocol import Edit, Send

Opener = Callable[[], contextlib.AbstractAsyncContextManager[MessageLog]]


@pytest.fixture(params=["memory", "sqlite", "nats"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    """``async with opened() as log``."""
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


def hers(target: int, text: str) -> Submission:
    return Submission("lobby", "ada", Edit(cid=f"edit-{target}-{text}", user="ada", target=target, text=text))


def on(opened: Opener, story: Callable[[MessageLog], Awaitable[None]]) -> None:
    async def main() -> None:
        async with opened() as log:
            await story(log)

    asyncio.run(main())


async def texts(
    log: MessageLog, limit: int = 50, before: int | None = None, after: int | None = None
) -> list[str]:
    found = await log.messages("lobby", limit=limit, before=before, after=after)
    return [json.loads(body)["text"] for body in found]


def test_before_the_first_entry_everything_is_empty(opened: Opener):
    async def story(log: MessageLog) -> None:
        assert await log.bounds("lobby") == Bounds(0, 0)
        assert await log.messages("lobby", limit=50) == []
        assert await log.entries("lobby", after=0, upto=100, limit=100) == []
        assert await log.rooms() == []
        assert log.healthy()
        assert log.epoch

    on(opened, story)


def test_outcomes_come_in_the_order_of_the_batch(opened: Opener):
    async def story(log: MessageLog) -> None:
        outcomes = await log.append([hi("1", "a"), hi("2", "a"), hi("1", "a"), hers(77, "x"), hi("3")])
        assert [type(one) for one in outcomes] == [Stored, Rejected, Stored, Rejected, Stored]
        assert [one.dup for one in outcomes if isinstance(one, Stored)] == [False, True, False]

    on(opened, story)


def test_followers_hear_each_new_entry_once_and_in_order(opened: Opener):
    async def story(log: MessageLog) -> None:
        heard: list[Stored] = []
        log.subscribe(heard.extend)
        futures = [log.append([hi(str(number), str(number // 2))]) for number in range(40)]
        outcomes = [one for done in futures for one in await done]
        new = [one for one in outcomes if isinstance(one, Stored) and not one.dup]
        assert heard == new == await log.entries("lobby", after=0, upto=99, limit=99)
        assert [entry.seq for entry in heard] == list(range(1, 21))

    on(opened, story)


def test_a_follower_hears_of_an_entry_before_its_sender_goes_on(opened: Opener):
    async def story(log: MessageLog) -> None:
        heard: list[Stored] = []
        log.subscribe(heard.extend)
        outcomes: list[Outcome] = await log.append([hi()])
        assert heard == outcomes

    on(opened, story)


def test_entries_are_cut_at_both_ends(opened: Opener):
    async def story(log: MessageLog) -> None:
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

    on(opened, story)


def test_messages_page_both_ways_and_pass_over_changes(opened: Opener):
    async def story(log: MessageLog) -> None:
        await log.append([hi("1"), hi("2"), hers(1, "1!"), hi("4"), hers(2, "2!"), hi("6")])
        assert await texts(log) == ["1!", "2!", "4", "6"]
        assert await texts(log, 2) == ["4", "6"]
        assert await texts(log, 2, before=6) == ["2!", "4"]
        assert await texts(log, 2, after=1) == ["2!", "4"]
        assert await texts(log, 9, after=1, before=6) == ["2!", "4"]
        assert await texts(log, 9, after=6) == []
        assert await texts(log, 9, before=0) == []
        assert await texts(log, 9, after=1 << 62) == []
        assert await texts(log, 9, before=1 << 62) == ["1!", "2!", "4", "6"]

    on(opened, story)


def test_rooms_are_apart(opened: Opener):
    async def story(log: MessageLog) -> None:
        batch = [hi("b", room="b"), hi("a", room="a"), hi("b", room="b"), hers(1, "no such room")]
        *_, a, b, refused = await log.append(batch)
        assert isinstance(a, Stored)
        assert isinstance(b, Stored)
        assert isinstance(refused, Rejected)
        assert await log.rooms() == [RoomRow("a", a.seq), RoomRow("b", b.seq)]
        assert len(await log.messages("a", limit=50)) == 1

    on(opened, story)


@pytest.mark.parametrize("target", [1 << 40, (1 << 40) + 1, 1 << 41 | 1, 1 << 63, 1 << 70, -1, -(1 << 70)])
def test_a_target_beyond_every_log_is_not_found_and_never_another_rooms(opened: Opener, target: int):
    async def story(log: MessageLog) -> None:
        await log.append([hi(room="lobby"), hi(room="b"), hi(room="c"), hi(room="d")])
        refused, stored = await log.append([hers(target, "gone"), hi("after")])
        assert isinstance(refused, Rejected)
        assert refused.status == 404
        assert isinstance(stored, Stored)  # and its neighbours in the batch are untouched
        assert [json.loads(body)["text"] for body in await log.messages("b", limit=9)] == ["hi"]

    on(opened, story)


def test_a_batch_of_any_size_is_taken(opened: Opener):
    async def story(log: MessageLog) -> None:
        outcomes = await log.append([hi(str(number), f"c{number}") for number in range(13_000)])
        assert [one.seq for one in outcomes if isinstance(one, Stored)] == list(range(1, 13_001))
        again = await log.append([hi(str(number), f"c{number}") for number in range(13_000)])
        assert all(one.dup for one in again if isinstance(one, Stored))
        assert await log.bounds("lobby") == Bounds(1, 13_000)

    on(opened, story)


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drafts=st.lists(submissions(), max_size=30), size=st.integers(1, 9))
def test_both_logs_say_and_keep_the_same(tmp_path_factory: pytest.TempPathFactory, drafts, size):
    folder = tmp_path_factory.mktemp("logs")

    async def tell(log: MessageLog) -> object:
        outcomes = [
            one
            for start in range(0, len(drafts), size)
            for one in await log.append(drafts[start : start + size])
        ]
        told = [one._replace(at=0, body=b"") if isinstance(one, Stored) else one for one in outcomes]
        rooms = await log.rooms()
        kept = [
            (await log.bounds(room), [_timeless(body) for body in await log.messages(room, limit=99)])
            for room, _ in rooms
        ]
        await log.close()
        return told, rooms, kept

    async def main() -> None:
        assert await tell(MemoryLog()) == await tell(SqliteLog(folder / "log.sqlite"))

    asyncio.run(main())


def _timeless(body: bytes) -> dict[str, object]:
    message = json.loads(body)
    assert message.pop("at")
    message.pop("edited", None)
    return message
