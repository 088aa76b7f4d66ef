"""A node's replica: the same entries for any batches of the stream; and a log is never used as a replica."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from bqserver.errors import StorageError
from bqserver.model import Outcome, Rejected, Stored, Submission
from bqserver.storage.memory import MemoryLog
from bqserver.storage.nats.records import (
    Record,
    StreamMessage,
    decode_stream_message,
    encode_record,
    message_id,
)
from bqserver.storage.nats.replica import Replica
from bqserver.storage.sqlite import queries
from bqserver.storage.sqlite.log import SqliteLog
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from support.submissions import submissions

from bqwidget.protocol import Ask, Delete, Edit, Send, Vote


def message(seq: int, submission: Submission, at: int = 0) -> StreamMessage:
    by, draft = submission.principal, submission.draft
    record = Record(by, draft, verified=submission.verified, moderator=submission.moderator)
    return StreamMessage(submission.room, seq, 0, at or seq, record)


def hi(text: str, cid: str = "", room: str = "lobby") -> Submission:
    return Submission(room, "ada", Send(cid=cid, user="ada", text=text))


async def apply_all(
    path: Path, stream: Sequence[StreamMessage], size: int
) -> tuple[list[Outcome], dict[str, list[bytes]]]:
    """The outcomes of all messages, and what the replica then holds of each room."""
    outcomes: list[Outcome] = []
    replica = Replica(path, "e", lambda batch: outcomes.extend(one.outcome for one in batch))
    for start in range(0, len(stream), size):
        await replica.apply(stream[start : start + size])
    held = {}
    for room in sorted({one.room for one in stream}):
        messages = await replica.read(queries.messages, room, 500, None, None)
        entries = await replica.read(queries.entries, room, 0, 1 << 40, 500)
        held[room] = [*messages, *[entry.body for entry in entries]]
        assert [entry.prev for entry in entries] == [0, *[entry.seq for entry in entries]][: len(entries)]
    await replica.close()
    return outcomes, held


REPEATED = [
    Submission(room, "ada", Send(cid=cid, user="ada", text="x")) for room, cid in (("a", ""), ("b", "1"), ("b", "1"))
]
"""A room that starts after the stream's first message, and a cid that comes twice, in one batch or in two."""


@pytest.mark.slow("tries random drafts")
@settings(max_examples=15)
@example(drafts=REPEATED, one=1, other=3)
@given(drafts=st.lists(submissions(), max_size=30), one=st.integers(1, 30), other=st.integers(1, 30))
def test_every_node_computes_the_same_outcomes_for_any_batches(tmp_path_factory, drafts, one, other):
    folder = tmp_path_factory.mktemp("replicas")
    stream = [message(10 * number, draft) for number, draft in enumerate(drafts, 1)]

    async def scenario() -> None:
        first = await apply_all(folder / "a.sqlite", stream, one)
        assert first == await apply_all(folder / "b.sqlite", stream, other)

    asyncio.run(scenario())


def test_a_node_that_has_an_erased_poll_applies_its_erased_votes(tmp_path):
    """It was down while the poll was deleted: it has the poll as it was, and reads the votes as they are now."""
    asked = Send(cid="1", user="ada", text="Which?", ask=Ask(choices=("x", "y"), poll=True))
    poll, delete = (Submission("a", "ada", draft) for draft in (asked, Delete(cid="2", user="ada", target=10)))
    vote = Submission("a", "bob", Vote(cid="3", user="bob", target=10, choice="x"))
    erased = message(20, replace(vote, draft=replace(vote.draft, choice="")))
    erased = erased._replace(record=replace(erased.record, redacted=True))

    async def scenario() -> None:
        _, whole = await apply_all(
            tmp_path / "a.sqlite", [message(10, poll), message(20, vote), message(30, delete)], 3
        )
        _, late = await apply_all(tmp_path / "b.sqlite", [message(10, poll), erased, message(30, delete)], 1)
        assert late == whole
        assert len(whole["a"]) == 1 + 3

    asyncio.run(scenario())


@pytest.mark.slow("tries random drafts")
@settings(max_examples=15)
@example(rooms="aab", size=2, upto=20)
@given(rooms=st.text("ab", min_size=1, max_size=20), size=st.integers(1, 20), upto=st.integers(1, 200))
def test_trimmed_entries_do_not_come_back_from_the_stream(tmp_path_factory, rooms, size, upto):
    """A node that starts then learns of the trim before it reads the messages from the stream."""
    folder = tmp_path_factory.mktemp("replicas")
    stream = [message(10 * number, hi(str(number), room=room)) for number, room in enumerate(rooms, 1)]
    names = sorted({one.room for one in stream})

    async def contents(name: str, *, trimmed_first: bool) -> list[object]:
        replica = Replica(folder / name, "e", lambda _: None)
        if trimmed_first:
            for room in names:
                replica.trim(room, upto)
        for start in range(0, len(stream), size):
            await replica.apply(stream[start : start + size])
        if not trimmed_first:
            for room in names:
                replica.trim(room, upto)
        await replica.apply(())
        found = [
            (
                await replica.read(queries.bounds, room),
                await replica.read(queries.entries, room, 0, 1 << 40, 500),
                await replica.read(queries.messages, room, 500, None, None),
            )
            for room in names
        ]
        await replica.close()
        return list(found)

    async def scenario() -> None:
        late = await contents("late.sqlite", trimmed_first=True)
        assert late == await contents("early.sqlite", trimmed_first=False)

    asyncio.run(scenario())


@pytest.mark.slow("tries random drafts")
@settings(max_examples=15)
@given(drafts=st.lists(submissions(), max_size=30))
def test_the_outcomes_are_those_of_a_log(tmp_path_factory, drafts):
    """In a log only accepted drafts take a seq; with the same seqs, everything else is equal."""
    folder = tmp_path_factory.mktemp("replicas")
    drafts_of_one_room = [replace(draft, room="lobby") for draft in drafts]

    async def scenario() -> None:
        log = MemoryLog()
        expected = [outcome for draft in drafts_of_one_room for outcome in await log.append([draft])]
        seq, stream = 0, []
        for draft, outcome in zip(drafts_of_one_room, expected, strict=True):
            seq += isinstance(outcome, Stored) and not outcome.dup
            stream.append(message(seq or 1, draft))
        outcomes, _ = await apply_all(folder / "replica.sqlite", stream, 1)
        assert [_without_time(one) for one in outcomes] == [_without_time(one) for one in expected]

    asyncio.run(scenario())


def _without_time(outcome: Outcome) -> object:
    return replace(outcome, at=0, body=b"", prev=0) if isinstance(outcome, Stored) else outcome


def test_a_message_that_is_stored_twice_is_one_entry(tmp_path: Path):
    """JetStream remembers an id for some minutes, the replica remembers a cid permanently."""
    stream = [message(3, hi("once", "c")), message(7, hi("once", "c")), message(9, hi("other", "c"))]

    async def scenario() -> None:
        (first, again, other), held = await apply_all(tmp_path / "replica.sqlite", stream, 3)
        assert isinstance(first, Stored)
        assert isinstance(again, Stored)
        assert again == replace(first, dup=True, prev=again.prev)
        assert isinstance(other, Rejected)
        assert other.code == "conflict"
        assert len(held["lobby"]) == 2

    asyncio.run(scenario())


def test_a_message_of_another_program_is_rejected(tmp_path: Path):
    headers = {
        "Nats-Sequence": "4",
        "Nats-Last-Sequence": "2",
        "Nats-Time-Stamp": "2026-01-02T03:04:05.678901234Z",
    }
    foreign = decode_stream_message("lobby", headers, b'{"by": 7}')
    assert foreign == StreamMessage("lobby", 4, 2, 1767323045678, None)
    stream = [message(2, hi("before")), foreign, message(5, hi("after"))]

    async def scenario() -> None:
        (_, rejected, after), _ = await apply_all(tmp_path / "replica.sqlite", stream, 3)
        assert isinstance(rejected, Rejected)
        assert isinstance(after, Stored)
        assert after.prev == 2

    asyncio.run(scenario())


def test_an_encoded_submission_is_decoded_unchanged():
    headers = {"Nats-Sequence": "1", "Nats-Last-Sequence": "0", "Nats-Time-Stamp": "2026-01-02T03:04:05Z"}
    submission = Submission("lobby", "ada", Edit(cid="c", user="ada", target=9, text="\u202e"), moderator=True)
    record = decode_stream_message("lobby", headers, encode_record(submission, "node", 7)).record
    assert record == Record("ada", submission.draft, "node", 7, moderator=True)


def test_message_ids_differ_by_room_principal_and_cid():
    keys = [("a", "b", "c"), ("ab", "", "c"), ("a", "bc", ""), ("a", 'b","c', ""), ("b", "a", "c")]
    assert len({message_id(*one) for one in keys} | {message_id("a", "b", "c", 1)}) == 6


def test_a_replica_of_another_stream_is_emptied(tmp_path: Path):
    path = tmp_path / "replica.sqlite"

    async def fill(epoch: str, text: str) -> list[bytes]:
        replica = Replica(path, epoch, lambda _: None)
        await replica.apply([message(1, hi(text))])
        found = await replica.read(queries.messages, "lobby", 9, None, None)
        await replica.close()
        return found

    assert len(asyncio.run(fill("one", "old"))) == 1
    [new] = asyncio.run(fill("two", "new"))
    assert b"new" in new


def test_a_log_is_not_used_as_a_replica(tmp_path: Path):
    path = tmp_path / "history.sqlite"

    async def scenario() -> None:
        log = SqliteLog(path)
        await log.append([hi("mine")])
        await log.close()
        with pytest.raises(StorageError, match="is a log, not the replica"):
            Replica(path, "e", lambda _: None)
        log = SqliteLog(path)  # unlocked again, and unchanged
        assert len(await log.messages("lobby", limit=9)) == 1
        await log.close()

    asyncio.run(scenario())


def test_two_nodes_do_not_share_a_replica(tmp_path: Path):
    async def scenario() -> None:
        replica = Replica(tmp_path / "replica.sqlite", "e", lambda _: None)
        with pytest.raises(StorageError, match="in use by another bqserver"):
            Replica(tmp_path / "replica.sqlite", "e", lambda _: None)
        await replica.close()

    asyncio.run(scenario())
