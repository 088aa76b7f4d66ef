"""Snapshots: a node that has nothing of a room reads it from another node's snapshot, if that is exact."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from bqserver.cluster.node import join
from bqserver.hub.hub import Hub
from bqserver.jetstream import api
from bqserver.jetstream.connection import CONNECTION_ERRORS
from bqserver.jetstream.kv import KeyValue
from bqserver.model import Bounds, Rejected, Stored, Submission
from bqserver.storage.interface import read_view
from bqserver.storage.nats import retention, snapshot, snapshots
from bqserver.storage.nats.consumer import Consumer
from bqserver.storage.nats.log import NatsLog, open_log
from bqserver.storage.nats.records import Record, StreamMessage
from bqserver.storage.nats.replica import Applied, Replica
from bqserver.storage.nats.retention import TRIM_KEY_PREFIX, Retention
from bqserver.storage.nats.snapshot import Snapshot, decode_snapshot, take_snapshot
from bqserver.storage.retention import Rule
from bqserver.storage.sqlite import queries
from bqserver.storage.sqlite.log import SqliteLog
from bqserver.storage.sqlite.schema import connect
from bqserver.testing import running_server
from bqserver.transfer.copy import to_stream
from hypothesis import given, settings
from hypothesis import strategies as st
from support.nats_cluster import nats_cluster
from support.submissions import submissions
from support.ws_client import request

from bqwidget.protocol import Delete, Draft, Edit, React, Send, encode

Scenario = Callable[[], Awaitable[None]]
NEVER = 3600.0
DRAFT = Send(cid="", user="ada", text="x")
REJECTED = Rejected("conflict", "", 409)
WRITE_TIMEOUT = 60.0
"""Seconds for a snapshot to be written: a cluster that was just restarted needs some."""


@pytest.fixture(autouse=True)
def short_intervals(monkeypatch):
    for name, seconds in (
        ("QUIET_PERIOD", 0.1),
        ("MIN_WRITE_INTERVAL", 0.2),
        ("BUSY_INTERVAL", 0.01),
        ("RETRY_INTERVAL", 0.3),
        ("READ_TIMEOUT", 60.0),
    ):
        monkeypatch.setattr(snapshots, name, seconds)


@pytest.fixture
def hold_fills(monkeypatch) -> Callable[[bool], None]:
    """``hold_fills(True)``: fills wait, so an answer did not need one."""
    go, fetch = asyncio.Event(), Consumer._fetch

    async def wait(consumer: Consumer) -> bool:
        await go.wait()
        return await fetch(consumer)

    def hold(on: bool) -> None:
        go.clear() if on else go.set()
        monkeypatch.setattr(Consumer, "_fetch", wait)

    return hold


@asynccontextmanager
async def node(url: str, replica: Path, *, single: bool = True, joined: bool = False) -> AsyncIterator[NatsLog]:
    log = await open_log(url, replica, single=single)
    hub = Hub(log)
    if joined:
        await join(log, hub)
    try:
        yield log
    finally:
        await (hub if joined else log).close()


def say(text: str, room: str = "lobby") -> Submission:
    return Submission(room, "ada", Send(cid="", user="ada", text=text))


def does(draft: Draft) -> Submission:
    return Submission("lobby", "ada", draft)


async def stored(log: NatsLog, *submissions: Submission) -> list[Stored]:
    outcomes = await log.append(submissions)
    assert all(isinstance(one, Stored) for one in outcomes), outcomes
    return [one for one in outcomes if isinstance(one, Stored)]


async def spaced(log: NatsLog, *submissions: Submission) -> list[Stored]:
    """Append each in another millisecond: its time does not depend on a trim of the one before."""
    entries = []
    for submission in submissions:
        entries += await stored(log, submission)
        await asyncio.sleep(0.003)
    return entries


def bucket(log: NatsLog) -> KeyValue:
    return KeyValue(log.client, snapshots.BUCKET, 1)


async def read(log: NatsLog, room: str = "lobby") -> Snapshot | None:
    found = await bucket(log).get_direct(room)
    return decode_snapshot(found.value) if found else None


async def wait_for_snapshot(log: NatsLog, room: str = "lobby") -> Snapshot:
    """The room's snapshot, once it is as new as the stream."""
    loop, state = asyncio.get_running_loop(), "none"
    deadline = loop.time() + WRITE_TIMEOUT
    while loop.time() < deadline:
        try:
            newest, found = await api.leader_last_seq(log.client, room), await read(log, room)
        except CONNECTION_ERRORS as error:
            state = repr(error)
        else:
            if found is not None and found.seq == newest:
                return found
            state = f"{found and found.seq} of {newest}"
        await asyncio.sleep(0.02)
    raise AssertionError(
        f"no snapshot of {room}: {state}; scheduled {log._snapshots._scheduled}, {log._snapshots._task}"
    )


async def wait_until_filled(log: NatsLog, room: str = "lobby") -> None:
    async with asyncio.timeout(30):
        while not log.consumers.is_filled(room):
            await asyncio.sleep(0.02)


def texts(bodies: list[bytes]) -> list[str]:
    return [json.loads(body)["text"] for body in bodies]


def test_a_new_node_serves_a_room_before_it_has_filled_it(nats_three, tmp_path: Path, hold_fills):
    url = nats_three.log()

    async def scenario() -> None:
        async with node(url, tmp_path / "one.sqlite", single=False) as one:
            entries = await stored(one, *[say(str(number)) for number in range(60)])
            await stored(
                one,
                does(Edit(cid="e", user="ada", target=entries[-1].seq, text="edited")),
                does(Delete(cid="d", user="ada", target=entries[-2].seq)),
                does(React(cid="r", user="ada", target=entries[-3].seq, emoji="+", on=True)),
            )
            await wait_for_snapshot(one)
            expected = await one.messages("lobby", limit=50)
            first = await read_view(one, "lobby", 50)
            hold_fills(True)
            async with node(url, tmp_path / "fresh.sqlite", single=False) as fresh:
                assert await fresh.messages("lobby", limit=50) == expected
                assert await fresh.messages("lobby", limit=3) == expected[-3:]
                assert await fresh.room_view("lobby", limit=50) == first
                assert not fresh.consumers.is_filled("lobby")
                hold_fills(False)
                await wait_until_filled(fresh)  # in the background
                assert await fresh.messages("lobby", limit=50) == expected
                assert await fresh.room_view("lobby", limit=50) == first

    asyncio.run(scenario())


def test_both_routes_of_a_new_node_use_the_snapshot(nats_single, tmp_path: Path, hold_fills):
    url = nats_single.log()

    async def scenario() -> None:
        async with node(url, tmp_path / "one.sqlite") as one:
            await stored(one, say("from the snapshot"))
            await wait_for_snapshot(one)

    asyncio.run(scenario())
    hold_fills(True)
    with running_server(log=url, single=True, view=str(tmp_path / "replica.sqlite"), open=True) as server:
        assert texts([json.dumps(one).encode() for one in request(server.url, "GET", "/messages").json]) == [
            "from the snapshot"
        ]
        shown = request(server.url, "GET", "/rooms/lobby").body
        assert b"from the snapshot" in shown
        assert b'"seq":1,"oldest":1' in shown


@pytest.mark.parametrize(
    "change",
    [
        lambda _: say("one more"),
        lambda seq: does(Edit(cid="e", user="ada", target=seq, text="changed")),
        lambda seq: does(Delete(cid="d", user="ada", target=seq)),
        lambda seq: does(React(cid="r", user="ada", target=seq, emoji="+", on=True)),
    ],
    ids=["message", "edit", "delete", "reaction"],
)
def test_an_outdated_snapshot_is_not_used(nats_single, tmp_path: Path, monkeypatch, change):
    url = nats_single.log()

    async def scenario() -> None:
        async with node(url, tmp_path / "one.sqlite") as one:
            *_, last = await stored(one, say("a"), say("b"))
            old = await wait_for_snapshot(one)
            monkeypatch.setattr(snapshots, "QUIET_PERIOD", NEVER)
            await stored(one, change(last.seq))
            assert await read(one) == old
            expected = await one.messages("lobby", limit=50)
            assert expected != old.last(50)
            for method in (NatsLog.messages, NatsLog.room_view):
                async with node(url, tmp_path / f"{method.__name__}.sqlite") as fresh:
                    found = await method(fresh, "lobby", limit=50)
                    assert getattr(found, "messages", found) == expected

    asyncio.run(scenario())


FORGED = Snapshot(
    epoch="another",
    seq=2,
    oldest=1,
    newest=2,
    whole=True,
    messages=[
        msgspec.Raw(b'{"seq":2,"room":"lobby","user":"eve","text":"forged","at":1}'),
    ],
)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\xff{",
        b"null",
        b"[" * 100_000,
        encode(FORGED),
        encode(FORGED)[:-3],
        b'{"epoch":"EPOCH","seq":"2","oldest":1,"newest":2,"whole":true,"messages":[]}',
        b'{"epoch":"EPOCH","seq":2,"oldest":1,"newest":2,"whole":true,"messages":[1]}',
        b'{"epoch":"EPOCH","seq":2,"oldest":1,"newest":2,"whole":true,"messages":[{"seq":2}]}',
    ],
    ids=["empty", "bytes", "null", "deep", "epoch", "torn", "seq", "number", "message"],
)
def test_an_invalid_snapshot_is_ignored_and_replaced(nats_single, tmp_path: Path, value: bytes):
    url = nats_single.log()

    async def scenario() -> None:
        async with node(url, tmp_path / "one.sqlite") as one:
            await stored(one, say("a"), say("b"))
            good = await wait_for_snapshot(one)
            await bucket(one).put("lobby", value.replace(b"EPOCH", one.epoch.encode()))
            async with node(url, tmp_path / "fresh.sqlite") as fresh:
                assert texts(await fresh.messages("lobby", limit=50)) == ["a", "b"]
                async with asyncio.timeout(30):
                    while encode(await read(fresh)) != encode(good):
                        await asyncio.sleep(0.02)

    asyncio.run(scenario())


def test_a_snapshot_that_is_due_while_its_room_is_opened_is_written_later(nats_single, tmp_path: Path, monkeypatch):
    """As on a busy machine: its reader has found none that is valid, and fills the room."""
    url, tried, go = nats_single.log(), asyncio.Event(), asyncio.Event()
    open_consumer, write = Consumer.open, snapshots.Snapshots._write

    async def opened_later(consumer: Consumer) -> None:
        await go.wait()
        await open_consumer(consumer)

    async def written(writer: snapshots.Snapshots, room: str) -> bool:
        is_written = await write(writer, room)
        tried.set()
        return is_written

    async def scenario() -> None:
        async with node(url, tmp_path / "one.sqlite") as one:
            await stored(one, say("a"))
            good = await wait_for_snapshot(one)
            await bucket(one).put("lobby", b"null")
            monkeypatch.setattr(Consumer, "open", opened_later)
            monkeypatch.setattr(snapshots.Snapshots, "_write", written)
            async with node(url, tmp_path / "fresh.sqlite") as fresh:
                reading = asyncio.create_task(fresh.messages("lobby", limit=50))
                await tried.wait()
                go.set()
                assert texts(await reading) == ["a"]
                assert encode(await wait_for_snapshot(fresh)) == encode(good)

    asyncio.run(scenario())


def test_a_deleted_bucket_is_created_again(nats_single, tmp_path: Path):
    url = nats_single.log()

    async def scenario() -> None:
        async with node(url, tmp_path / "one.sqlite") as one:
            await stored(one, say("a"))
            good = await wait_for_snapshot(one)
            await one.client.api_request(f"STREAM.DELETE.KV_{one.client.address.stream}-pages")
            async with node(url, tmp_path / "fresh.sqlite") as fresh:
                assert texts(await fresh.messages("lobby", limit=50)) == ["a"]
                assert encode(await wait_for_snapshot(fresh)) == encode(good)
            await one.client.api_request(f"STREAM.DELETE.KV_{one.client.address.stream}-pages")
            await stored(one, say("b"))  # by the node that created it, too
            assert (await wait_for_snapshot(one)).newest == 2

    asyncio.run(scenario())


def test_trimmed_messages_do_not_come_back_from_a_snapshot(nats_single, tmp_path: Path, hold_fills):
    url = nats_single.log()

    async def scenario() -> None:
        async with node(url, tmp_path / "one.sqlite", joined=True) as one:
            _, second, _ = await spaced(one, *[say(str(number)) for number in range(3)])
            *_, fifth, _ = await stored(
                one,
                *[say(str(number), "third") for number in range(60)],
                say("a", "third"),
                say("b", "third"),
            )
            for room in ("lobby", "third"):
                await wait_for_snapshot(one, room)
            for room, upto in (("lobby", second.seq), ("third", fifth.seq)):
                await one._control.put(f"{TRIM_KEY_PREFIX}{room}", b"%d" % upto)
                query = {"filter": one.client.address.subject(room), "seq": upto + 1}
                await one.client.api_request(f"STREAM.PURGE.{one.client.address.stream}", query)
            hold_fills(True)
            async with node(url, tmp_path / "fresh.sqlite", joined=True) as fresh:
                assert texts(await fresh.messages("lobby", limit=50)) == ["2"]
                assert texts(await fresh.messages("third", limit=50)) == ["b"]  # everything before it is removed
                hold_fills(False)
                shown = await fresh.room_view("lobby", limit=50)
                assert (shown.bounds, texts(shown.messages)) == (Bounds(3, 3, 2), ["2"])
                assert shown == await one.room_view("lobby", limit=50)

    asyncio.run(scenario())


def test_retention_removes_messages_from_snapshots(nats_single, tmp_path: Path, monkeypatch, hold_fills):
    monkeypatch.setattr(retention, "PROPAGATION_DELAY", 0.3)
    url = nats_single.log()

    async def scenario() -> None:
        async with node(url, tmp_path / "one.sqlite", joined=True) as one:
            entries = await spaced(one, *[say(str(number)) for number in range(4)])
            await stored(one, say("young", "other"))
            for room in ("lobby", "other"):
                await wait_for_snapshot(one, room)
            untouched = await bucket(one).get_direct("other")
            monkeypatch.setattr(snapshots, "QUIET_PERIOD", NEVER)
            sweeper = Retention(one.client, one._control, [Rule("lobby", 60.0)], lambda: entries[2].at / 1000 + 60)
            assert await sweeper.sweep() == {"lobby": entries[1].seq}
            trimmed = await read(one)
            assert texts(trimmed.last(50)) == ["2", "3"]
            await snapshots.trim_snapshot(one.client, "other", 1)
            await snapshots.trim_snapshot(one.client, "unused", 1)
            assert await bucket(one).get_direct("other") == untouched
            hold_fills(True)
            async with node(url, tmp_path / "fresh.sqlite", joined=True) as fresh:
                assert texts(await fresh.messages("lobby", limit=50)) == ["2", "3"]

    asyncio.run(scenario())


def test_more_messages_than_a_snapshot_has_come_from_the_room(nats_single, tmp_path: Path, hold_fills, monkeypatch):
    url = nats_single.log()

    async def scenario() -> None:
        async with node(url, tmp_path / "one.sqlite") as one:
            await stored(one, *[say(str(number), "long") for number in range(60)])
            await stored(one, *[say(str(number), "short") for number in range(50)])
            with monkeypatch.context() as patched:
                patched.setattr(snapshot, "MAX_BYTES", 5_000)
                await stored(one, *[say("x" * 900, "wide") for _ in range(9)])
                await stored(one, *[say("x" * 9_000, "wider") for _ in range(2)])
                for room in ("long", "short", "wide"):
                    await wait_for_snapshot(one, room)
                assert await read(one, "wider") is None
            hold_fills(True)
            async with node(url, tmp_path / "fresh.sqlite") as fresh:
                assert len(await fresh.messages("short", limit=200)) == 50
                assert len(await fresh.messages("wide", limit=3)) == 3
                assert len(await fresh.messages("long", limit=50)) == 50
                hold_fills(False)
                assert len(await fresh.messages("long", limit=55)) == 55
                assert len(await fresh.messages("wide", limit=9)) == 9
                assert len(await fresh.messages("wider", limit=9)) == 2

    asyncio.run(scenario())


@settings(max_examples=12)
@given(drafts=st.lists(submissions(), min_size=1, max_size=40))
def test_a_snapshot_equals_the_room_for_any_drafts(nats_single, tmp_path_factory: pytest.TempPathFactory, drafts):
    folder, url = tmp_path_factory.mktemp("replicas"), nats_single.log()

    async def scenario() -> None:
        async with node(url, folder / "one.sqlite") as one, node(url, folder / "fresh.sqlite") as fresh:
            outcomes = await one.append(drafts)
            assert all(isinstance(outcome, (Stored, Rejected)) for outcome in outcomes)
            for room in await api.room_names(one.client):
                await wait_for_snapshot(one, room)
                shown = [await fresh._snapshots.messages(room, limit) for limit in (1, 3, 50)]
                first = await fresh._snapshots.room_view(room, 50)
                assert first is not None
                assert shown == [await one.messages(room, limit=limit) for limit in (1, 3, 50)]
                assert first == await read_view(one, room, 50)
                await fresh.consumers.open(room)
                assert shown[-1] == await fresh.messages(room, limit=50)
                assert first == await fresh.room_view(room, limit=50)

    with pytest.MonkeyPatch.context() as patched:
        # Without the background fill, all reads use the snapshot.
        patched.setattr("bqserver.storage.nats.consumers.Consumers.fill_later", lambda *_: None)
        asyncio.run(scenario())


def test_a_snapshot_is_of_one_moment(tmp_path: Path, monkeypatch):
    def message(seq: int) -> StreamMessage:
        return StreamMessage("lobby", seq, 0, seq, Record("ada", Send(cid="", user="ada", text=str(seq))))

    async def scenario() -> None:
        replica = Replica(tmp_path / "replica.sqlite", "e", lambda _: None)
        await replica.apply([message(1)])
        loop, bounds = asyncio.get_running_loop(), queries.bounds

        async def add() -> None:
            await replica.apply([message(2)])

        def bounds_after_a_change(*args: object) -> Bounds:
            asyncio.run_coroutine_threadsafe(add(), loop).result()
            return bounds(*args)

        try:
            with monkeypatch.context() as patched:
                patched.setattr(queries, "bounds", bounds_after_a_change)
                old = await replica.read(take_snapshot, "e", "lobby")
            new = await replica.read(take_snapshot, "e", "lobby")
            nothing = await replica.read(take_snapshot, "e", "unused")
        finally:
            await replica.close()
        assert (old.seq, old.newest, texts(old.last(50))) == (1, 1, ["1"])
        assert (new.seq, new.newest, texts(new.last(50))) == (2, 2, ["1", "2"])
        assert nothing is None

    asyncio.run(scenario())


def test_the_node_of_the_last_message_writes_the_snapshot_once(nats_three, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(snapshots, "QUIET_PERIOD", 5.0)  # longer than between two messages, on a busy machine too
    url = nats_three.log()

    async def scenario() -> None:
        async with (
            node(url, tmp_path / "one.sqlite", single=False) as one,
            node(url, tmp_path / "other.sqlite", single=False) as other,
        ):
            await one.bounds("lobby")
            await other.bounds("lobby")
            for number in range(20):
                await stored(one, say(str(number)))
                await stored(other, say(str(number)))
            await wait_for_snapshot(one)
            while one._snapshots._scheduled or other._snapshots._scheduled:
                await asyncio.sleep(0.02)
            assert not one._snapshots._written_at
            info = await one.client.api_request(f"STREAM.INFO.KV_{one.client.address.stream}-pages")
            assert (info["state"]["last_seq"], info["config"]["num_replicas"]) == (1, 3)

    asyncio.run(scenario())


def test_many_snapshots_are_written_once_all_rooms_are_quiet(nats_single, tmp_path: Path, monkeypatch):
    async def scenario() -> None:
        async with node(nats_single.log(), tmp_path / "one.sqlite") as one:
            rooms = [f"room{number}" for number in range(5 * snapshots.MAX_CONCURRENT_WRITES)]
            await stored(one, *[say("hi", room) for room in rooms])
            # They are due when all is quiet, and this interval does not apply then.
            monkeypatch.setattr(snapshots, "BUSY_INTERVAL", NEVER)
            for room in rooms:
                await wait_for_snapshot(one, room)

    asyncio.run(scenario())


def test_an_active_room_waits_for_its_next_snapshot(nats_single, tmp_path: Path, monkeypatch):
    url = nats_single.log()

    async def scenario() -> None:
        async with node(url, tmp_path / "one.sqlite") as one:
            await stored(one, say("a"))
            first = await wait_for_snapshot(one)
            monkeypatch.setattr(snapshots, "MIN_WRITE_INTERVAL", NEVER)
            await stored(one, say("b"), say("c", "other"))
            await wait_for_snapshot(one, "other")  # other rooms do not wait
            assert await read(one) == first
            assert one._snapshots._scheduled["lobby"].at > asyncio.get_running_loop().time() + NEVER / 2

    asyncio.run(scenario())


def test_without_a_quorum_reads_do_not_wait_and_snapshots_are_written_later(nats_server, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(snapshots, "READ_TIMEOUT", 1.0)

    async def scenario() -> None:
        with nats_cluster(nats_server, tmp_path / "nats", 3) as cluster:
            url = cluster.log()
            async with (
                node(url, tmp_path / "one.sqlite", single=False) as one,
                node(url, tmp_path / "fresh.sqlite", single=False) as fresh,
            ):
                rooms = [f"room{number}" for number in range(6)]
                await stored(one, *[say("before", room) for room in rooms])
                for room in rooms[:3]:
                    await wait_for_snapshot(one, room)
                for server in cluster.servers[1:]:
                    server.kill()
                await asyncio.sleep(0)
                shown: set[str] = set()
                async with asyncio.timeout(30):
                    while len(shown) < len(rooms):
                        for room in rooms:
                            await fresh.client.connected.wait()
                            with contextlib.suppress(snapshots.StorageError):
                                if texts(await fresh.messages(room, limit=50)) == ["before"]:
                                    shown.add(room)
                # A scheduled snapshot waits, and nothing else.
                await asyncio.wait_for(one.client.connected.wait(), 60)
                one._snapshots._schedule("room0", 1)
                started = asyncio.get_running_loop().time()
                assert texts(await one.messages("room0", limit=50)) == ["before"]
                assert asyncio.get_running_loop().time() - started < 5
                await check_no_answer(one)
                for server in cluster.servers[1:]:
                    server.start()
                after = await stored(one, *[say("after", room) for room in rooms])
                assert len(after) == len(rooms)
                for room in rooms:
                    assert texts((await wait_for_snapshot(one, room)).last(50)) == ["before", "after"]

    async def check_no_answer(log: NatsLog) -> None:
        """The bucket does not answer now."""
        with pytest.raises(CONNECTION_ERRORS):
            assert await bucket(log).get_direct("room0") is not None
            raise TimeoutError

    asyncio.run(scenario())


def test_a_silent_bucket_is_read_once(nats_single, tmp_path: Path, monkeypatch):
    """A node without a quorum serves rooms from its replica, after one timeout and not one for each room."""
    monkeypatch.setattr(snapshots, "READ_TIMEOUT", 0.2)
    monkeypatch.setattr(snapshots, "RETRY_INTERVAL", NEVER)
    url, keys = nats_single.log(), []

    async def silent(self: KeyValue, key: str) -> None:
        keys.append(key)
        await asyncio.sleep(NEVER)

    async def scenario() -> None:
        async with node(url, tmp_path / "one.sqlite") as one:
            await stored(one, *[say("hi", f"room{number}") for number in range(9)])
            monkeypatch.setattr(KeyValue, "get_direct", silent)
            async with node(url, tmp_path / "fresh.sqlite") as fresh:
                for number in range(9):
                    assert texts(await fresh.messages(f"room{number}", limit=50)) == ["hi"]
        assert keys == ["room0"]

    asyncio.run(scenario())


def test_a_failed_write_is_repeated(nats_single, tmp_path: Path, monkeypatch):
    put, attempts = KeyValue.put, []

    async def failing(bucket: KeyValue, key: str, *more: object, **options: object) -> bool:
        attempts.append(key)
        if len(attempts) < 3:
            raise snapshots.StorageError("the cluster does not store it")
        return await put(bucket, key, *more, **options)

    monkeypatch.setattr(KeyValue, "put", failing)

    async def scenario() -> None:
        async with node(nats_single.log(), tmp_path / "one.sqlite") as one:
            await stored(one, say("a"))
            assert (await wait_for_snapshot(one)).seq == 1
            assert attempts == ["lobby"] * 3

    asyncio.run(scenario())


def apply_from(log: NatsLog, room: str, *nodes: str) -> None:
    """As if the replica had applied messages of those nodes."""
    log._snapshots.applied(
        [
            Applied(StreamMessage(room, 1_000 + number, 0, 1, Record("ada", does(DRAFT).draft, node, 1)), REJECTED)
            for number, node in enumerate(nodes)
        ]
    )


def test_a_message_of_another_node_at_any_moment_does_not_end_the_writing(
    nats_single, tmp_path: Path, monkeypatch, caplog
):
    smallest = snapshots.heapq.nsmallest

    async def scenario() -> None:
        async with node(nats_single.log(), tmp_path / "one.sqlite") as one:
            await stored(one, say("a"))
            await wait_for_snapshot(one)
            apply_from(one, "lobby", one._publisher.node, "another")  # scheduled and cancelled in one batch
            for _ in range(3):  # turns of the loop, for the writer
                await asyncio.sleep(0)

            def nsmallest_and_cancel(*args: Any, **options: Any) -> list[str]:
                loop = asyncio.get_running_loop()
                if one._snapshots._scheduled["lobby"].at <= loop.time():
                    loop.call_soon(apply_from, one, "lobby", "another", "another")
                return smallest(*args, **options)

            with monkeypatch.context() as patched:
                patched.setattr(snapshots.heapq, "nsmallest", nsmallest_and_cancel)
                apply_from(one, "lobby", one._publisher.node)
                async with asyncio.timeout(60):
                    while one._snapshots._scheduled:
                        await asyncio.sleep(0.01)
            await stored(one, say("b", "other"))
            await wait_for_snapshot(one, "other")

    asyncio.run(scenario())
    assert "snapshots are not written" not in caplog.text


def test_an_internal_error_pauses_the_writing(nats_single, tmp_path: Path, monkeypatch, caplog):
    take, calls = snapshots.take_snapshot, []

    def broken(*args: Any) -> Snapshot | None:
        calls.append(args)
        if len(calls) == 1:
            raise ZeroDivisionError
        return take(*args)

    monkeypatch.setattr(snapshots, "take_snapshot", broken)

    async def scenario() -> None:
        async with node(nats_single.log(), tmp_path / "one.sqlite") as one:
            await stored(one, say("a"))
            async with asyncio.timeout(60):
                while not caplog.records:
                    await asyncio.sleep(0.01)
            await stored(one, say("b"))
            await wait_for_snapshot(one)

    asyncio.run(scenario())
    assert "snapshots are not written for 0.3 s" in caplog.text


def test_snapshots_that_always_fail_do_not_block_others(nats_single, tmp_path: Path, monkeypatch):
    put = KeyValue.put

    async def put_small(bucket: KeyValue, key: str, *more: object, **options: object) -> bool:
        if key.startswith("big"):
            raise snapshots.StorageError("too large")
        return await put(bucket, key, *more, **options)

    monkeypatch.setattr(KeyValue, "put", put_small)

    async def scenario() -> None:
        async with node(nats_single.log(), tmp_path / "one.sqlite") as one:
            for number in range(snapshots.MAX_CONCURRENT_WRITES):
                await stored(one, say("a", f"big{number}"))
            await stored(one, say("a", "small"))
            await wait_for_snapshot(one, "small")

    asyncio.run(scenario())


def test_a_snapshot_that_was_being_written_during_a_trim_is_written_again(nats_single, tmp_path: Path, monkeypatch):
    put, started, go = KeyValue.put, asyncio.Event(), asyncio.Event()

    async def slowly(bucket: KeyValue, key: str, *more: object, **options: object) -> bool:
        if key == "lobby":
            started.set()
            await go.wait()
        return await put(bucket, key, *more, **options)

    monkeypatch.setattr(KeyValue, "put", slowly)

    async def scenario() -> None:
        async with node(nats_single.log(), tmp_path / "one.sqlite", joined=True) as one:
            first, _ = await stored(one, say("old"), say("new"))
            await asyncio.wait_for(started.wait(), 60)
            await one._control.put(f"{TRIM_KEY_PREFIX}lobby", b"%d" % first.seq)
            async with asyncio.timeout(60):
                while (await one.bounds("lobby")).trimmed < first.seq:
                    await asyncio.sleep(0.01)
            go.set()
            async with asyncio.timeout(60):
                while (found := await read(one)) is None or texts(found.last(1) or []) != texts(found.last(2) or []):
                    await asyncio.sleep(0.01)
            assert texts(found.last(50)) == ["new"]

    asyncio.run(scenario())


def test_the_writer_ends_with_the_log(nats_single, tmp_path: Path, monkeypatch, hold_fills):
    stuck = asyncio.Event()

    async def put(*_: object, **__: object) -> bool:
        stuck.set()
        await asyncio.sleep(NEVER)
        return True

    monkeypatch.setattr(KeyValue, "put", put)

    async def scenario() -> None:
        before = asyncio.all_tasks()
        async with node(nats_single.log(), tmp_path / "one.sqlite") as one:
            await stored(one, say("a"))
            await stuck.wait()
            hold_fills(True)
            one.consumers.fill_later("never-filled")
            while one.consumers.get("never-filled") is None:
                await asyncio.sleep(0.01)
        async with asyncio.timeout(30):
            while asyncio.all_tasks() != before:
                await asyncio.sleep(0.01)

    asyncio.run(scenario())


def test_a_copy_writes_snapshots(nats_single, tmp_path: Path, hold_fills):
    url, progress = nats_single.log(), []

    async def scenario() -> None:
        log = SqliteLog(tmp_path / "here.sqlite")
        rooms = [f"room{number}" for number in range(20)]
        for room in rooms:
            first, *_ = await stored(log, say("a", room), say("b", room))
            await log.append([Submission(room, "ada", Edit(cid="e", user="ada", target=first.seq, text="c"))])
        await log.close()
        for _ in range(2):  # the second copy continues the interrupted first
            with contextlib.suppress(ZeroDivisionError):
                await to_stream(
                    tmp_path / "here.sqlite",
                    url,
                    single=True,
                    credentials="",
                    on_progress=interrupted(progress),
                )
        hold_fills(True)
        async with node(url, tmp_path / "fresh.sqlite") as fresh:
            for room in rooms:
                assert texts(await fresh.messages(room, limit=50)) == ["c", "b"]

    def interrupted(progress: list[tuple[int, int]]) -> Callable[[int, int], None]:
        def on_progress(done: int, count: int) -> None:
            progress.append((done, count))
            if progress.count((8, 20)) == 1 and (done, count) == (8, 20):
                raise ZeroDivisionError

        return on_progress

    asyncio.run(scenario())
    assert progress[-1] == (20, 20)


def test_a_snapshot_is_limited_and_trimmed():
    bodies = [b'{"seq":%d,"room":"r","user":"ada","text":"x","at":1}' % seq for seq in (3, 5, 9)]
    one = msgspec.structs.replace(FORGED, whole=False, messages=[msgspec.Raw(body) for body in bodies])
    assert (one.last(4), one.last(3), one.last(1), one.last(0)) == (None, bodies, bodies[2:], [])
    assert one.without(2) is one
    assert (one.without(5).last(4), one.without(9).last(4)) == (bodies[2:], [])
    assert encode(decode_snapshot(encode(one))) == encode(one)
    late = msgspec.Raw(bodies[0].replace(b'"at":1', b'"at":%d' % 10**18))
    for invalid in ({"seq": 0}, {"messages": [late]}):
        assert decode_snapshot(encode(msgspec.structs.replace(one, **invalid))) is None


def test_a_snapshot_of_all_messages_is_whole(tmp_path: Path):
    async def scenario() -> None:
        replica = Replica(tmp_path / "replica.sqlite", "e", lambda _: None)
        for count in (1, 49, 50, 51):
            room = f"room{count}"
            await replica.apply(
                [
                    StreamMessage(room, seq, 0, seq, Record("ada", Send(cid="", user="ada", text=str(seq))))
                    for seq in range(1, count + 1)
                ]
            )
        await replica.close()
        with contextlib.closing(connect(tmp_path / "replica.sqlite", readonly=True)) as db:
            found = [take_snapshot(db, "e", f"room{count}") for count in (1, 49, 50, 51)]
        assert [(one.whole, len(one.messages)) for one in found] == [
            (True, 1),
            (True, 49),
            (True, 50),
            (False, 50),
        ]

    asyncio.run(scenario())
