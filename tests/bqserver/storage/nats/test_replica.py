"""A node's view: whatever way the stream comes in, the same entries; and never a file that is somebody's log."""

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
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.submissions import submissions

from bqwidget.protocol import Edit, Send


def placed(seq: int, submission: Submission, at: int = 0) -> StreamMessage:
    room, principal, draft, verified, moderator = submission
    return StreamMessage(
        room, seq, 0, at or seq, Record(principal, draft, verified=verified, moderator=moderator)
    )


def hi(text: str, cid: str = "", room: str = "lobby") -> Submission:
    return Submission(room, "ada", Send(cid=cid, user="ada", text=text))


async def worked_out(
    path: Path, stream: Sequence[StreamMessage], size: int
) -> tuple[list[Outcome], dict[str, list[bytes]]]:
    """What the view says became of each, and what it then holds of each room."""
    outcomes: list[Outcome] = []
    view = Replica(path, "e", lambda worked: outcomes.extend(one.outcome for one in worked))
    for start in range(0, len(stream), size):
        await view.apply(stream[start : start + size])
    held = {}
    for room in sorted({one.room for one in stream}):
        messages = await view.readers.read(queries.messages, room, 500, None, None)
        entries = await view.readers.read(queries.entries, room, 0, 1 << 40, 500)
        held[room] = [*messages, *[entry.body for entry in entries]]
        assert [entry.prev for entry in entries] == [0, *[entry.seq for entry in entries]][: len(entries)]
    await view.close()
    return outcomes, held


SAID_AGAIN = [
    Submission(room, "ada", Send(cid=cid, user="ada", text="x"))
    for room, cid in (("a", ""), ("b", "1"), ("b", "1"))
]
"""A room that does not begin at the stream's beginning, and a cid that a node meets twice in one batch, or in two."""


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(drafts=SAID_AGAIN, one=1, other=3)
@given(drafts=st.lists(submissions(), max_size=30), one=st.integers(1, 30), other=st.integers(1, 30))
def test_every_node_works_out_the_same_however_the_stream_is_cut(tmp_path_factory, drafts, one, other):
    folder = tmp_path_factory.mktemp("views")
    stream = [placed(10 * number, draft) for number, draft in enumerate(drafts, 1)]

    async def story() -> None:
        first = await worked_out(folder / "a.sqlite", stream, one)
        assert first == await worked_out(folder / "b.sqlite", stream, other)

    asyncio.run(story())


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(said="aab", size=2, upto=20)
@given(said=st.text("ab", min_size=1, max_size=20), size=st.integers(1, 20), upto=st.integers(1, 200))
def test_what_was_let_go_does_not_come_back_where_the_stream_still_has_it(tmp_path_factory, said, size, upto):
    """A node that comes just then hears of it first, and finds it in the stream after that."""
    folder = tmp_path_factory.mktemp("views")
    stream = [placed(10 * number, hi(str(number), room=room)) for number, room in enumerate(said, 1)]
    rooms = sorted({one.room for one in stream})

    async def held(name: str, *, trimmed_first: bool) -> list[object]:
        view = Replica(folder / name, "e", lambda _: None)
        if trimmed_first:
            for room in rooms:
                view.trim(room, upto)
        for start in range(0, len(stream), size):
            await view.apply(stream[start : start + size])
        if not trimmed_first:
            for room in rooms:
                view.trim(room, upto)
        await view.apply(())
        found = [
            (
                await view.bounds(room),
                await view.entries(room, 0, 1 << 40, 500),
                await view.readers.read(queries.messages, room, 500, None, None),
            )
            for room in rooms
        ]
        await view.close()
        return list(found)

    async def story() -> None:
        late = await held("late.sqlite", trimmed_first=True)
        assert late == await held("early.sqlite", trimmed_first=False)

    asyncio.run(story())


@settings(deadline=None, max_examples=15)
@given(drafts=st.lists(submissions(), max_size=30))
def test_it_is_what_a_log_of_its_own_would_say(tmp_path_factory, drafts):
    """Only accepted drafts take a seq there; with the same seqs, everything else is the same too."""
    folder = tmp_path_factory.mktemp("views")
    alone = [Submission("lobby", *draft[1:]) for draft in drafts]

    async def story() -> None:
        log = MemoryLog()
        expected = [outcome for draft in alone for outcome in await log.append([draft])]
        seq, stream = 0, []
        for draft, outcome in zip(alone, expected, strict=True):
            seq += isinstance(outcome, Stored) and not outcome.dup
            stream.append(placed(seq or 1, draft))
        outcomes, _ = await worked_out(folder / "view.sqlite", stream, 1)
        assert [_timeless(one) for one in outcomes] == [_timeless(one) for one in expected]

    asyncio.run(story())


def _timeless(outcome: Outcome) -> object:
    return outcome._replace(at=0, body=b"", prev=0) if isinstance(outcome, Stored) else outcome


def test_what_is_stored_twice_is_one_entry(tmp_path: Path):
    """JetStream knows an id for some minutes, the view for ever."""
    stream = [placed(3, hi("once", "c")), placed(7, hi("once", "c")), placed(9, hi("other", "c"))]

    async def story() -> None:
        (first, again, other), held = await worked_out(tmp_path / "view.sqlite", stream, 3)
        assert isinstance(first, Stored)
        assert isinstance(again, Stored)
        assert again == first._replace(dup=True, prev=again.prev)
        assert isinstance(other, Rejected)
        assert other.code == "conflict"
        assert len(held["lobby"]) == 2

    asyncio.run(story())


def test_what_is_no_message_of_ours_is_passed_over(tmp_path: Path):
    headers = {
        "Nats-Sequence": "4",
        "Nats-Last-Sequence": "2",
        "Nats-Time-Stamp": "2026-01-02T03:04:05.678901234Z",
    }
    foreign = decode_stream_message("lobby", headers, b'{"by": 7}')
    assert foreign == StreamMessage("lobby", 4, 2, 1767323045678, None)
    stream = [placed(2, hi("before")), foreign, placed(5, hi("after"))]

    async def story() -> None:
        (_, refused, after), _ = await worked_out(tmp_path / "view.sqlite", stream, 3)
        assert isinstance(refused, Rejected)
        assert isinstance(after, Stored)
        assert after.prev == 2

    asyncio.run(story())


def test_a_sealed_submission_is_unsealed_as_it_was():
    headers = {"Nats-Sequence": "1", "Nats-Last-Sequence": "0", "Nats-Time-Stamp": "2026-01-02T03:04:05Z"}
    submission = Submission(
        "lobby", "ada", Edit(cid="c", user="ada", target=9, text="\u202e"), moderator=True
    )
    envelope = decode_stream_message("lobby", headers, encode_record(submission, "node", 7)).record
    assert envelope == Record("ada", submission.draft, "node", 7, moderator=True)


def test_ids_are_told_apart_by_room_principal_and_cid():
    named = [("a", "b", "c"), ("ab", "", "c"), ("a", "bc", ""), ("a", 'b","c', ""), ("b", "a", "c")]
    assert len({message_id(*one) for one in named} | {message_id("a", "b", "c", 1)}) == 6


def test_a_view_of_another_stream_is_begun_anew(tmp_path: Path):
    path = tmp_path / "view.sqlite"

    async def fill(epoch: str, text: str) -> list[bytes]:
        view = Replica(path, epoch, lambda _: None)
        await view.apply([placed(1, hi(text))])
        found = await view.readers.read(queries.messages, "lobby", 9, None, None)
        await view.close()
        return found

    assert len(asyncio.run(fill("one", "old"))) == 1
    [new] = asyncio.run(fill("two", "new"))
    assert b"new" in new


def test_a_log_of_its_own_is_never_taken_for_a_view(tmp_path: Path):
    path = tmp_path / "history.sqlite"

    async def story() -> None:
        log = SqliteLog(path)
        await log.append([hi("mine")])
        await log.close()
        with pytest.raises(StorageError, match="is a log, not the replica"):
            Replica(path, "e", lambda _: None)
        log = SqliteLog(path)  # unlocked again, and untouched
        assert len(await log.messages("lobby", limit=9)) == 1
        await log.close()

    asyncio.run(story())


def test_two_nodes_never_share_a_view(tmp_path: Path):
    async def story() -> None:
        view = Replica(tmp_path / "view.sqlite", "e", lambda _: None)
        with pytest.raises(StorageError, match="in use by another bqserver"):
            Replica(tmp_path / "view.sqlite", "e", lambda _: None)
        await view.close()

    asyncio.run(story())
