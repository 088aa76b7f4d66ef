"""The cluster's log: two nodes on three real NATS servers, their common order, and operation without NATS."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from bqserver.errors import StorageError
from bqserver.jetstream.client import NatsClient
from bqserver.model import Bounds, Rejected, Stored, Submission
from bqserver.storage.nats import publisher, replica
from bqserver.storage.nats.consumer import Consumer
from bqserver.storage.nats.log import NatsLog, open_log
from bqserver.storage.nats.records import encode_record, message_id
from msgspec.structs import replace
from nats.aio.msg import Msg
from support.nats_cluster import nats_cluster

from bqwidget.protocol import Ask, Draft, Edit, Expire, Send

Scenario = Callable[[NatsLog, NatsLog], Awaitable[None]]


def say(text: str = "hi", cid: str = "", who: str = "ada", **more: object) -> Submission:
    return Submission("lobby", who, Send(cid=cid, user=who, text=text, **more))


def in_room(room: str) -> Submission:
    return replace(say(), room=room)


def does(draft: Draft) -> Submission:
    return Submission("lobby", draft.user, draft)


@asynccontextmanager
async def node(url: str, view: Path, *, single: bool = False) -> AsyncIterator[NatsLog]:
    log = await open_log(url, view, single=single)
    try:
        yield log
    finally:
        await log.close()


@pytest.fixture
def two_nodes(nats_three, tmp_path: Path) -> Callable[[Scenario], None]:
    """``two_nodes(scenario)`` runs ``scenario(one, other)`` with two nodes on a new stream."""
    url = nats_three.log()

    def run(scenario: Scenario) -> None:
        async def main() -> None:
            async with (
                node(url, tmp_path / "one.sqlite") as one,
                node(url, tmp_path / "other.sqlite") as other,
            ):
                await scenario(one, other)

        asyncio.run(main())

    return run


async def stored(log: NatsLog, *submissions: Submission) -> list[Stored]:
    outcomes = await log.append(submissions)
    assert all(isinstance(one, Stored) for one in outcomes), outcomes
    return [one for one in outcomes if isinstance(one, Stored)]


def delete_replica(folder: Path) -> None:
    for file in folder.glob("view.sqlite*"):
        file.unlink()


async def all_entries(log: NatsLog, min_seq: int = 0) -> list[Stored]:
    seq = (await log.bounds("lobby", min_seq=min_seq)).seq
    return await log.entries("lobby", after=0, upto=seq, limit=10_000)


def test_two_nodes_that_append_at_the_same_time_have_one_order(two_nodes):
    async def scenario(one: NatsLog, other: NatsLog) -> None:
        received: dict[NatsLog, list[Stored]] = {one: [], other: []}
        for log, entries in received.items():
            log.subscribe(entries.extend)
            await log.bounds("lobby")
        sent = [log.append([say(f"{number}", f"c{number}")]) for number in range(300) for log in (one, other)]
        outcomes = [outcome for done in sent for outcome in await done]
        assert all(isinstance(outcome, Stored) for outcome in outcomes)
        assert sum(outcome.dup for outcome in outcomes) == 300  # each cid was sent on both nodes
        entries = await all_entries(one)
        assert entries == await all_entries(other)
        assert [entry.prev for entry in entries] == [0, *[entry.seq for entry in entries[:-1]]]
        assert {entry.seq for entry in entries} == {outcome.seq for outcome in outcomes}
        assert received[one] == received[other] == entries

    two_nodes(scenario)


def test_an_entry_that_one_node_acknowledged_can_be_read_on_another(two_nodes):
    async def scenario(one: NatsLog, other: NatsLog) -> None:
        for number in range(30):
            [entry] = await stored(one, say(str(number)))
            assert (await other.bounds("lobby", min_seq=entry.seq)).seq >= entry.seq
            [changed] = await stored(other, does(Edit(cid=f"e{number}", user="ada", target=entry.seq, text="!")))
            assert (await one.bounds("lobby", min_seq=changed.seq)).seq >= changed.seq
            newest = json.loads((await one.messages("lobby", limit=1))[0])
            assert (newest["seq"], newest["text"]) == (entry.seq, "!")

    two_nodes(scenario)


def test_a_replica_that_is_behind_rejects_nothing_for_that(two_nodes, monkeypatch):
    monkeypatch.setattr(Consumer, "_on_live", lambda *_: None)  # nothing is received live

    async def scenario(one: NatsLog, other: NatsLog) -> None:
        await other.bounds("lobby")
        [entry] = await stored(one, say("mine"))
        await stored(other, does(Edit(cid="e", user="ada", target=entry.seq, text="mine, edited")))

    two_nodes(scenario)


def test_an_answer_and_an_expiry_at_the_same_time_read_the_same_on_both_nodes(two_nodes):
    async def scenario(one: NatsLog, other: NatsLog) -> None:
        for number in range(20):
            [asked] = await stored(one, say("go on?", f"q{number}", ask=Ask(choices=("yes", "no"))))
            await other.bounds("lobby", min_seq=asked.seq)
            answer = say("yes", f"a{number}", "bob", re=asked.seq, choice="yes")
            expire = does(Expire(cid=f"x{number}", user="ada", target=asked.seq))
            outcomes = await asyncio.gather(one.append([answer]), other.append([expire]))
        last = max(outcome.seq for [outcome] in outcomes if isinstance(outcome, Stored))
        assert await all_entries(one, last) == await all_entries(other, last)
        assert await one.messages("lobby", limit=200) == await other.messages("lobby", limit=200)

    two_nodes(scenario)


def test_a_rejected_draft_takes_no_seq_in_the_stream(two_nodes):
    async def scenario(one: NatsLog, other: NatsLog) -> None:
        [entry] = await stored(one, say("mine"))
        [rejected] = await other.append([does(Edit(cid="e", user="bob", target=entry.seq, text="theirs"))])
        [missing] = await other.append([does(Edit(cid="f", user="bob", target=9_999, text="missing"))])
        assert (rejected.code, missing.code) == ("forbidden", "not_found")
        [after] = await stored(other, say("after"))
        assert (after.seq, after.prev) == (entry.seq + 1, entry.seq)

    two_nodes(scenario)


def test_a_cid_whose_message_was_rejected_in_the_stream_can_be_sent_again(two_nodes):
    """Both nodes may publish a draft, and the stream's order decides. JetStream remembers a rejected one's id too."""

    async def scenario(one: NatsLog, other: NatsLog) -> None:
        [asked] = await stored(one, say("go on?", "q", ask=Ask()))
        reply = say("yes", "r", "bob", re=asked.seq + 2)  # a message that does not exist yet
        headers = {"Nats-Msg-Id": message_id("lobby", "bob", "r")}
        await one.client.publish(
            one.client.address.subject("lobby"), encode_record(reply, "a node", 1), headers=headers
        )
        await other.bounds("lobby", min_seq=asked.seq + 1)
        [target] = await stored(other, say("here it is"))
        assert target.seq == asked.seq + 2
        [entry] = await stored(other, reply)
        assert not entry.dup
        [again] = await stored(one, reply)
        assert (again.seq, again.dup) == (entry.seq, True)

    two_nodes(scenario)


def test_a_lost_live_message_is_fetched(two_nodes, monkeypatch):
    """A lost republished message is noticed by the next message, or by the comparison with the stream."""
    live, numbers = Consumer._on_live, iter(range(10_000))

    def on_live(consumer: Consumer, msg: object) -> None:
        if next(numbers) % 3:
            live(consumer, msg)

    monkeypatch.setattr(Consumer, "_on_live", on_live)

    async def scenario(one: NatsLog, other: NatsLog) -> None:
        received: list[Stored] = []
        last = asyncio.Event()
        await other.bounds("lobby")
        other.subscribe(received.extend)
        other.subscribe(lambda entries: last.set() if entries[-1].body.find(b'"59"') > 0 else None)
        for number in range(60):
            await stored(one, say(str(number)))
        await asyncio.wait_for(last.wait(), 60)
        assert received == await all_entries(one)

    two_nodes(scenario)


def test_a_deleted_replica_is_filled_again(nats_three, tmp_path: Path):
    url = nats_three.log()

    async def scenario() -> None:
        async with node(url, tmp_path / "view.sqlite") as log:
            first, *_ = await stored(log, *[say(str(number), f"c{number}") for number in range(1_200)])
            await stored(log, does(Edit(cid="e", user="ada", target=first.seq, text="edited")))
            entries, messages = await all_entries(log), await log.messages("lobby", limit=200, after=0)
        async with node(url, tmp_path / "view.sqlite") as log:
            assert await all_entries(log) == entries
        delete_replica(tmp_path)
        async with node(url, tmp_path / "view.sqlite") as log:
            assert await all_entries(log) == entries
            assert await log.messages("lobby", limit=200, after=0) == messages
            [again] = await stored(log, say("7", "c7"))
            assert again.dup

    asyncio.run(scenario())


def test_a_room_is_filled_with_one_request(two_nodes, monkeypatch):
    async def scenario(one: NatsLog, other: NatsLog) -> None:
        await stored(one, say("hi"))
        requests, bucket = [], []

        def record(client: NatsClient) -> None:
            request_many = client.request_many

            async def recorded(subject: str, payload: bytes, *more: object, **options: object) -> list[Msg]:
                if b"next_by_subj" in payload:
                    (bucket if b"$KV." in payload else requests).append(client)
                return await request_many(subject, payload, *more, **options)

            monkeypatch.setattr(client, "request_many", recorded)

        record(other.client)
        record(other._bulk_client)
        expected = [other._bulk_client, other.client]  # the second request: the first server may be behind
        for _ in range(2):  # each later read makes one request; the first fill is fresh itself
            assert len(await other.messages("lobby", limit=50)) == 1
            assert requests == expected
            assert len(bucket) == 1  # what is left of deleted messages, for the entries of the first fill
            expected.append(other.client)

    two_nodes(scenario)


def test_a_bulk_connection_to_a_server_that_is_cut_off_loses_nothing(two_nodes, monkeypatch):
    """Its server may be cut off from the others, while the server of the first connection is not."""

    async def scenario(one: NatsLog, other: NatsLog) -> None:
        await stored(one, *[say(str(number)) for number in range(5)], in_room("silent"))
        request_many = other._bulk_client.request_many

        async def cut_off(subject: str, payload: bytes, *more: Any, **options: Any) -> list[Msg]:
            if b"silent" in payload:
                raise TimeoutError
            messages = await request_many(subject, payload, *more, **options)
            return [*messages[:2], messages[-1]]  # what it had when it was cut off

        monkeypatch.setattr(other._bulk_client, "request_many", cut_off)
        assert (await other.bounds("lobby")).seq == (await one.bounds("lobby")).seq
        assert len(await other.messages("silent", limit=50)) == 1
        await stored(other, in_room("silent"))

    two_nodes(scenario)


def test_a_first_fill_does_not_delay_other_rooms(two_nodes, monkeypatch):
    async def scenario(one: NatsLog, other: NatsLog) -> None:
        await stored(one, say("hi"), in_room("busy"))
        assert len(await other.messages("busy", limit=50)) == 1
        asked, answers = asyncio.Event(), asyncio.Event()
        request_many = other._bulk_client.request_many

        async def slowly(*args: Any, **options: Any) -> list[Msg]:
            asked.set()
            await answers.wait()
            return await request_many(*args, **options)

        monkeypatch.setattr(other._bulk_client, "request_many", slowly)
        reading = asyncio.ensure_future(other.messages("lobby", limit=50))
        await asyncio.wait_for(asked.wait(), 60)
        await stored(other, in_room("busy"))
        assert len(await other.messages("busy", limit=50)) == 2
        assert not reading.done()
        answers.set()
        assert len(await reading) == 1

    two_nodes(scenario)


def test_rooms_that_a_node_has_not_served_are_listed(two_nodes):
    async def scenario(one: NatsLog, other: NatsLog) -> None:
        batch = [Submission(f"room-{number}", "ada", Send(cid="", user="ada", text="hi")) for number in range(40)]
        entries = await stored(one, *batch)
        assert {(row.name, row.seq) for row in await other.rooms()} == {(entry.room, entry.seq) for entry in entries}

    two_nodes(scenario)


def test_without_nats_rooms_can_be_read_and_sends_wait_and_are_rejected(nats_server, tmp_path: Path, monkeypatch):
    async def scenario() -> None:
        with nats_cluster(nats_server, tmp_path / "nats", 1) as cluster:
            url = cluster.log()
            async with node(url, tmp_path / "view.sqlite", single=True) as log:
                [entry] = await stored(log, say("before", "b"))
                assert log.healthy()
                monkeypatch.setattr(publisher, "PUBLISH_TIMEOUT", 1.5)
                cluster.servers[0].kill()
                [rejected] = await log.append([say("lost?", "c")])
                assert isinstance(rejected, Rejected)
                assert (rejected.code, rejected.status, rejected.retry_after) == ("unavailable", 503, 2.0)
                assert not log.healthy()
                assert await log.bounds("lobby") == Bounds(entry.seq, entry.seq)
                assert len(await log.messages("lobby", limit=9)) == 1
                with pytest.raises(StorageError, match="does not answer"):
                    await log.messages("never-served-here", limit=9)
                waiting = log.append([say("waits", "d")])
                cluster.servers[0].start()
                monkeypatch.setattr(publisher, "PUBLISH_TIMEOUT", 60.0)
                [outcome] = await waiting
                outcomes = await stored(log, say("lost?", "c"), say("waits", "d"))
                assert [one.dup for one in outcomes] == [False, isinstance(outcome, Stored)]
                assert len(await log.messages("lobby", limit=9)) == 3
                while not log.healthy():
                    await asyncio.wait_for(log.client.connected.wait(), 60)
                    await asyncio.sleep(0.05)

    asyncio.run(scenario())


def test_an_unused_room_is_no_longer_consumed(two_nodes, monkeypatch):
    monkeypatch.setattr("bqserver.storage.nats.consumers.IDLE_TIMEOUT", 0.0)

    async def scenario(one: NatsLog, other: NatsLog) -> None:
        one.consumers.has_peers = lambda room: room == "lobby"
        await stored(one, say("hi"))
        for number in range(20):
            await one.bounds(f"unused-{number}")
        assert len(one.consumers.filled_rooms()) == 21
        await one.consumers.close_idle()
        assert one.consumers.filled_rooms() == {"lobby"}
        await stored(other, Submission("unused-3", "ada", Send(cid="", user="ada", text="still here")))
        assert len(await one.messages("unused-3", limit=9)) == 1

    two_nodes(scenario)


def test_a_cancelled_reader_that_opened_a_room_does_not_block_the_next(two_nodes, monkeypatch):
    async def scenario(one: NatsLog, other: NatsLog) -> None:
        await stored(one, say("hi"))
        read, asked, answers = other.replica.read, asyncio.Event(), asyncio.Event()

        async def slowly(query: Callable[..., Any], *args: Any) -> Any:
            if query is replica.cursor:
                asked.set()
                await answers.wait()
            return await read(query, *args)

        monkeypatch.setattr(other.replica, "read", slowly)
        first, second = (asyncio.ensure_future(other.consumers.open("lobby")) for _ in range(2))
        await asyncio.wait_for(asked.wait(), 60)
        first.cancel()
        answers.set()
        assert (await asyncio.wait_for(second, 60)).filled

    two_nodes(scenario)


def test_a_replaced_stream_is_not_written_to(nats_single, tmp_path, caplog):
    url = nats_single.log()

    async def scenario() -> None:
        async with node(url, tmp_path / "view.sqlite", single=True) as log:
            await stored(log, say("before"))
            await log.client.api_request(f"STREAM.DELETE.{log.client.address.stream}")
            async with node(url, tmp_path / "other.sqlite", single=True) as other:
                assert other.epoch != log.epoch
                while "restart this server" not in caplog.text:
                    await asyncio.sleep(0.05)
                assert not log.healthy()
                [rejected] = await log.append([say("after")])
                assert "restart this server" in rejected.message
                assert await other.rooms() == []

    asyncio.run(scenario())
