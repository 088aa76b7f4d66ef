"""Letting old messages go in a cluster: every node, old or fresh, then holds the same, and members are told."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import nats.errors
import pytest
from bqserver.cluster.node import join
from bqserver.errors import SettingError, StorageError
from bqserver.hub.hub import Hub
from bqserver.jetstream import api
from bqserver.jetstream.client import JetStreamClient
from bqserver.jetstream.kv import LastValues
from bqserver.model import Bounds, Rejected, Stored, Submission
from bqserver.storage.attachments import StoredAttachment, resolve_attachments
from bqserver.storage.nats import attachment_retention, retention
from bqserver.storage.nats.log import NatsLog, open_log
from bqserver.storage.nats.retention import Retention, Rule, parse_rules
from bqserver.storage.sqlite.check import find_problems
from bqserver.storage.sqlite.log import SqliteLog
from bqserver.storage.sqlite.schema import connect
from bqserver.testing import running_server
from bqserver.transfer.copy import from_stream
from bqserver.web.media import inspect
from nats.aio.msg import Msg
from support.pictures import png
from support.ws_client import member, request

from bqwidget.protocol import Edit, Part, Send


def say(text: str, cid: str = "", room: str = "lobby", re: int | None = None) -> Submission:
    return Submission(room, "ada", Send(cid=cid, user="ada", text=text, re=re))


def edit(target: int, text: str) -> Submission:
    return Submission("lobby", "ada", Edit(cid=f"edit-{target}", user="ada", target=target, text=text))


@asynccontextmanager
async def joined(url: str, view: Path) -> AsyncIterator[NatsLog]:
    """A node that hears what the others order."""
    log = await open_log(url, view, single=True)
    hub = Hub(log)
    await join(log, hub)
    try:
        yield log
    finally:
        await hub.close()


async def stored(log: NatsLog, *submissions: Submission) -> list[Stored]:
    """One after the other, each in a millisecond of its own."""
    entries = []
    for submission in submissions:
        [outcome] = await log.append([submission])
        assert isinstance(outcome, Stored)
        entries.append(outcome)
        await asyncio.sleep(0.003)
    return entries


async def let_go(log: NatsLog, before: int, pattern: str = "*") -> dict[str, int]:
    """Everything from before that time (milliseconds)."""
    assert log._control is not None
    return await Retention(
        log.client, log._control, [Rule(pattern, 60.0)], lambda: before / 1000 + 60
    ).sweep()


def by_size(log: NatsLog, size: int, pattern: str = "*", seconds: float | None = None) -> Retention:
    assert log._control is not None
    return Retention(log.client, log._control, [Rule(pattern, seconds, size)], time.time)


async def kept_bytes(log: NatsLog) -> int:
    """As JetStream itself counts the whole stream."""
    info = await log.client.api_request(f"STREAM.INFO.{log.client.address.stream}")
    return int(info["state"]["bytes"])


async def whole(log: NatsLog) -> tuple[Bounds, list[Stored], list[bytes]]:
    bounds = await log.bounds("lobby")
    entries = await log.entries("lobby", after=0, upto=bounds.seq, limit=500)
    return bounds, entries, await log.messages("lobby", limit=200)


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(retention, "PROPAGATION_DELAY", 0.3)


def test_old_and_fresh_nodes_hold_the_same_afterwards(nats_single, tmp_path: Path):
    url = nats_single.log()

    async def story() -> None:
        async with (
            joined(url, tmp_path / "one.sqlite") as one,
            joined(url, tmp_path / "other.sqlite") as other,
        ):
            first, second = await stored(one, say("first", "c1"), say("second"))
            await other.bounds("lobby")
            about = await stored(one, edit(first.seq, "edited"), say("a reply", re=second.seq), say("third"))
            gone = await let_go(one, about[0].at)
            assert gone == {"lobby": about[0].seq - 1}
            await stored(one, edit(about[1].seq, "a reply, edited"))
            expected = await whole(one)
            bounds, entries, messages = expected
            assert bounds == Bounds(about[0].seq, entries[-1].seq, second.seq)
            assert [entry.prev for entry in entries] == [second.seq, *[entry.seq for entry in entries[:-1]]]
            assert [json.loads(body)["text"] for body in messages] == ["a reply, edited", "third"]
            assert await whole(other) == expected
            [refused] = await other.append([edit(second.seq, "too late")])
            assert isinstance(refused, Rejected)
            assert refused.code == "not_found"
        async with joined(url, tmp_path / "fresh.sqlite") as fresh:
            assert await whole(fresh) == expected
            [again] = await stored(fresh, say("first", "c1"))
            assert (again.dup, again.prev) == (False, entries[-1].seq)  # its cid went with it

    asyncio.run(story())


def test_a_room_of_which_nothing_is_left_goes_on_from_there(nats_single, tmp_path: Path):
    url = nats_single.log()

    async def story() -> None:
        async with joined(url, tmp_path / "one.sqlite") as one:
            *_, last = await stored(one, say("1"), say("2"), say("3"))
            assert await let_go(one, last.at + 10_000) == {"lobby": last.seq}
            assert await one.bounds("lobby") == Bounds(last.seq, last.seq, last.seq)
            assert await one.rooms() == []
            assert await let_go(one, last.at + 10_000) == {}
        async with joined(url, tmp_path / "fresh.sqlite") as fresh:
            [after] = await stored(fresh, say("4"))
            assert after.prev == last.seq
            assert (await whole(fresh))[0] == Bounds(after.seq, after.seq, last.seq)

    asyncio.run(story())


def test_nothing_goes_because_nobody_says_what_is_new(nats_single, tmp_path: Path, monkeypatch):
    """A replica that is behind knows of nothing new, and one that can't answer knows of nothing: both were once taken
    for a room in which all is old.
    """

    async def story() -> None:
        async with joined(nats_single.log(), tmp_path / "view") as log:
            kept = [one.seq for one in await stored(log, say("old"), say("new"))]
            answer = api.get_batch

            async def behind(
                client: JetStreamClient, stream: str, **question: object
            ) -> tuple[list[Msg], bool]:
                return ([], False) if "start_time" in question else await answer(client, stream, **question)

            with monkeypatch.context() as patched:
                patched.setattr(api, "get_batch", behind)
                long_ago = Retention(log.client, log._control, [Rule("*", 60.0)], time.time)
                assert await long_ago.sweep() == {}
            with pytest.raises(nats.errors.NoRespondersError):
                await api.get_batch(log.client, "no-such-stream", seq=1, batch=1, next_by_subj="a")
            assert [one.seq for one in await log.entries("lobby", after=0, upto=1 << 40, limit=9)] == kept

    asyncio.run(story())


def test_only_rooms_that_the_pattern_fits_are_cut(nats_single, tmp_path: Path):
    async def story() -> None:
        async with joined(nats_single.log(), tmp_path / "one.sqlite") as one:
            rooms = ("class-1", "class-2", "lobby")
            entries = await stored(one, *[say("old", room=room) for room in rooms])
            gone = await let_go(one, entries[-1].at + 10_000, "class-*")
            assert set(gone) == {"class-1", "class-2"}
            assert [row.name for row in await one.rooms()] == ["lobby"]

    asyncio.run(story())


def test_a_room_is_cut_to_its_size_as_often_as_it_outgrows_it(nats_single, tmp_path: Path):
    """The oldest goes and no more than needed, whichever node looks: each counts on from where it was."""
    url, limit = nats_single.log(), 40_000

    async def story() -> None:
        async with joined(url, tmp_path / "1.sqlite") as one, joined(url, tmp_path / "2.sqlite") as other:
            here, there = by_size(one, limit), by_size(other, limit)
            upto = 0
            for part, sweeper in enumerate((here, there, here)):
                said = [say(f"{number} {'x' * 300}", f"c{part}-{number}") for number in range(60)]
                *_, last = await stored(one, *said)
                gone = await sweeper.sweep()
                assert await sweeper.sweep() == {}
                if part:
                    assert gone["lobby"] > upto
                    assert 0.97 * limit < await kept_bytes(one) <= limit
                upto = gone.get("lobby", 0)
                assert (await whole(one))[0] == Bounds(upto + 1, last.seq, upto)
            expected = await whole(one)
            assert await whole(other) == expected
        async with joined(url, tmp_path / "fresh.sqlite") as fresh:
            assert await by_size(fresh, limit).sweep() == {}
            assert await whole(fresh) == expected

    asyncio.run(story())


def test_who_comes_back_is_told_of_the_gap(nats_single, tmp_path: Path):
    url = nats_single.log()

    async def story() -> tuple[list[Stored], str]:
        async with joined(url, tmp_path / "one.sqlite") as one:
            entries = await stored(one, *[say(str(number)) for number in range(6)])
            await let_go(one, entries[4].at)
            return entries, one.epoch

    entries, epoch = asyncio.run(story())
    with running_server(log=url, single=True, view=str(tmp_path / "view.sqlite"), open=True) as server:
        with member(server.url, query=f"?after={entries[1].seq}&epoch={epoch}") as one:
            hello = one.recv()
            assert (hello["oldest"], hello["resumed"]) == (entries[4].seq, True)
            gap = one.until("gap")
            assert (gap["from"], gap["to"], gap["reason"]) == (entries[1].seq, entries[3].seq, "trimmed")
            assert one.until("message")["prev"] == gap["to"]
        assert [entry["text"] for entry in request(server.url, "GET", "/messages").json] == ["4", "5"]


def test_rules_are_read_and_wrong_ones_named():
    assert parse_rules(["class-*=30d", "*=90m"]) == [Rule("class-*", 30 * 86_400), Rule("*", 5_400)]
    assert parse_rules(["logs-*=100MB", "*=1w,2kB", "a=3GB,1h"]) == [
        Rule("logs-*", None, 100_000_000),
        Rule("*", 7 * 86_400, 2_000),
        Rule("a", 3_600, 3_000_000_000),
    ]
    for wrong in (
        *("class", "=3d", "a=0d", "a=3y", "a=3", "a.b=3d", "a=-3d"),
        *("a=", "a=0MB", "a=3mb", "a=1d,", "a=,1MB", "a=1d,2d", "a=1MB,2MB", "a=1d1MB", "a=1MB,1d,2d"),
    ):
        with pytest.raises(
            SettingError, match=r"--retain=.* is not understood: use PATTERN=AGE, PATTERN=SIZE"
        ):
            parse_rules([wrong])


def test_a_server_with_rules_does_it_by_itself(nats_single, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(retention, "SWEEP_INTERVAL", 0.05)
    monkeypatch.setitem(retention.AGE_UNITS, "m", 0.001)
    options = {"log": nats_single.log(), "single": True, "view": str(tmp_path / "v.sqlite"), "open": True}
    rules = ["old-*=1m", "big-*=1kB,9w"]
    with running_server(**options, retain=rules) as server:
        with member(server.url, "old-1") as one:
            one.say("soon gone")
            one.until("ack")
        with member(server.url, "big-1") as one:
            for number in range(3):
                one.say("x" * 500, cid=f"c{number}")
                one.until("ack")
        for room, left in (("old-1", 0), ("big-1", 1)):
            while len(request(server.url, "GET", f"/rooms/{room}/messages").json) > left:
                pass


def test_what_is_left_is_copied(nats_single, tmp_path: Path):
    url = nats_single.log()

    async def story() -> list[bytes]:
        async with joined(url, tmp_path / "one.sqlite") as one:
            first, second = await stored(one, say("first"), say("second"))
            about = await stored(one, edit(first.seq, "edited"), say("a reply", re=second.seq))
            await stored(one, edit(about[1].seq, "a reply, edited"))
            await let_go(one, about[0].at)
        await from_stream(url, tmp_path / "copy.sqlite", credentials="", on_progress=lambda *_: None)
        log = SqliteLog(tmp_path / "copy.sqlite")
        messages = await log.messages("lobby", limit=9)
        await log.close()
        return messages

    [reply] = map(json.loads, asyncio.run(story()))
    assert (reply["text"], reply["seq"], reply.get("re")) == ("a reply, edited", 1, None)
    with contextlib.closing(connect(tmp_path / "copy.sqlite", readonly=True)) as db:
        assert list(find_problems(db)) == []


# ---- attachments


@asynccontextmanager
async def with_picture(url: str, view: Path, *rooms: str) -> AsyncIterator[tuple[NatsLog, Part]]:
    """A node on which each of the rooms has the same attachment, uploaded and not named yet."""
    async with joined(url, view) as log:
        part = inspect("image/png", png(2, 2))
        for room in rooms:
            await log.attachments.put(room, StoredAttachment(part, png(2, 2)))
        yield log, part


async def show(log: NatsLog, part: Part, room: str = "lobby") -> Stored:
    """A message that names it, as the server takes one."""
    draft = await resolve_attachments(
        log.attachments, room, Send(cid="", user="ada", text="look", parts=(part,))
    )
    assert isinstance(draft, Send)
    [entry] = await stored(log, Submission(room, "ada", draft))
    return entry


async def messages(log: NatsLog, stream: str) -> int:
    info = await log.client.api_request(f"STREAM.INFO.{stream}")
    return int(info["state"]["messages"])


async def left(log: NatsLog) -> tuple[int, int]:
    """Marks, and what the object store holds: a description and a piece of bytes for each attachment."""
    name = log.client.address.stream
    return await messages(log, f"KV_{name}-named"), await messages(log, f"OBJ_{name}-parts")


async def a_day_later(log: NatsLog) -> None:
    """Uploads are forgotten."""
    await log.client.api_request(f"STREAM.PURGE.OBJ_{log.client.address.stream}-uploads")


@asynccontextmanager
async def shown(url: str, view: Path) -> AsyncIterator[tuple[NatsLog, Part, Stored]]:
    """A node, an attachment of its lobby, and the one message that named it, a day ago."""
    async with with_picture(url, view, "lobby") as (log, part):
        entry = await show(log, part)
        await a_day_later(log)
        yield log, part, entry


@pytest.fixture
def no_slack(monkeypatch):
    monkeypatch.setattr(attachment_retention, "RETENTION_MARGIN", 0.0)


@pytest.mark.usefixtures("no_slack")
def test_an_attachment_goes_with_the_last_message_that_named_it(nats_single, tmp_path: Path):
    async def story() -> None:
        async with with_picture(nats_single.log(), tmp_path / "one.sqlite", "lobby", "other") as (log, part):
            for room in ("lobby", "other"):
                await show(log, part, room)
            [second] = await stored(log, say("no picture"))
            third = await show(log, part)
            await stored(log, say("none here"))
            await a_day_later(log)
            await let_go(log, second.at, "lobby")
            assert await log.attachments.get("lobby", part.sha256)  # the third names it still
            assert await left(log) == (2, 4)
            await let_go(log, third.at + 1, "lobby")
            assert await log.attachments.get("lobby", part.sha256) is None
            assert await log.attachments.reference("lobby", [part.sha256]) == {}
            assert await log.attachments.get("other", part.sha256)  # where nothing is let go
            assert await left(log) == (1, 2)
            await log.attachments.put("lobby", StoredAttachment(part, png(2, 2)))
            await show(log, part)
            assert await log.attachments.get("lobby", part.sha256)

    asyncio.run(story())


@pytest.mark.usefixtures("no_slack")
def test_one_of_a_room_of_which_nothing_is_left_goes_too(nats_single, tmp_path: Path):
    async def story() -> None:
        async with shown(nats_single.log(), tmp_path / "one.sqlite") as (log, part, entry):
            await let_go(log, entry.at + 10_000)
            assert await log.attachments.get("lobby", part.sha256) is None
            assert await left(log) == (0, 0)

    asyncio.run(story())


def test_what_was_uploaded_again_has_its_day_whatever_goes(nats_single, tmp_path: Path):
    async def story() -> None:
        async with shown(nats_single.log(), tmp_path / "one.sqlite") as (log, part, entry):
            await log.attachments.put("lobby", StoredAttachment(part, png(2, 2)))
            await let_go(log, entry.at + 10_000)
            await show(log, part)
            assert await log.attachments.get("lobby", part.sha256)

    asyncio.run(story())


@pytest.mark.usefixtures("no_slack")
def test_one_that_is_named_just_before_it_would_go_stays(nats_single, tmp_path: Path, monkeypatch):
    async def story() -> None:
        async with shown(nats_single.log(), tmp_path / "one.sqlite") as (log, part, entry):
            remove = attachment_retention._remove

            async def late(*seen):
                await show(log, part)
                return await remove(*seen)

            monkeypatch.setattr(attachment_retention, "_remove", late)
            await let_go(log, entry.at + 10_000)
            found = await log.attachments.get("lobby", part.sha256)
            assert found is not None
            assert found.body == png(2, 2)

    asyncio.run(story())


@pytest.mark.usefixtures("no_slack")
def test_one_that_is_uploaded_and_named_while_it_goes_is_kept_anew(nats_single, tmp_path: Path, monkeypatch):
    async def story() -> None:
        async with shown(nats_single.log(), tmp_path / "one.sqlite") as (log, part, entry):
            put = LastValues.put

            async def late(values, key, value, **more):
                seq = await put(values, key, value, **more)
                if value == attachment_retention.REMOVED:
                    await log.attachments.put("lobby", StoredAttachment(part, png(2, 2)))
                    await show(log, part)
                    await a_day_later(log)
                return seq

            with monkeypatch.context() as patched:
                patched.setattr(LastValues, "put", late)
                await let_go(log, entry.at + 10_000)
            found = await log.attachments.get("lobby", part.sha256)
            assert found is not None
            assert found.body == png(2, 2)
            assert await left(log) == (1, 2)

    asyncio.run(story())


@pytest.mark.usefixtures("no_slack")
@pytest.mark.parametrize("where", ["put", "purge"])
def test_a_sweep_that_was_interrupted_is_finished_by_the_next(
    nats_single, tmp_path: Path, monkeypatch, where
):
    async def story() -> None:
        async with shown(nats_single.log(), tmp_path / "one.sqlite") as (log, part, entry):
            do = getattr(LastValues, where)

            async def cut(values, *args, **more):
                if "OBJ" in values._stream:
                    raise StorageError("cut")
                return await do(values, *args, **more)

            with monkeypatch.context() as patched, pytest.raises(StorageError, match="cut"):
                patched.setattr(LastValues, where, cut)
                await let_go(log, entry.at + 10_000)
            assert await left(log) == (1, 2)
            await let_go(log, 0)
            assert await log.attachments.get("lobby", part.sha256) is None
            assert await left(log) == (0, 0)

    asyncio.run(story())


@pytest.mark.usefixtures("no_slack")
def test_one_that_goes_while_it_is_named_is_not_named(nats_single, tmp_path: Path, monkeypatch):
    async def story() -> None:
        async with shown(nats_single.log(), tmp_path / "one.sqlite") as (log, part, entry):
            get = LastValues.get

            async def late(values, key):
                found = await get(values, key)
                monkeypatch.setattr(LastValues, "get", get)
                await let_go(log, entry.at + 10_000)
                return found

            monkeypatch.setattr(LastValues, "get", late)
            assert await log.attachments.reference("lobby", [part.sha256]) == {}
            assert await left(log) == (0, 0)

    asyncio.run(story())


def test_many_that_name_one_at_once_on_two_nodes_keep_it_once(nats_single, tmp_path: Path):
    async def story() -> None:
        url = nats_single.log()
        async with (
            with_picture(url, tmp_path / "one.sqlite", "lobby") as (one, part),
            joined(url, tmp_path / "other.sqlite") as other,
        ):
            for nodes in [one] * 20, [one, other] * 20:
                named = await asyncio.gather(
                    *[node.attachments.reference("lobby", [part.sha256]) for node in nodes]
                )
                assert named == [{part.sha256: part}] * len(nodes)
                assert await left(one) == (1, 2)
            await a_day_later(one)
            assert await other.attachments.get("lobby", part.sha256)

    asyncio.run(story())


def test_one_that_was_kept_and_never_marked_is_marked_when_it_is_named(nats_single, tmp_path: Path):
    async def story() -> None:
        async with with_picture(nats_single.log(), tmp_path / "one.sqlite", "lobby") as (log, part):
            await show(log, part)
            await a_day_later(log)
            await log.client.api_request(f"STREAM.PURGE.KV_{log.client.address.stream}-named")
            await show(log, part)
            assert await left(log) == (1, 2)

    asyncio.run(story())


def test_without_an_answer_for_a_room_nothing_of_it_goes(nats_single, tmp_path: Path, monkeypatch):
    """Neither what a replica does not know nor a leader's error means that there is nothing."""

    async def story() -> None:
        async with with_picture(nats_single.log(), tmp_path / "one.sqlite", "lobby") as (log, part):
            entry = await show(log, part)
            sweeper = Retention(log.client, log._control, [Rule("*", 60.0)], time.time)

            async def nothing(*_args):
                return [], False

            async def no_leader(_subject, _question=None):
                return {"error": {"code": 503, "err_code": 10008, "description": "no leader"}}

            monkeypatch.setattr(sweeper, "_read", nothing)
            assert await sweeper._kept_since("lobby") is None
            with monkeypatch.context() as patched, pytest.raises(TimeoutError):
                patched.setattr(log.client, "api_request", no_leader)
                await sweeper._kept_since("lobby")
            assert await api.leader_last_seq(log.client, "lobby") == entry.seq
            assert await api.leader_last_seq(log.client, "nobody-here") == 0

    asyncio.run(story())
