"""Whoever joins, resumes or stays: the same text for everybody, however pieces, commits and reads interleave."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
import pytest
from bqserver.hub.catch_up import start_join, start_resume
from bqserver.hub.dispatch import dispatch
from bqserver.hub.hub import Hub
from bqserver.hub.peer import Peer
from bqserver.model import Bounds, Outcome, Stored, Submission
from bqserver.storage.memory import MemoryLog
from hypothesis import given, settings
from hypothesis import strategies as st
from support.hub import RecordingConnection, frames, new_peer, run_in_virtual_time
from support.hub import join as join_room

from bqwidget.protocol import Append, Change, Delete, End, Message, Send, SetStep, encode, fold

SEQ = 1
"""Of the live message: the first entry."""


class SlowLog(MemoryLog):
    """Takes its time to commit and to read, in virtual seconds."""

    delay = 0.0

    def append(self, batch: Sequence[Submission]) -> asyncio.Future[list[Outcome]]:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[list[Outcome]] = loop.create_future()
        loop.call_later(self.delay, lambda: done.set_result(MemoryLog.append(self, batch).result()))
        return done

    async def bounds(self, room: str, *, min_seq: int = 0) -> Bounds:
        found = await super().bounds(room, min_seq=min_seq)
        await asyncio.sleep(self.delay)
        return found

    async def entries(self, room: str, *, after: int, upto: int, limit: int) -> list[Stored]:
        await asyncio.sleep(self.delay)
        found = await super().entries(room, after=after, upto=upto, limit=limit)
        await asyncio.sleep(self.delay)
        return found


class Reader:
    """A client that follows live messages, by the rules of DESIGN 3. It keeps what it has when it joins again."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.last = 0
        self.message: Message | None = None
        self.peer: Peer | None = None

    async def join(self) -> None:
        if self.peer is not None:
            self.read()
            self.hub.leave(self.peer)
        self.peer = new_peer(self.hub, RecordingConnection(), follows_live=True, user="reader")
        room = self.hub.enter(self.peer)
        await start_join(self.hub, room, self.peer, self.last, None)

    def resume(self) -> None:
        if self.peer is not None:
            self.read()
            start_resume(self.hub, self.hub.rooms["lobby"], self.peer, self.last, None)

    def read(self) -> None:
        assert self.peer is not None
        assert self.peer.connection.closed is None
        data = b"".join(self.peer.connection.writes)
        self.peer.connection.writes.clear()
        for frame in frames(data):
            self.on_frame(frame)

    def on_frame(self, frame: dict) -> None:
        match frame["type"]:
            case "message" | "change":
                entry = frame["entry"]
                if entry["seq"] <= self.last:
                    return
                assert frame["prev"] == self.last
                self.last = entry["seq"]
                if frame["type"] == "message":
                    if entry["seq"] == SEQ:
                        self.message = msgspec.convert(entry, Message)
                elif entry["target"] == SEQ and self.message is not None:
                    change = msgspec.convert(entry, Change)
                    if change.length is not None:
                        assert change.offset is not None
                        assert len(self.message.text) >= change.offset + change.length
                    self.message = fold(self.message, change)
            case "append":
                assert self.message is not None
                assert frame["offset"] <= len(self.message.text)
                del frame["type"]
                change = Change(seq=0, room="lobby", user="", at=0, kind="append", **msgspec.convert(frame, dict))
                self.message = fold(self.message, change)


letters = st.text("ab🦊", max_size=4)
actions = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, 3), letters),
        st.tuples(st.just("replace"), st.integers(0, 8), letters),
        st.tuples(st.just("step"), st.just(0), letters),
        st.tuples(st.just("say"), st.just(0), letters),
        st.tuples(st.just("join"), st.integers(0, 2), letters),
        st.tuples(st.just("resume"), st.integers(0, 2), letters),
        st.tuples(st.just("wait"), st.sampled_from([0.0, 0.01, 0.1, 2.5, 40.0]), letters),
        st.tuples(st.just("delay"), st.sampled_from([0.0, 0.005, 0.05, 3.0]), letters),
    ),
    max_size=40,
)


@pytest.mark.slow("tries random actions")
@settings(max_examples=300)
@given(actions=actions, last=st.sampled_from(["end", "end with a text", "lost", "delete"]))
def test_everybody_has_the_same_text(actions, last):
    run_in_virtual_time(_scenario(actions, last))


class Scene:
    """A bot that writes a live message on a slow log, and three readers."""

    def __init__(self, log: SlowLog | None = None) -> None:
        self.log = log or SlowLog()
        self.hub = Hub(self.log)
        self.readers = [Reader(self.hub) for _ in range(3)]
        self.text = ""

    async def open(self) -> None:
        bot = new_peer(self.hub, RecordingConnection(), client="bot", user="bot", follows_live=True)
        self.bot = await join_room(self.hub, bot)
        self.send(Send(cid="open", user="bot", text="", live=True))
        await self.readers[0].join()
        await asyncio.sleep(1)
        assert self.hub.live.find("lobby", SEQ) is not None

    def send(self, frame: object) -> None:
        dispatch(self.hub, self.hub.rooms["lobby"], self.bot, encode(frame).decode())

    async def act(self, number: int, what: str, amount: float, letters: str) -> None:
        text = self.text
        match what:
            case "append":
                offset = max(0, len(text) - int(amount))
                self.send(Append(target=SEQ, offset=offset, text=text[offset:] + letters))
                self.text += letters
            case "replace":
                offset = min(int(amount), len(text))
                self.send(Append(target=SEQ, offset=offset, text=letters, replace=True))
                self.text = text[:offset] + letters
            case "step":
                self.send(SetStep(cid=f"step-{number}", target=SEQ, id="a", title=letters or "t", state="done"))
            case "say":
                self.send(Send(cid=f"say-{number}", user="bot", text=letters or "hi"))
            case "join":
                await self.readers[int(amount)].join()
            case "resume":
                self.readers[int(amount)].resume()
            case "wait":
                await asyncio.sleep(amount)
            case "delay":
                self.log.delay = amount

    async def end(self, how: str) -> None:
        match how:
            case "end":
                self.send(End(cid="end", target=SEQ, end="done"))
            case "end with a text":
                self.text = "the end"
                self.send(End(cid="end", target=SEQ, end="done", text=self.text))
            case "lost":
                self.hub.leave(self.bot)
            case "delete":
                self.text = ""
                self.send(Delete(cid="delete", user="bot", target=SEQ))
        await asyncio.sleep(100)
        assert self.hub.live.find("lobby", SEQ) is None
        assert await self.log.live_messages() == []

    async def check(self) -> None:
        """Everybody has the same message, with the text that the bot has written."""
        for reader in self.readers:
            if reader.peer is None:
                await reader.join()
        await asyncio.sleep(100)
        [body, *_] = self.hub.live.newest("lobby", await self.log.messages("lobby", limit=200))
        message = msgspec.json.decode(body, type=Message)
        assert message.text == self.text
        for reader in self.readers:
            reader.read()
            assert reader.message == message


async def _scenario(actions: list[tuple[str, float, str]], last: str) -> None:
    scene = Scene()
    await scene.open()
    for number, action in enumerate(actions):
        await scene.act(number, *action)
    await scene.check()
    await scene.end(last)
    await scene.check()
    await scene.hub.close()


def test_a_text_that_is_stored_in_the_turn_in_which_a_member_goes_live():
    class CommittingLog(SlowLog):
        """Stores the text of the live message when the bounds have been read."""

        hub: Hub

        async def bounds(self, room: str, *, min_seq: int = 0) -> Bounds:
            found = await super().bounds(room, min_seq=min_seq)
            live = self.hub.live.find(room, SEQ)
            if live is not None and (draft := live.append_draft()) is not None:
                MemoryLog.append(self, [live.submission(draft)])
            return found

    async def scenario() -> None:
        log = CommittingLog()
        scene = Scene(log)
        log.hub = scene.hub
        await scene.open()
        for reader in scene.readers:
            await scene.act(0, "append", 0, "ab")
            await reader.join()
            await asyncio.sleep(0.01)
        await scene.check()
        await scene.hub.close()

    run_in_virtual_time(scenario())


def test_how_long_an_author_may_be_away():
    """A heartbeat; after a restart of the server, two."""

    async def scenario() -> None:
        log = MemoryLog()
        hub = Hub(log, heartbeat=10.0)
        bot = await join_room(hub, new_peer(hub, RecordingConnection(), client="bot", user="bot"))
        for cid in "ab":
            dispatch(hub, hub.rooms["lobby"], bot, encode(Send(cid=cid, user="bot", text="", live=True)).decode())
        await asyncio.sleep(100)
        dispatch(hub, hub.rooms["lobby"], bot, encode(End(cid="end", target=1, end="done")).decode())
        hub.leave(bot)
        await asyncio.sleep(9)
        bot = await join_room(hub, new_peer(hub, RecordingConnection(), client="bot", user="bot"))
        await asyncio.sleep(100)
        assert hub.live.find("lobby", 2) is not None
        hub.leave(bot)
        await asyncio.sleep(9)
        assert hub.live.find("lobby", 2) is not None
        after = Hub(log, heartbeat=10.0)  # the first one has crashed
        hub.orphans.close()
        await after.resume_live()
        await asyncio.sleep(19)
        assert after.live.find("lobby", 2) is not None
        await asyncio.sleep(2)
        assert after.live.find("lobby", 2) is None
        messages = [msgspec.json.decode(body, type=Message) for body in await log.messages("lobby", limit=2)]
        assert [message.end for message in messages] == ["done", "lost"]

    run_in_virtual_time(scenario())


def test_an_author_whose_connection_is_silent_is_lost_within_three_heartbeats():
    async def scenario() -> None:
        hub = Hub(MemoryLog(), heartbeat=10.0)
        connection = RecordingConnection()
        bot = await join_room(hub, new_peer(hub, connection, client="bot", user="bot"))
        dispatch(hub, hub.rooms["lobby"], bot, encode(Send(cid="a", user="bot", text="", live=True)).decode())
        await asyncio.sleep(1)
        connection.last_received_at = asyncio.get_running_loop().time()  # and nothing from then on
        while connection.closed is None:
            await asyncio.sleep(0.1)
        hub.leave(bot)
        while hub.live.find("lobby", 1) is not None:
            await asyncio.sleep(0.1)
        assert asyncio.get_running_loop().time() - connection.last_received_at <= 30.5
        await hub.close()

    run_in_virtual_time(scenario())


def test_saves_are_few():
    """A text that grows is saved at most once in 2 s, one that is replaced once in 30 s."""

    async def scenario(replace: bool | None) -> list[int]:
        hub = Hub(MemoryLog())
        bot = await join_room(hub, new_peer(hub, RecordingConnection(), client="bot", user="bot", follows_live=True))
        room = hub.rooms["lobby"]
        dispatch(hub, room, bot, encode(Send(cid="open", user="bot", text="", live=True)).decode())
        await asyncio.sleep(0.01)
        bot.connection.writes.clear()
        for number in range(1_000):
            piece = Append(target=SEQ, offset=0 if replace else 6 * number, text=f"{number:<6}", replace=replace)
            dispatch(hub, room, bot, encode(piece).decode())
            await asyncio.sleep(0.01)
        dispatch(hub, room, bot, encode(End(cid="end", target=SEQ, end="done")).decode())
        await asyncio.sleep(1)
        entries = await hub.log.entries("lobby", after=0, upto=1 << 40, limit=1_000)
        appended = [frame for frame in frames(b"".join(bot.connection.writes)) if frame["type"] == "append"]
        await hub.close()
        return [len(entries), sum(len(entry.body) for entry in entries), len(appended)]

    entries, size, pieces = run_in_virtual_time(scenario(None))
    assert entries <= 8
    assert size <= 2 * 6_000
    assert 240 <= pieces <= 260  # 25 a second
    entries, _, _ = run_in_virtual_time(scenario(True))
    assert entries == 4  # opened, the first text, the rest, the end
