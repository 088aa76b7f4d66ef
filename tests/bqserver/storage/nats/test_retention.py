"""Retention in a cluster: every node, running or new, then holds the same. What a file does too: ../test_retention.py."""

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
from bqserver.errors import StorageError
from bqserver.hub.hub import Hub
from bqserver.jetstream import api
from bqserver.jetstream.client import NatsClient
from bqserver.jetstream.kv import LastValues
from bqserver.model import Bounds, Rejected, Stored, Submission
from bqserver.storage.attachments import StoredAttachment, resolve_attachments
from bqserver.storage.nats import attachment_retention, retention
from bqserver.storage.nats.log import NatsLog, open_log
from bqserver.storage.nats.retention import Retention
from bqserver.storage.retention import Rule
from bqserver.storage.sqlite.check import find_problems
from bqserver.storage.sqlite.log import SqliteLog
from bqserver.storage.sqlite.schema import connect
from bqserver.transfer.copy import from_stream
from bqserver.web.media import inspect
from nats.aio.msg import Msg
from support.pictures import png

from bqwidget.protocol import Edit, Part, Send


def say(text: str, cid: str = "", room: str = "lobby", re: int | None = None) -> Submission:
    return Submission(room, "ada", Send(cid=cid, user="ada", text=text, re=re))


def edit(target: int, text: str) -> Submission:
    return Submission("lobby", "ada", Edit(cid=f"edit-{target}", user="ada", target=target, text=text))


@asynccontextmanager
async def joined_node(url: str, view: Path) -> AsyncIterator[NatsLog]:
    """A node that follows the control state."""
    log = await open_log(url, view, single=True)
    hub = Hub(log)
    await join(log, hub)
    try:
        yield log
    finally:
        await hub.close()


async def stored(log: NatsLog, *submissions: Submission) -> list[Stored]:
    """Append one after the other, each in another millisecond."""
    entries = []
    for submission in submissions:
        [outcome] = await log.append([submission])
        assert isinstance(outcome, Stored)
        entries.append(outcome)
        await asyncio.sleep(0.003)
    return entries


async def trim(log: NatsLog, before: int, pattern: str = "*") -> dict[str, int]:
    """Remove everything from before that time (milliseconds)."""
    assert log._control is not None
    trims = await Retention(log.client, log._control, [Rule(pattern, 60.0)], lambda: before / 1000 + 60).sweep()
    await known(trims, log)
    return trims


async def known(trims: dict[str, int], *logs: NatsLog) -> None:
    """Wait until these nodes know of the trims."""
    async with asyncio.timeout(30):
        for log in logs:
            for room, upto in trims.items():
                while (await log.bounds(room)).trimmed < upto:
                    await asyncio.sleep(0.01)


def by_size(log: NatsLog, size: int, pattern: str = "*", seconds: float | None = None) -> Retention:
    assert log._control is not None
    return Retention(log.client, log._control, [Rule(pattern, seconds, size)], time.time)


async def stream_bytes(log: NatsLog) -> int:
    """As JetStream counts the whole stream."""
    info = await log.client.api_request(f"STREAM.INFO.{log.client.address.stream}")
    return int(info["state"]["bytes"])


async def contents(log: NatsLog) -> tuple[Bounds, list[Stored], list[bytes]]:
    bounds = await log.bounds("lobby")
    entries = await log.entries("lobby", after=0, upto=bounds.seq, limit=500)
    return bounds, entries, await log.messages("lobby", limit=200)


@pytest.fixture(autouse=True)
def short_delay(monkeypatch):
    monkeypatch.setattr(retention, "PROPAGATION_DELAY", 0.3)


def test_running_and_new_nodes_hold_the_same_after_a_trim(nats_single, tmp_path: Path):
    url = nats_single.log()

    async def scenario() -> None:
        async with (
            joined_node(url, tmp_path / "one.sqlite") as one,
            joined_node(url, tmp_path / "other.sqlite") as other,
        ):
            first, second = await stored(one, say("first", "c1"), say("second"))
            await other.bounds("lobby")
            later = await stored(one, edit(first.seq, "edited"), say("a reply", re=second.seq), say("third"))
            trimmed = await trim(one, later[0].at)
            await known(trimmed, other)
            assert trimmed == {"lobby": later[0].seq - 1}
            await stored(one, edit(later[1].seq, "a reply, edited"))
            expected = await contents(one)
            bounds, entries, messages = expected
            assert bounds == Bounds(later[0].seq, entries[-1].seq, second.seq)
            assert [entry.prev for entry in entries] == [second.seq, *[entry.seq for entry in entries[:-1]]]
            assert [json.loads(body)["text"] for body in messages] == ["a reply, edited", "third"]
            assert await contents(other) == expected
            [rejected] = await other.append([edit(second.seq, "too late")])
            assert isinstance(rejected, Rejected)
            assert rejected.code == "not_found"
        async with joined_node(url, tmp_path / "fresh.sqlite") as fresh:
            assert await contents(fresh) == expected
            [again] = await stored(fresh, say("first", "c1"))
            assert (again.dup, again.prev) == (False, entries[-1].seq)  # its cid was removed with it

    asyncio.run(scenario())


def test_nothing_is_removed_when_a_replica_of_the_stream_is_behind_or_silent(nats_single, tmp_path: Path, monkeypatch):
    """A replica that is behind knows no new message, and one that can't answer knows none at all. Both were once
    treated like a room with only old messages.
    """

    async def scenario() -> None:
        async with joined_node(nats_single.log(), tmp_path / "view") as log:
            kept = [one.seq for one in await stored(log, say("old"), say("new"))]
            get_batch = api.get_batch

            async def behind(client: NatsClient, stream: str, **query: object) -> tuple[list[Msg], bool]:
                return ([], False) if "start_time" in query else await get_batch(client, stream, **query)

            with monkeypatch.context() as patched:
                patched.setattr(api, "get_batch", behind)
                sweeper = Retention(log.client, log._control, [Rule("*", 60.0)], time.time)
                assert await sweeper.sweep() == {}
            with pytest.raises(nats.errors.NoRespondersError):
                await api.get_batch(log.client, "no-such-stream", seq=1, batch=1, next_by_subj="a")
            assert [one.seq for one in await log.entries("lobby", after=0, upto=1 << 40, limit=9)] == kept

    asyncio.run(scenario())


def test_a_room_is_trimmed_each_time_it_exceeds_its_size(nats_single, tmp_path: Path):
    """Any node removes the oldest messages and no more than needed; each continues its own count."""
    url, limit = nats_single.log(), 40_000

    async def scenario() -> None:
        async with (
            joined_node(url, tmp_path / "1.sqlite") as one,
            joined_node(url, tmp_path / "2.sqlite") as other,
        ):
            here, there = by_size(one, limit), by_size(other, limit)
            upto = 0
            for part, sweeper in enumerate((here, there, here)):
                batch = [say(f"{number} {'x' * 300}", f"c{part}-{number}") for number in range(60)]
                *_, last = await stored(one, *batch)
                trimmed = await sweeper.sweep()
                await known(trimmed, one, other)
                assert await sweeper.sweep() == {}
                if part:
                    assert trimmed["lobby"] > upto
                    assert 0.97 * limit < await stream_bytes(one) <= limit
                upto = trimmed.get("lobby", 0)
                assert (await contents(one))[0] == Bounds(upto + 1, last.seq, upto)
            expected = await contents(one)
            assert await contents(other) == expected
        async with joined_node(url, tmp_path / "fresh.sqlite") as fresh:
            assert await by_size(fresh, limit).sweep() == {}
            assert await contents(fresh) == expected

    asyncio.run(scenario())


def test_the_remaining_messages_are_copied(nats_single, tmp_path: Path):
    url = nats_single.log()

    async def scenario() -> list[bytes]:
        async with joined_node(url, tmp_path / "one.sqlite") as one:
            first, second = await stored(one, say("first"), say("second"))
            later = await stored(one, edit(first.seq, "edited"), say("a reply", re=second.seq))
            await stored(one, edit(later[1].seq, "a reply, edited"))
            await trim(one, later[0].at)
        await from_stream(url, tmp_path / "copy.sqlite", credentials="", on_progress=lambda *_: None)
        log = SqliteLog(tmp_path / "copy.sqlite")
        messages = await log.messages("lobby", limit=9)
        await log.close()
        return messages

    [reply] = map(json.loads, asyncio.run(scenario()))
    assert (reply["text"], reply["seq"], reply.get("re")) == ("a reply, edited", 1, None)
    with contextlib.closing(connect(tmp_path / "copy.sqlite", readonly=True)) as db:
        assert list(find_problems(db)) == []


# ---- attachments


@asynccontextmanager
async def with_picture(url: str, view: Path, *rooms: str) -> AsyncIterator[tuple[NatsLog, Part]]:
    """A node on which each of the rooms has the same attachment, uploaded and not referenced yet."""
    async with joined_node(url, view) as log:
        part = inspect("image/png", png(2, 2))
        for room in rooms:
            await log.attachments.put(room, StoredAttachment(part, png(2, 2)))
        yield log, part


async def send_picture(log: NatsLog, part: Part, room: str = "lobby") -> Stored:
    """Append a message that references it, as the server does."""
    draft = await resolve_attachments(log.attachments, room, Send(cid="", user="ada", text="look", parts=(part,)))
    assert isinstance(draft, Send)
    [entry] = await stored(log, Submission(room, "ada", draft))
    return entry


async def stream_messages(log: NatsLog, stream: str) -> int:
    info = await log.client.api_request(f"STREAM.INFO.{stream}")
    return int(info["state"]["messages"])


async def remaining(log: NatsLog) -> tuple[int, int]:
    """The number of references, and of messages in the object store: a description and a chunk per attachment."""
    name = log.client.address.stream
    return await stream_messages(log, f"KV_{name}-named"), await stream_messages(log, f"OBJ_{name}-parts")


async def expire_uploads(log: NatsLog) -> None:
    """As a day later."""
    await log.client.api_request(f"STREAM.PURGE.OBJ_{log.client.address.stream}-uploads")


@asynccontextmanager
async def with_sent_picture(url: str, view: Path) -> AsyncIterator[tuple[NatsLog, Part, Stored]]:
    """A node, an attachment of its lobby, and the only message that references it, of a day ago."""
    async with with_picture(url, view, "lobby") as (log, part):
        entry = await send_picture(log, part)
        await expire_uploads(log)
        yield log, part, entry


@pytest.fixture
def no_margin(monkeypatch):
    monkeypatch.setattr(attachment_retention, "RETENTION_MARGIN", 0.0)


@pytest.mark.usefixtures("no_margin")
def test_an_attachment_is_removed_with_the_last_message_that_references_it(nats_single, tmp_path: Path):
    async def scenario() -> None:
        async with with_picture(nats_single.log(), tmp_path / "one.sqlite", "lobby", "other") as (log, part):
            for room in ("lobby", "other"):
                await send_picture(log, part, room)
            [second] = await stored(log, say("no picture"))
            third = await send_picture(log, part)
            await stored(log, say("none here"))
            await expire_uploads(log)
            await trim(log, second.at, "lobby")
            assert await log.attachments.get("lobby", part.sha256)  # the third message references it
            assert await remaining(log) == (2, 4)
            await trim(log, third.at + 1, "lobby")
            assert await log.attachments.get("lobby", part.sha256) is None
            assert await log.attachments.reference("lobby", [part.sha256]) == {}
            assert await log.attachments.get("other", part.sha256)  # nothing is removed there
            assert await remaining(log) == (1, 2)
            await log.attachments.put("lobby", StoredAttachment(part, png(2, 2)))
            await send_picture(log, part)
            assert await log.attachments.get("lobby", part.sha256)

    asyncio.run(scenario())


@pytest.mark.usefixtures("no_margin")
def test_the_attachment_of_an_emptied_room_is_removed(nats_single, tmp_path: Path):
    async def scenario() -> None:
        async with with_sent_picture(nats_single.log(), tmp_path / "one.sqlite") as (log, part, entry):
            await trim(log, entry.at + 10_000)
            assert await log.attachments.get("lobby", part.sha256) is None
            assert await remaining(log) == (0, 0)

    asyncio.run(scenario())


def test_a_repeated_upload_is_kept_for_a_day(nats_single, tmp_path: Path):
    async def scenario() -> None:
        async with with_sent_picture(nats_single.log(), tmp_path / "one.sqlite") as (log, part, entry):
            await log.attachments.put("lobby", StoredAttachment(part, png(2, 2)))
            await trim(log, entry.at + 10_000)
            await send_picture(log, part)
            assert await log.attachments.get("lobby", part.sha256)

    asyncio.run(scenario())


@pytest.mark.usefixtures("no_margin")
def test_an_attachment_that_is_referenced_just_before_its_removal_stays(nats_single, tmp_path: Path, monkeypatch):
    async def scenario() -> None:
        async with with_sent_picture(nats_single.log(), tmp_path / "one.sqlite") as (log, part, entry):
            remove = attachment_retention._remove

            async def remove_later(*args):
                await send_picture(log, part)
                return await remove(*args)

            monkeypatch.setattr(attachment_retention, "_remove", remove_later)
            await trim(log, entry.at + 10_000)
            found = await log.attachments.get("lobby", part.sha256)
            assert found is not None
            assert found.body == png(2, 2)

    asyncio.run(scenario())


@pytest.mark.usefixtures("no_margin")
def test_an_attachment_that_is_uploaded_and_referenced_during_its_removal_stays(
    nats_single, tmp_path: Path, monkeypatch
):
    async def scenario() -> None:
        async with with_sent_picture(nats_single.log(), tmp_path / "one.sqlite") as (log, part, entry):
            put = LastValues.put

            async def put_and_upload(values, key, value, **more):
                seq = await put(values, key, value, **more)
                if value == attachment_retention.REMOVED:
                    await log.attachments.put("lobby", StoredAttachment(part, png(2, 2)))
                    await send_picture(log, part)
                    await expire_uploads(log)
                return seq

            with monkeypatch.context() as patched:
                patched.setattr(LastValues, "put", put_and_upload)
                await trim(log, entry.at + 10_000)
            found = await log.attachments.get("lobby", part.sha256)
            assert found is not None
            assert found.body == png(2, 2)
            assert await remaining(log) == (1, 2)

    asyncio.run(scenario())


@pytest.mark.usefixtures("no_margin")
@pytest.mark.parametrize("method", ["put", "purge"])
def test_an_interrupted_sweep_is_completed_by_the_next(nats_single, tmp_path: Path, monkeypatch, method):
    async def scenario() -> None:
        async with with_sent_picture(nats_single.log(), tmp_path / "one.sqlite") as (log, part, entry):
            call = getattr(LastValues, method)

            async def interrupted(values, *args, **more):
                if "OBJ" in values._stream:
                    raise StorageError("interrupted")
                return await call(values, *args, **more)

            with monkeypatch.context() as patched, pytest.raises(StorageError, match="interrupted"):
                patched.setattr(LastValues, method, interrupted)
                await trim(log, entry.at + 10_000)
            assert await remaining(log) == (1, 2)
            await trim(log, 0)
            assert await log.attachments.get("lobby", part.sha256) is None
            assert await remaining(log) == (0, 0)

    asyncio.run(scenario())


@pytest.mark.usefixtures("no_margin")
def test_an_attachment_that_is_removed_during_a_reference_is_not_found(nats_single, tmp_path: Path, monkeypatch):
    async def scenario() -> None:
        async with with_sent_picture(nats_single.log(), tmp_path / "one.sqlite") as (log, part, entry):
            get = LastValues.get

            async def get_and_trim(values, key):
                found = await get(values, key)
                monkeypatch.setattr(LastValues, "get", get)
                await trim(log, entry.at + 10_000)
                return found

            monkeypatch.setattr(LastValues, "get", get_and_trim)
            assert await log.attachments.reference("lobby", [part.sha256]) == {}
            assert await remaining(log) == (0, 0)

    asyncio.run(scenario())


def test_concurrent_references_on_two_nodes_store_an_attachment_once(nats_single, tmp_path: Path):
    async def scenario() -> None:
        url = nats_single.log()
        async with (
            with_picture(url, tmp_path / "one.sqlite", "lobby") as (one, part),
            joined_node(url, tmp_path / "other.sqlite") as other,
        ):
            for nodes in [one] * 20, [one, other] * 20:
                found = await asyncio.gather(*[node.attachments.reference("lobby", [part.sha256]) for node in nodes])
                assert found == [{part.sha256: part}] * len(nodes)
                assert await remaining(one) == (1, 2)
            await expire_uploads(one)
            assert await other.attachments.get("lobby", part.sha256)

    asyncio.run(scenario())


def test_a_permanent_attachment_without_a_reference_gets_one(nats_single, tmp_path: Path):
    async def scenario() -> None:
        async with with_picture(nats_single.log(), tmp_path / "one.sqlite", "lobby") as (log, part):
            await send_picture(log, part)
            await expire_uploads(log)
            await log.client.api_request(f"STREAM.PURGE.KV_{log.client.address.stream}-named")
            await send_picture(log, part)
            assert await remaining(log) == (1, 2)

    asyncio.run(scenario())


def test_nothing_of_a_room_is_removed_without_an_answer_for_it(nats_single, tmp_path: Path, monkeypatch):
    """Neither an empty answer of a replica nor an error of the leader means that the room is empty."""

    async def scenario() -> None:
        async with with_picture(nats_single.log(), tmp_path / "one.sqlite", "lobby") as (log, part):
            entry = await send_picture(log, part)
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
            assert await api.leader_last_seq(log.client, "unused") == 0

    asyncio.run(scenario())
