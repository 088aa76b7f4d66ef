"""Pages: a node that has nothing of a room shows it from what another has worked out, exactly, or not at all."""

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
from bqserver.storage.nats import replica_state, retention, snapshot, snapshots
from bqserver.storage.nats.consumer import Consumer
from bqserver.storage.nats.log import NatsLog, open_log
from bqserver.storage.nats.records import Record, StreamMessage
from bqserver.storage.nats.replica import Applied, Replica
from bqserver.storage.nats.retention import TRIM_KEY_PREFIX, Retention, Rule
from bqserver.storage.nats.snapshot import Snapshot, decode_snapshot, take_snapshot
from bqserver.storage.sqlite.log import SqliteLog
from bqserver.storage.sqlite.schema import connect
from bqserver.testing import running_server
from bqserver.transfer.copy import to_stream
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.nats_cluster import nats_cluster
from support.submissions import submissions
from support.ws_client import request

from bqwidget.protocol import Delete, Draft, Edit, React, Send, encode

Story = Callable[[], Awaitable[None]]
NEVER = 3600.0
SAID = Send(cid="", user="ada", text="x")
REFUSED = Rejected("conflict", "", 409)
WAIT = 60.0
"""Seconds for a page to be written: a cluster that has just come back takes its time."""


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    for name, seconds in (
        ("QUIET_PERIOD", 0.1),
        ("MIN_WRITE_INTERVAL", 0.2),
        ("BUSY_INTERVAL", 0.01),
        ("RETRY_INTERVAL", 0.3),
    ):
        monkeypatch.setattr(snapshots, name, seconds)


@pytest.fixture
def held(monkeypatch) -> Callable[[bool], None]:
    """``held(True)``: no fill comes to an end any more, so that what is answered did not need one."""
    go, passed = asyncio.Event(), Consumer._fetch

    async def wait(feed: Consumer) -> bool:
        await go.wait()
        return await passed(feed)

    def hold(on: bool) -> None:
        go.clear() if on else go.set()
        monkeypatch.setattr(Consumer, "_fetch", wait)

    return hold


@asynccontextmanager
async def node(url: str, view: Path, *, single: bool = True, joined: bool = False) -> AsyncIterator[NatsLog]:
    log = await open_log(url, view, single=single)
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
    """Each in a millisecond of its own: their times don't depend on what was let go before them."""
    entries = []
    for submission in submissions:
        entries += await stored(log, submission)
        await asyncio.sleep(0.003)
    return entries


def bucket(log: NatsLog) -> KeyValue:
    return KeyValue(log.client, snapshots.BUCKET, 1)


async def page(log: NatsLog, room: str = "lobby") -> Snapshot | None:
    found = await bucket(log).get_direct(room)
    return decode_snapshot(found.value) if found else None


async def written(log: NatsLog, room: str = "lobby") -> Snapshot:
    """The room's page, as soon as it is as new as the stream."""
    loop, said = asyncio.get_running_loop(), "nothing"
    deadline = loop.time() + WAIT
    while loop.time() < deadline:
        try:
            newest, found = await api.leader_last_seq(log.client, room), await page(log, room)
        except CONNECTION_ERRORS as error:
            said = repr(error)
        else:
            if found is not None and found.seq == newest:
                return found
            said = f"{found and found.seq} of {newest}"
        await asyncio.sleep(0.02)
    raise AssertionError(
        f"no page of {room}: {said}; due {log._snapshots._scheduled}, {log._snapshots._task}"
    )


async def filled(log: NatsLog, room: str = "lobby") -> None:
    async with asyncio.timeout(30):
        while not log.consumers.is_filled(room):
            await asyncio.sleep(0.02)


def texts(bodies: list[bytes]) -> list[str]:
    return [json.loads(body)["text"] for body in bodies]


def test_a_fresh_node_shows_a_room_before_it_has_filled_it(nats_three, tmp_path: Path, held):
    url = nats_three.log()

    async def story() -> None:
        async with node(url, tmp_path / "one.sqlite", single=False) as one:
            entries = await stored(one, *[say(str(number)) for number in range(60)])
            await stored(
                one,
                does(Edit(cid="e", user="ada", target=entries[-1].seq, text="edited")),
                does(Delete(cid="d", user="ada", target=entries[-2].seq)),
                does(React(cid="r", user="ada", target=entries[-3].seq, emoji="+", on=True)),
            )
            await written(one)
            expected = await one.messages("lobby", limit=50)
            first = await read_view(one, "lobby", 50)
            held(True)
            async with node(url, tmp_path / "fresh.sqlite", single=False) as fresh:
                assert await fresh.messages("lobby", limit=50) == expected
                assert await fresh.messages("lobby", limit=3) == expected[-3:]
                assert await fresh.room_view("lobby", limit=50) == first
                assert not fresh.consumers.is_filled("lobby")
                held(False)
                await filled(fresh)  # nobody had to ask for it
                assert await fresh.messages("lobby", limit=50) == expected
                assert await fresh.room_view("lobby", limit=50) == first

    asyncio.run(story())


def test_both_routes_show_a_fresh_nodes_room_from_its_page(nats_single, tmp_path: Path, held):
    url = nats_single.log()

    async def story() -> None:
        async with node(url, tmp_path / "one.sqlite") as one:
            await stored(one, say("here at once"))
            await written(one)

    asyncio.run(story())
    held(True)
    with running_server(log=url, single=True, view=str(tmp_path / "view.sqlite"), open=True) as server:
        assert texts([json.dumps(one).encode() for one in request(server.url, "GET", "/messages").json]) == [
            "here at once"
        ]
        shown = request(server.url, "GET", "/rooms/lobby").body
        assert b"here at once" in shown
        assert b'"seq":1,"oldest":1' in shown


@pytest.mark.parametrize(
    "news",
    [
        lambda _: say("one more"),
        lambda seq: does(Edit(cid="e", user="ada", target=seq, text="changed")),
        lambda seq: does(Delete(cid="d", user="ada", target=seq)),
        lambda seq: does(React(cid="r", user="ada", target=seq, emoji="+", on=True)),
    ],
    ids=["message", "edit", "delete", "reaction"],
)
def test_a_page_that_is_older_than_the_newest_is_not_shown(nats_single, tmp_path: Path, monkeypatch, news):
    url = nats_single.log()

    async def story() -> None:
        async with node(url, tmp_path / "one.sqlite") as one:
            *_, last = await stored(one, say("a"), say("b"))
            old = await written(one)
            monkeypatch.setattr(snapshots, "QUIET_PERIOD", NEVER)
            await stored(one, news(last.seq))
            assert await page(one) == old
            expected = await one.messages("lobby", limit=50)
            assert expected != old.last(50)
            for ask in (NatsLog.messages, NatsLog.room_view):
                async with node(url, tmp_path / f"{ask.__name__}.sqlite") as fresh:
                    found = await ask(fresh, "lobby", limit=50)
                    assert getattr(found, "messages", found) == expected

    asyncio.run(story())


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
def test_what_is_no_page_of_this_stream_is_passed_over_and_mended(nats_single, tmp_path: Path, value: bytes):
    url = nats_single.log()

    async def story() -> None:
        async with node(url, tmp_path / "one.sqlite") as one:
            await stored(one, say("a"), say("b"))
            good = await written(one)
            await bucket(one).put("lobby", value.replace(b"EPOCH", one.epoch.encode()))
            async with node(url, tmp_path / "fresh.sqlite") as fresh:
                assert texts(await fresh.messages("lobby", limit=50)) == ["a", "b"]
                async with asyncio.timeout(30):
                    while encode(await page(fresh)) != encode(good):
                        await asyncio.sleep(0.02)

    asyncio.run(story())


def test_a_bucket_that_was_deleted_is_made_again_by_who_missed_it(nats_single, tmp_path: Path):
    url = nats_single.log()

    async def story() -> None:
        async with node(url, tmp_path / "one.sqlite") as one:
            await stored(one, say("a"))
            good = await written(one)
            await one.client.api_request(f"STREAM.DELETE.KV_{one.client.address.stream}-pages")
            async with node(url, tmp_path / "fresh.sqlite") as fresh:
                assert texts(await fresh.messages("lobby", limit=50)) == ["a"]
                assert encode(await written(fresh)) == encode(good)
            await one.client.api_request(f"STREAM.DELETE.KV_{one.client.address.stream}-pages")
            await stored(one, say("b"))  # whoever had made it once makes it again as well
            assert (await written(one)).newest == 2

    asyncio.run(story())


def test_what_was_let_go_does_not_come_back_from_a_page(nats_single, tmp_path: Path, held):
    url = nats_single.log()

    async def story() -> None:
        async with node(url, tmp_path / "one.sqlite", joined=True) as one:
            _, second, _ = await spaced(one, *[say(str(number)) for number in range(3)])
            *_, fifth, _ = await stored(
                one,
                *[say(str(number), "third") for number in range(60)],
                say("a", "third"),
                say("b", "third"),
            )
            for room in ("lobby", "third"):
                await written(one, room)
            for room, upto in (("lobby", second.seq), ("third", fifth.seq)):
                await one._control.put(f"{TRIM_KEY_PREFIX}{room}", b"%d" % upto)
                gone = {"filter": one.client.address.subject(room), "seq": upto + 1}
                await one.client.api_request(f"STREAM.PURGE.{one.client.address.stream}", gone)
            held(True)
            async with node(url, tmp_path / "fresh.sqlite", joined=True) as fresh:
                assert texts(await fresh.messages("lobby", limit=50)) == ["2"]
                assert texts(await fresh.messages("third", limit=50)) == ["b"]  # before it, nothing is left
                held(False)
                shown = await fresh.room_view("lobby", limit=50)
                assert (shown.bounds, texts(shown.messages)) == (Bounds(3, 3, 2), ["2"])
                assert shown == await one.room_view("lobby", limit=50)

    asyncio.run(story())


def test_old_messages_go_from_pages_too(nats_single, tmp_path: Path, monkeypatch, held):
    monkeypatch.setattr(retention, "PROPAGATION_DELAY", 0.3)
    url = nats_single.log()

    async def story() -> None:
        async with node(url, tmp_path / "one.sqlite", joined=True) as one:
            entries = await spaced(one, *[say(str(number)) for number in range(4)])
            await stored(one, say("young", "other"))
            for room in ("lobby", "other"):
                await written(one, room)
            untouched = await bucket(one).get_direct("other")
            monkeypatch.setattr(snapshots, "QUIET_PERIOD", NEVER)
            sweep = Retention(
                one.client, one._control, [Rule("lobby", 60.0)], lambda: entries[2].at / 1000 + 60
            )
            assert await sweep.sweep() == {"lobby": entries[1].seq}
            left = await page(one)
            assert texts(left.last(50)) == ["2", "3"]
            await snapshots.trim_snapshot(one.client, "other", 1)
            await snapshots.trim_snapshot(one.client, "nobody-was-here", 1)
            assert await bucket(one).get_direct("other") == untouched
            held(True)
            async with node(url, tmp_path / "fresh.sqlite", joined=True) as fresh:
                assert texts(await fresh.messages("lobby", limit=50)) == ["2", "3"]

    asyncio.run(story())


def test_who_wants_more_than_a_page_has_gets_it_from_the_room(nats_single, tmp_path: Path, held, monkeypatch):
    url = nats_single.log()

    async def story() -> None:
        async with node(url, tmp_path / "one.sqlite") as one:
            await stored(one, *[say(str(number), "long") for number in range(60)])
            await stored(one, *[say(str(number), "short") for number in range(50)])
            with monkeypatch.context() as patched:
                patched.setattr(snapshot, "MAX_BYTES", 5_000)
                await stored(one, *[say("x" * 900, "wide") for _ in range(9)])
                await stored(one, *[say("x" * 9_000, "wider") for _ in range(2)])
                for room in ("long", "short", "wide"):
                    await written(one, room)
                assert await page(one, "wider") is None
            held(True)
            async with node(url, tmp_path / "fresh.sqlite") as fresh:
                assert len(await fresh.messages("short", limit=200)) == 50
                assert len(await fresh.messages("wide", limit=3)) == 3
                assert len(await fresh.messages("long", limit=50)) == 50
                held(False)
                assert len(await fresh.messages("long", limit=55)) == 55
                assert len(await fresh.messages("wide", limit=9)) == 9
                assert len(await fresh.messages("wider", limit=9)) == 2

    asyncio.run(story())


@settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drafts=st.lists(submissions(), min_size=1, max_size=40))
def test_a_page_shows_what_the_room_shows_whatever_happened_in_it(
    nats_single, tmp_path_factory: pytest.TempPathFactory, drafts
):
    folder, url = tmp_path_factory.mktemp("pages"), nats_single.log()

    async def story() -> None:
        async with node(url, folder / "one.sqlite") as one, node(url, folder / "fresh.sqlite") as fresh:
            outcomes = await one.append(drafts)
            assert all(isinstance(outcome, (Stored, Rejected)) for outcome in outcomes)
            for room in await api.room_names(one.client):
                await written(one, room)
                shown = [await fresh._snapshots.messages(room, limit) for limit in (1, 3, 50)]
                first = await fresh._snapshots.room_view(room, 50)
                assert first is not None
                assert shown == [await one.messages(room, limit=limit) for limit in (1, 3, 50)]
                assert first == await read_view(one, room, 50)
                await fresh.consumers.open(room)
                assert shown[-1] == await fresh.messages(room, limit=50)
                assert first == await fresh.room_view(room, limit=50)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(
            "bqserver.storage.nats.consumers.Consumers.fill_later", lambda *_: None
        )  # it is shown from pages, three times
        asyncio.run(story())


def test_a_page_is_of_one_moment(tmp_path: Path, monkeypatch):
    def placed(seq: int) -> StreamMessage:
        return StreamMessage("lobby", seq, 0, seq, Record("ada", Send(cid="", user="ada", text=str(seq))))

    async def story() -> None:
        view = Replica(tmp_path / "view.sqlite", "e", lambda _: None)
        await view.apply([placed(1)])
        loop, bounds = asyncio.get_running_loop(), replica_state.bounds

        async def add() -> None:
            await view.apply([placed(2)])

        def while_it_is_read(*asked: object) -> Bounds:
            asyncio.run_coroutine_threadsafe(add(), loop).result()
            return bounds(*asked)

        try:
            with monkeypatch.context() as patched:
                patched.setattr(replica_state, "bounds", while_it_is_read)
                old = await view.readers.read(take_snapshot, "e", "lobby")
            new = await view.readers.read(take_snapshot, "e", "lobby")
            nothing = await view.readers.read(take_snapshot, "e", "nobody-was-here")
        finally:
            await view.close()
        assert (old.seq, old.newest, texts(old.last(50))) == (1, 1, ["1"])
        assert (new.seq, new.newest, texts(new.last(50))) == (2, 2, ["1", "2"])
        assert nothing is None

    asyncio.run(story())


def test_of_two_nodes_in_a_room_the_last_to_speak_writes_its_page_once(
    nats_three, tmp_path: Path, monkeypatch
):
    monkeypatch.setattr(snapshots, "QUIET_PERIOD", 1.0)
    url = nats_three.log()

    async def story() -> None:
        async with (
            node(url, tmp_path / "one.sqlite", single=False) as one,
            node(url, tmp_path / "other.sqlite", single=False) as other,
        ):
            await one.bounds("lobby")
            await other.bounds("lobby")
            for number in range(20):
                await stored(one, say(str(number)))
                await stored(other, say(str(number)))
            await written(one)
            while one._snapshots._scheduled or other._snapshots._scheduled:
                await asyncio.sleep(0.02)
            assert not one._snapshots._written_at
            info = await one.client.api_request(f"STREAM.INFO.KV_{one.client.address.stream}-pages")
            assert (info["state"]["last_seq"], info["config"]["num_replicas"]) == (1, 3)

    asyncio.run(story())


def test_many_pages_are_written_one_after_the_other_once_nobody_speaks(
    nats_single, tmp_path: Path, monkeypatch
):
    async def story() -> None:
        async with node(nats_single.log(), tmp_path / "one.sqlite") as one:
            rooms = [f"room{number}" for number in range(5 * snapshots.MAX_CONCURRENT_WRITES)]
            await stored(one, *[say("hi", room) for room in rooms])
            # They are due when it is quiet, and it does not matter then.
            monkeypatch.setattr(snapshots, "BUSY_INTERVAL", NEVER)
            for room in rooms:
                await written(one, room)

    asyncio.run(story())


def test_a_room_that_speaks_again_waits_for_its_next_page(nats_single, tmp_path: Path, monkeypatch):
    url = nats_single.log()

    async def story() -> None:
        async with node(url, tmp_path / "one.sqlite") as one:
            await stored(one, say("a"))
            first = await written(one)
            monkeypatch.setattr(snapshots, "MIN_WRITE_INTERVAL", NEVER)
            await stored(one, say("b"), say("c", "other"))
            await written(one, "other")  # other rooms don't wait for it
            assert await page(one) == first
            assert one._snapshots._scheduled["lobby"].at > asyncio.get_running_loop().time() + NEVER / 2

    asyncio.run(story())


def test_without_a_quorum_nobody_waits_for_pages_and_later_they_are_written(nats_server, tmp_path: Path):
    async def story() -> None:
        with nats_cluster(nats_server, tmp_path / "nats", 3) as cluster:
            url = cluster.log()
            async with (
                node(url, tmp_path / "one.sqlite", single=False) as one,
                node(url, tmp_path / "fresh.sqlite", single=False) as fresh,
            ):
                rooms = [f"room{number}" for number in range(6)]
                await stored(one, *[say("before", room) for room in rooms])
                for room in rooms[:3]:
                    await written(one, room)
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
                # What is due waits, and nothing else does.
                await asyncio.wait_for(one.client.connected.wait(), 20)
                one._snapshots._schedule("room0", 1)
                began = asyncio.get_running_loop().time()
                assert texts(await one.messages("room0", limit=50)) == ["before"]
                assert asyncio.get_running_loop().time() - began < 5
                await bucket_gone(one)
                for server in cluster.servers[1:]:
                    server.start()
                after = await stored(one, *[say("after", room) for room in rooms])
                assert len(after) == len(rooms)
                for room in rooms:
                    assert texts((await written(one, room)).last(50)) == ["before", "after"]

    async def bucket_gone(log: NatsLog) -> None:
        """Nobody answers for it now."""
        with pytest.raises(CONNECTION_ERRORS):
            assert await bucket(log).get_direct("room0") is not None
            raise TimeoutError

    asyncio.run(story())


def test_a_bucket_that_is_silent_is_asked_once(nats_single, tmp_path: Path, monkeypatch):
    """A node without its quorum shows rooms as it did before, after one wait and not after one for each."""
    monkeypatch.setattr(snapshots, "READ_TIMEOUT", 0.2)
    monkeypatch.setattr(snapshots, "RETRY_INTERVAL", NEVER)
    url, asked = nats_single.log(), []

    async def silent(self: KeyValue, key: str) -> None:
        asked.append(key)
        await asyncio.sleep(NEVER)

    async def story() -> None:
        async with node(url, tmp_path / "one.sqlite") as one:
            await stored(one, *[say("hi", f"room{number}") for number in range(9)])
            monkeypatch.setattr(KeyValue, "get_direct", silent)
            async with node(url, tmp_path / "fresh.sqlite") as fresh:
                for number in range(9):
                    assert texts(await fresh.messages(f"room{number}", limit=50)) == ["hi"]
        assert asked == ["room0"]

    asyncio.run(story())


def test_a_page_that_is_not_taken_is_tried_again_and_disturbs_nobody(
    nats_single, tmp_path: Path, monkeypatch
):
    put, tries = KeyValue.put, []

    async def refused(bucket: KeyValue, key: str, *more: object, **options: object) -> bool:
        tries.append(key)
        if len(tries) < 3:
            raise snapshots.StorageError("the cluster does not keep it")
        return await put(bucket, key, *more, **options)

    monkeypatch.setattr(KeyValue, "put", refused)

    async def story() -> None:
        async with node(nats_single.log(), tmp_path / "one.sqlite") as one:
            await stored(one, say("a"))
            assert (await written(one)).seq == 1
            assert tries == ["lobby"] * 3

    asyncio.run(story())


def heard_of(log: NatsLog, room: str, *nodes: str) -> None:
    """As if the view had worked out that those had said something there."""
    log._snapshots.applied(
        [
            Applied(
                StreamMessage(room, 1_000 + number, 0, 1, Record("ada", does(SAID).draft, node, 1)), REFUSED
            )
            for number, node in enumerate(nodes)
        ]
    )


def test_a_duty_that_passes_to_another_at_any_moment_ends_no_writing(
    nats_single, tmp_path: Path, monkeypatch, caplog
):
    smallest = snapshots.heapq.nsmallest

    async def story() -> None:
        async with node(nats_single.log(), tmp_path / "one.sqlite") as one:
            await stored(one, say("a"))
            await written(one)
            heard_of(one, "lobby", one._publisher.node, "another")  # due, and not any more, in one batch
            for _ in range(3):  # turns, for the writer to see it
                await asyncio.sleep(0)

            def overtaken(*args: Any, **options: Any) -> list[str]:
                loop = asyncio.get_running_loop()
                if one._snapshots._scheduled["lobby"].at <= loop.time():
                    loop.call_soon(heard_of, one, "lobby", "another", "another")
                return smallest(*args, **options)

            with monkeypatch.context() as patched:
                patched.setattr(snapshots.heapq, "nsmallest", overtaken)
                heard_of(one, "lobby", one._publisher.node)
                async with asyncio.timeout(10):
                    while one._snapshots._scheduled:
                        await asyncio.sleep(0.01)
            await stored(one, say("b", "other"))
            await written(one, "other")

    asyncio.run(story())
    assert "snapshots are not written" not in caplog.text


def test_an_error_of_ours_stops_the_writing_for_a_while_only(
    nats_single, tmp_path: Path, monkeypatch, caplog
):
    make, tries = snapshots.take_snapshot, []

    def broken(*args: Any) -> Snapshot | None:
        tries.append(args)
        if len(tries) == 1:
            raise ZeroDivisionError
        return make(*args)

    monkeypatch.setattr(snapshots, "take_snapshot", broken)

    async def story() -> None:
        async with node(nats_single.log(), tmp_path / "one.sqlite") as one:
            await stored(one, say("a"))
            async with asyncio.timeout(10):
                while not caplog.records:
                    await asyncio.sleep(0.01)
            await stored(one, say("b"))
            await written(one)

    asyncio.run(story())
    assert "snapshots are not written for 0.3 s" in caplog.text


def test_pages_that_are_never_taken_do_not_keep_others_waiting(nats_single, tmp_path: Path, monkeypatch):
    put = KeyValue.put

    async def picky(bucket: KeyValue, key: str, *more: object, **options: object) -> bool:
        if key.startswith("big"):
            raise snapshots.StorageError("too large")
        return await put(bucket, key, *more, **options)

    monkeypatch.setattr(KeyValue, "put", picky)

    async def story() -> None:
        async with node(nats_single.log(), tmp_path / "one.sqlite") as one:
            for number in range(snapshots.MAX_CONCURRENT_WRITES):
                await stored(one, say("a", f"big{number}"))
            await stored(one, say("a", "small"))
            await written(one, "small")

    asyncio.run(story())


def test_a_page_that_was_on_its_way_when_messages_were_let_go_is_written_again(
    nats_single, tmp_path: Path, monkeypatch
):
    put, begun, go = KeyValue.put, asyncio.Event(), asyncio.Event()

    async def slowly(bucket: KeyValue, key: str, *more: object, **options: object) -> bool:
        if key == "lobby":
            begun.set()
            await go.wait()
        return await put(bucket, key, *more, **options)

    monkeypatch.setattr(KeyValue, "put", slowly)

    async def story() -> None:
        async with node(nats_single.log(), tmp_path / "one.sqlite", joined=True) as one:
            first, _ = await stored(one, say("old"), say("new"))
            await asyncio.wait_for(begun.wait(), 10)
            await one._control.put(f"{TRIM_KEY_PREFIX}lobby", b"%d" % first.seq)
            async with asyncio.timeout(10):
                while (await one.bounds("lobby")).trimmed < first.seq:
                    await asyncio.sleep(0.01)
            go.set()
            async with asyncio.timeout(10):
                while (found := await page(one)) is None or texts(found.last(1) or []) != texts(
                    found.last(2) or []
                ):
                    await asyncio.sleep(0.01)
            assert texts(found.last(50)) == ["new"]

    asyncio.run(story())


def test_the_writer_ends_with_the_log(nats_single, tmp_path: Path, monkeypatch, held):
    stuck = asyncio.Event()

    async def put(*_: object, **__: object) -> bool:
        stuck.set()
        await asyncio.sleep(NEVER)
        return True

    monkeypatch.setattr(KeyValue, "put", put)

    async def story() -> None:
        before = asyncio.all_tasks()
        async with node(nats_single.log(), tmp_path / "one.sqlite") as one:
            await stored(one, say("a"))
            await stuck.wait()
            held(True)
            one.consumers.fill_later("never-filled")
            while one.consumers.get("never-filled") is None:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        assert asyncio.all_tasks() == before

    asyncio.run(story())


def test_a_copy_leaves_pages(nats_single, tmp_path: Path, held):
    url, told = nats_single.log(), []

    async def story() -> None:
        log = SqliteLog(tmp_path / "here.sqlite")
        rooms = [f"room{number}" for number in range(20)]
        for room in rooms:
            first, *_ = await stored(log, say("a", room), say("b", room))
            await log.append([Submission(room, "ada", Edit(cid="e", user="ada", target=first.seq, text="c"))])
        await log.close()
        for _ in range(2):  # again: what is interrupted goes on
            with contextlib.suppress(ZeroDivisionError):
                await to_stream(
                    tmp_path / "here.sqlite", url, single=True, credentials="", on_progress=interrupted(told)
                )
        held(True)
        async with node(url, tmp_path / "fresh.sqlite") as fresh:
            for room in rooms:
                assert texts(await fresh.messages(room, limit=50)) == ["c", "b"]

    def interrupted(told: list[tuple[int, int]]) -> Callable[[int, int], None]:
        def tell(done: int, count: int) -> None:
            told.append((done, count))
            if told.count((8, 20)) == 1 and (done, count) == (8, 20):
                raise ZeroDivisionError

        return tell

    asyncio.run(story())
    assert told[-1] == (20, 20)


def test_a_page_is_cut_where_it_has_to_be():
    bodies = [b'{"seq":%d,"room":"r","user":"ada","text":"x","at":1}' % seq for seq in (3, 5, 9)]
    one = msgspec.structs.replace(FORGED, whole=False, messages=[msgspec.Raw(body) for body in bodies])
    assert (one.last(4), one.last(3), one.last(1), one.last(0)) == (None, bodies, bodies[2:], [])
    assert one.without(2) is one
    assert (one.without(5).last(4), one.without(9).last(4)) == (bodies[2:], [])
    assert encode(decode_snapshot(encode(one))) == encode(one)
    late = msgspec.Raw(bodies[0].replace(b'"at":1', b'"at":%d' % 10**18))
    for wrong in ({"seq": 0}, {"messages": [late]}):
        assert decode_snapshot(encode(msgspec.structs.replace(one, **wrong))) is None


def test_a_page_of_the_whole_room_is_whole(tmp_path: Path):
    async def story() -> None:
        view = Replica(tmp_path / "view.sqlite", "e", lambda _: None)
        for count in (1, 49, 50, 51):
            room = f"room{count}"
            await view.apply(
                [
                    StreamMessage(room, seq, 0, seq, Record("ada", Send(cid="", user="ada", text=str(seq))))
                    for seq in range(1, count + 1)
                ]
            )
        await view.close()
        with contextlib.closing(connect(tmp_path / "view.sqlite", readonly=True)) as db:
            pages = [take_snapshot(db, "e", f"room{count}") for count in (1, 49, 50, 51)]
        assert [(one.whole, len(one.messages)) for one in pages] == [
            (True, 1),
            (True, 49),
            (True, 50),
            (False, 50),
        ]

    asyncio.run(story())
