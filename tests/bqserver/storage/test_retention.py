"""``--retain`` with every engine that has it: which messages are removed, and what is left. What is special to a
cluster: nats/test_retention.py; to a file: sqlite/test_retention.py.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from bqserver.errors import SettingError
from bqserver.hub.hub import Hub
from bqserver.model import Bounds, Rejected, Stored, Submission
from bqserver.storage import retention as rules
from bqserver.storage.nats import retention as nats_retention
from bqserver.storage.retention import Rule, parse_rules
from bqserver.storage.sqlite import retention as sqlite_retention
from bqserver.storage.sqlite.log import SqliteLog
from bqserver.testing import running_server
from support.eventually import eventually
from support.ws_client import member, request

from bqwidget.protocol import Delete, Edit, React, Send


class Engine(NamedTuple):
    """``opened()``: the same log each time. ``retention(log, rules, clock)``: its ``sweep`` returns the trims.
    ``options``: of a server with this log.
    """

    opened: Callable[[], AbstractAsyncContextManager[Any]]
    retention: Callable[..., Any]
    options: dict[str, Any]


@pytest.fixture(params=["sqlite", "nats"])
def engine(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    if request.param == "nats":
        monkeypatch.setattr(nats_retention, "PROPAGATION_DELAY", 0.3)
        monkeypatch.setattr(nats_retention.Retention, "interval", 0.05)
        return nats_engine(request.getfixturevalue("nats_single").log(), tmp_path)
    monkeypatch.setattr(sqlite_retention.Retention, "interval", 0.05)
    monkeypatch.setattr(sqlite_retention, "MAX_TRIM_ENTRIES", 2)
    path = tmp_path / "log.sqlite"

    @asynccontextmanager
    async def opened() -> AsyncIterator[SqliteLog]:
        log = SqliteLog(path)
        try:
            yield log
        finally:
            await log.close()

    def make(log: SqliteLog, rules: Sequence[Rule], clock: Callable[[], float]) -> object:
        return sqlite_retention.Retention(rules, log._readers, log._trim, clock)

    return Engine(opened, make, {"log": f"sqlite:{path}", "open": True})


def nats_engine(url: str, folder: Path) -> Engine:
    from bqserver.cluster.node import join
    from bqserver.storage.nats.log import NatsLog, open_log

    @asynccontextmanager
    async def opened() -> AsyncIterator[NatsLog]:
        log = await open_log(url, folder / "view.sqlite", single=True)
        hub = Hub(log)
        await join(log, hub)  # follows the control state
        try:
            yield log
        finally:
            await hub.close()

    def make(log: NatsLog, rules: Sequence[Rule], clock: Callable[[], float]) -> object:
        return nats_retention.Retention(log.client, log._control, rules, clock)

    options = {"log": url, "single": True, "view": str(folder / "served.sqlite"), "open": True}
    return Engine(opened, make, options)


def run(engine: Engine, scenario: Callable[[Any], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        async with engine.opened() as log:
            return await scenario(log)

    return asyncio.run(main())


def say(text: str, cid: str = "", room: str = "lobby", re: int | None = None) -> Submission:
    return Submission(room, "ada", Send(cid=cid, user="ada", text=text, re=re))


def edit(target: int, text: str) -> Submission:
    return Submission("lobby", "ada", Edit(cid=f"edit-{target}", user="ada", target=target, text=text))


async def stored(log: Any, *submissions: Submission) -> list[Stored]:
    """Append one after the other, each in another millisecond."""
    entries = []
    for submission in submissions:
        [outcome] = await log.append([submission])
        assert isinstance(outcome, Stored)
        entries.append(outcome)
        await asyncio.sleep(0.003)
    return entries


async def trim(engine: Engine, log: Any, before: int, pattern: str = "*") -> dict[str, int]:
    """Remove everything from before that time (milliseconds)."""
    trims = await engine.retention(log, [Rule(pattern, 60.0)], lambda: before / 1000 + 60).sweep()
    await known(log, trims)
    return trims


async def known(log: Any, trims: dict[str, int]) -> None:
    """Wait until the log has applied the trims: in a cluster, a node receives a message about its own too."""
    async with asyncio.timeout(30):
        for room, upto in trims.items():
            while (await log.bounds(room)).trimmed < upto:
                await asyncio.sleep(0.01)


async def contents(log: Any) -> tuple[Bounds, list[Stored], list[bytes]]:
    bounds = await log.bounds("lobby")
    entries = await log.entries("lobby", after=0, upto=bounds.seq, limit=500)
    return bounds, entries, await log.messages("lobby", limit=200)


def test_what_is_older_is_removed_and_the_rest_stays(engine: Engine) -> None:
    async def scenario(log: Any) -> tuple[Bounds, list[Stored], list[bytes]]:
        first, second = await stored(log, say("first", "c1"), say("second"))
        later = await stored(log, edit(first.seq, "edited"), say("a reply", re=second.seq), say("third"))
        assert await trim(engine, log, later[0].at) == {"lobby": second.seq}
        assert await trim(engine, log, later[0].at) == {}
        await stored(log, edit(later[1].seq, "a reply, edited"))
        bounds, entries, messages = found = await contents(log)
        assert bounds == Bounds(later[0].seq, entries[-1].seq, second.seq)
        assert [entry.prev for entry in entries] == [second.seq, *[entry.seq for entry in entries[:-1]]]
        assert [json.loads(body)["text"] for body in messages] == ["a reply, edited", "third"]
        return found

    async def again(log: Any) -> None:
        assert await contents(log) == found
        [repeated] = await stored(log, say("first", "c1"))
        assert (repeated.dup, repeated.prev) == (False, found[0].seq)  # its cid was removed with it

    found = run(engine, scenario)
    run(engine, again)


def test_a_removed_message_can_not_be_answered_or_changed(engine: Engine) -> None:
    async def scenario(log: Any) -> None:
        old, kept = await stored(log, say("old"), say("kept"))
        await trim(engine, log, kept.at)
        drafts = [
            edit(old.seq, "too late"),
            Submission("lobby", "ada", Delete(cid="d", user="ada", target=old.seq)),
            Submission("lobby", "bob", React(cid="r", user="bob", target=old.seq, emoji="👍")),
            say("an answer", "a", re=old.seq),
        ]
        for draft in drafts:
            [outcome] = await log.append([draft])
            assert isinstance(outcome, Rejected)
            assert (outcome.code, outcome.status) == ("not_found", 404)
            assert outcome.message == f"this room has no message {old.seq}"

    run(engine, scenario)


def test_an_emptied_room_continues_after_its_last_seq(engine: Engine) -> None:
    async def scenario(log: Any) -> Stored:
        *_, last = await stored(log, say("1"), say("2"), say("3"))
        assert await trim(engine, log, last.at + 10_000) == {"lobby": last.seq}
        assert await log.bounds("lobby") == Bounds(last.seq, last.seq, last.seq)
        assert await log.rooms() == []
        assert await trim(engine, log, last.at + 10_000) == {}
        return last

    async def again(log: Any) -> None:
        [after] = await stored(log, say("4"))
        assert after.prev == last.seq
        assert (await contents(log))[0] == Bounds(after.seq, after.seq, last.seq)

    last = run(engine, scenario)
    run(engine, again)


def test_only_rooms_that_match_the_pattern_are_trimmed(engine: Engine) -> None:
    async def scenario(log: Any) -> None:
        rooms = ("class-1", "class-2", "lobby")
        entries = await stored(log, *[say("old", room=room) for room in rooms])
        assert set(await trim(engine, log, entries[-1].at + 10_000, "class-*")) == {"class-1", "class-2"}
        assert [row.name for row in await log.rooms()] == ["lobby"]

    run(engine, scenario)


def test_a_room_is_trimmed_each_time_it_exceeds_its_size(engine: Engine) -> None:
    """It keeps the newest messages, and as many as fit; a count that begins later finds the same."""
    limit = 40_000

    async def scenario(log: Any) -> None:
        here = engine.retention(log, [Rule("*", None, limit)], time.time)
        upto = 0
        for part in range(3):
            drafts = [say(f"{number} {'x' * 300}", f"c{part}-{number}") for number in range(60)]
            outcomes = await log.append(drafts)
            trims = await here.sweep()
            await known(log, trims)
            assert await here.sweep() == {}
            if part:
                assert trims["lobby"] > upto
            upto = trims.get("lobby", 0)
            bounds, entries, _ = await contents(log)
            assert bounds == Bounds(upto + 1, outcomes[-1].seq, upto)
            assert sum(len(entry.body) for entry in entries) <= limit
        assert 70 <= len(entries) <= 90
        assert await engine.retention(log, [Rule("*", None, limit)], time.time).sweep() == {}

    run(engine, scenario)


def test_a_returning_client_receives_a_gap(engine: Engine) -> None:
    async def scenario(log: Any) -> tuple[list[Stored], str]:
        entries = await stored(log, *[say(str(number)) for number in range(6)])
        await trim(engine, log, entries[4].at)
        return entries, log.epoch

    entries, epoch = run(engine, scenario)
    with running_server(**engine.options) as server:
        with member(server.url, query=f"?after={entries[1].seq}&epoch={epoch}") as one:
            hello = one.recv()
            assert (hello["oldest"], hello["resumed"]) == (entries[4].seq, True)
            gap = one.until("gap")
            assert (gap["from"], gap["to"], gap["reason"]) == (entries[1].seq, entries[3].seq, "trimmed")
            assert one.until("message")["prev"] == gap["to"]
        assert [entry["text"] for entry in request(server.url, "GET", "/messages").json] == ["4", "5"]


def test_rules_are_parsed_and_invalid_ones_are_named() -> None:
    assert parse_rules(["class-*=30d", "*=90m"]) == [Rule("class-*", 30 * 86_400), Rule("*", 5_400)]
    assert parse_rules(["logs-*=100MB", "*=1w,2kB", "a=3GB,1h"]) == [
        Rule("logs-*", None, 100_000_000),
        Rule("*", 7 * 86_400, 2_000),
        Rule("a", 3_600, 3_000_000_000),
    ]
    for invalid in (
        *("class", "=3d", "a=0d", "a=3y", "a=3", "a.b=3d", "a=-3d"),
        *("a=", "a=0MB", "a=3mb", "a=1d,", "a=,1MB", "a=1d,2d", "a=1MB,2MB", "a=1d1MB", "a=1MB,1d,2d"),
    ):
        with pytest.raises(SettingError, match=r"--retain=.* is not understood: use PATTERN=AGE, PATTERN=SIZE"):
            parse_rules([invalid])


def test_a_server_with_rules_removes_old_messages(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(rules.AGE_UNITS, "m", 0.001)
    with running_server(**engine.options, retain=["old-*=1m", "big-*=1kB,9w"]) as server:
        with member(server.url, "old-1") as one:
            one.say("removed soon")
            one.until("ack")
        with member(server.url, "big-1") as one:
            for number in range(3):
                one.say("x" * 500, cid=f"c{number}")
                one.until("ack")
        for room, left in (("old-1", 0), ("big-1", 1)):
            path = f"/rooms/{room}/messages"
            eventually(lambda path=path, left=left: len(request(server.url, "GET", path).json) == left)
