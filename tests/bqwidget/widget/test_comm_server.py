"""The comm protocol without a kernel: simulated browsers must always end with the room's list."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bqwidget._client.message_list import MessageList
from bqwidget._client.status import Status
from bqwidget._widget.comm_server import (
    FRAMES_PER_ENVELOPE,
    MAX_BROWSERS,
    MAX_EARLY_COMMANDS,
    MAX_UNSEEN_ENVELOPES,
    CommServer,
)
from bqwidget._widget.commands import FrameCommand, HistoryCommand
from bqwidget.protocol import Ack, AppendFrame, Error, Message, MessageFrame, Send, Stop, StopFrame, Synced

TAIL = 20


class Room:
    """A log, and its newest messages as a snapshot."""

    def __init__(self) -> None:
        self.log: list[MessageFrame] = []

    def say(self) -> MessageFrame:
        seq = len(self.log) + 1
        message = Message(seq=seq, room="lobby", user="ada", text=f"message {seq}", at=seq)
        self.log.append(MessageFrame(entry=message, prev=seq - 1))
        return self.log[-1]

    def snapshot(self) -> list[object]:
        return [*self.log[-TAIL:], Synced(seq=len(self.log))]


class Browser:
    """Processes envelopes like the view: applies the next one, and needs a snapshot after a gap."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.k = 0
        self.n: int | None = None
        self.seqs: list[int] = []
        self.acked = 0

    def command(self, do: str, **more: object) -> dict[str, object]:
        self.k += 1
        return {"client": self.name, "k": self.k, "do": do, **more}

    def take(self, envelope: dict) -> bool:
        """Whether this envelope reveals a gap."""
        if "frames" in envelope:
            if self.n is None or envelope["n"] <= self.n:
                return False
            if envelope["n"] != self.n + 1:
                return True
            self.n = envelope["n"]
            self._add(envelope["frames"])
        elif envelope["to"] == self.name and "snapshot" in envelope:
            self.n = envelope["n"]
            self.seqs = []
            self._add(envelope["snapshot"])
        elif envelope["to"] == self.name and "ack" in envelope:
            self.acked = max(self.acked, envelope["ack"])
            return self.n is None  # its snapshot was sent before
        return False

    def _add(self, frames: list[dict]) -> None:
        self.seqs += [frame["entry"]["seq"] for frame in frames if frame["type"] == "message"]

    def seen(self) -> dict[str, object]:
        return {"client": self.name, "do": "seen", "n": self.n or 0}


@pytest.fixture
def room() -> Room:
    return Room()


@pytest.fixture
def envelopes(room: Room) -> CommServer:
    return CommServer(room.snapshot)


def opened(envelopes: CommServer, name: str = "b1") -> Browser:
    browser = Browser(name)
    envelopes.receive(browser.command("open"))
    for envelope in envelopes.drain():
        browser.take(envelope)
    return browser


def send(cid: str) -> dict[str, str]:
    return {"type": "chat.send", "cid": cid, "user": "ada", "text": "hi"}


def test_deltas_are_numbered_and_bounded(envelopes: CommServer, room: Room) -> None:
    envelopes.push([room.say() for _ in range(2 * FRAMES_PER_ENVELOPE + 1)])
    out = envelopes.drain()
    assert [(envelope["n"], len(envelope["frames"])) for envelope in out] == [(1, 500), (2, 500), (3, 1)]
    assert envelopes.drain() == []


def test_deltas_continue_a_snapshot(envelopes: CommServer, room: Room) -> None:
    envelopes.push([room.say(), room.say()])
    browser = opened(envelopes)
    assert browser.seqs == [1, 2]
    assert browser.acked == 1
    envelopes.push([room.say()])
    assert [browser.take(envelope) for envelope in envelopes.drain()] == [False]
    assert browser.seqs == [1, 2, 3]


def test_a_snapshot_is_offered_until_a_browser_asks(envelopes: CommServer, room: Room) -> None:
    envelopes.push([room.say()])
    envelopes.drain()
    offered = envelopes.offer()
    assert offered is not None
    assert (offered["n"], "to" in offered) == (1, False)
    assert [frame["entry"]["seq"] for frame in offered["snapshot"] if frame["type"] == "message"] == [1]
    assert opened(envelopes).seqs == [1]
    assert envelopes.offer() is None


def test_envelopes_are_plain_json(envelopes: CommServer, room: Room) -> None:
    envelopes.push([room.say(), Ack(cid="c", seq=1, at=1, dup=False)])
    (envelope,) = envelopes.drain()
    assert msgspec.json.decode(msgspec.json.encode(envelope)) == envelope
    assert [frame["type"] for frame in envelope["frames"]] == ["message", "ack"]


def test_a_message_needs_no_acknowledgement_and_a_count_of_drafts_no_envelope(
    envelopes: CommServer, room: Room
) -> None:
    message = room.say()
    entry = msgspec.structs.replace(message.entry, cid="c")
    assert envelopes.push([Status(status="open")])
    envelopes.push([Status(status="open", queued=1, now=5)])
    envelopes.push(
        [MessageFrame(entry=entry), Ack(cid="c", seq=1, at=1, dup=False), Ack(cid="d", seq=2, at=2, dup=False)]
    )
    (envelope,) = envelopes.drain()
    assert [(frame["type"], frame.get("cid")) for frame in envelope["frames"]] == [
        ("status", None),
        ("message", None),
        ("ack", "d"),
    ]
    assert not envelopes.push([Status(status="open")])
    assert envelopes.drain() == []
    assert envelopes.push([Status(status="reconnecting")])


def test_a_ping_resumes_when_the_unacknowledged_envelopes_may_be_lost(envelopes: CommServer, room: Room) -> None:
    browser = opened(envelopes)
    envelopes.receive(browser.seen())
    for _ in range(MAX_UNSEEN_ENVELOPES + 2):
        envelopes.push([room.say()])
        envelopes.drain()  # and none of it arrives
    envelopes.receive(browser.command("ping"))
    for envelope in envelopes.drain():
        browser.take(envelope)
    assert browser.seqs[-1] == len(room.log)


def piece(target: int, offset: int, text: str, *, replace: bool = False) -> AppendFrame:
    return AppendFrame(target=target, offset=offset, text=text, replace=replace or None)


def test_pieces_of_a_live_message_are_joined_between_other_frames(envelopes: CommServer, room: Room) -> None:
    envelopes.push([piece(1, 0, "one"), piece(2, 0, "1"), piece(1, 3, " two"), piece(2, 1, "2")])
    envelopes.push([StopFrame(target=1, user="bob"), piece(1, 7, "!")])
    (envelope,) = envelopes.drain()
    assert [(frame["type"], frame.get("text")) for frame in envelope["frames"]] == [
        ("append", "one two"),
        ("append", "12"),
        ("stop", None),
        ("append", "!"),
    ]


@given(
    start=st.text("abc🙂", max_size=6),
    states=st.lists(st.tuples(st.text("abc🙂", max_size=6), st.integers(0, 9), st.booleans()), max_size=8),
)
def test_joined_pieces_have_the_effect_of_all(start: str, states: list[tuple[str, int, bool]]) -> None:
    """An author adds to the text, repeats some of it, or replaces its end."""
    room = Room()
    pieces, text = [], start
    for added, back, replace in states:
        offset = max(0, len(text) - back)
        overlap = "" if replace else text[offset:]
        pieces.append(piece(1, offset, overlap + added, replace=replace))
        text = text[:offset] + overlap + added
    envelopes = CommServer(room.snapshot)
    envelopes.push(pieces)
    joined = [frame for envelope in envelopes.drain() for frame in envelope["frames"]]
    goes_back = any(one.offset < pieces[0].offset for one in pieces)
    assert len(joined) <= 1 or goes_back or any(replace for _, _, replace in states)
    shown = MessageList(10)
    shown.append(Message(seq=1, room="lobby", user="bot", text=start, at=1, live=True))
    for frame in joined:
        shown.grow(msgspec.convert(frame, AppendFrame))
    assert shown.newest(1)[0].text == text


def test_a_window_may_ask_to_stop(envelopes: CommServer) -> None:
    stop = {"type": "chat.stop", "target": 7, "user": "ada"}
    [command] = envelopes.receive(Browser("b1").command("frame", frame=stop))
    assert isinstance(command, FrameCommand)
    assert command.frame == Stop(target=7, user="ada")


def test_a_command_is_executed_once_and_in_order(envelopes: CommServer) -> None:
    browser = Browser("b1")
    first, second, third = (browser.command("frame", frame=send(f"c{n}")) for n in range(3))
    assert envelopes.receive(second) == envelopes.receive(third) == []
    assert [envelope["ack"] for envelope in envelopes.drain()] == [0]
    assert [command.frame.cid for command in envelopes.receive(first)] == ["c0", "c1", "c2"]
    assert envelopes.receive(second) == []
    assert envelopes.drain() == [{"to": "b1", "ack": 3}]


def test_commands_far_ahead_are_dropped(envelopes: CommServer) -> None:
    assert envelopes.receive({"client": "b1", "k": MAX_EARLY_COMMANDS + 1, "do": "open"}) == []
    for k in range(1, MAX_EARLY_COMMANDS + 1):
        envelopes.receive({"client": "b1", "k": k, "do": "open"})
    assert {"to": "b1", "ack": MAX_EARLY_COMMANDS} in envelopes.drain()


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        ({"type": "chat.send", "cid": "c1", "user": "ada"}, "text"),
        ({"type": "chat.send", "cid": "c1", "user": "ada", "text": 7}, "text"),
        ({"type": "chat.resume", "cid": "c1", "after": 0}, "chat.resume"),
        ({"type": "eval", "cid": "c1", "code": "1/0"}, "eval"),
        ({"type": "chat.stop", "cid": "c1", "target": "7", "user": "ada"}, "target"),
        ({"type": "chat.append", "cid": "c1", "target": 7, "offset": 0, "text": "x"}, "chat.append"),
        ({"cid": "c1"}, "type"),
    ],
)
def test_an_invalid_frame_is_answered_under_its_cid(envelopes: CommServer, frame: dict, expected: str) -> None:
    assert envelopes.receive({"client": "b1", "k": 1, "do": "frame", "frame": frame}) == []
    delta, ack = envelopes.drain()
    (error,) = delta["frames"]
    assert (error["type"], error["code"], error["cid"]) == ("error", "bad_field", "c1")
    assert expected in error["message"]
    assert ack == {"to": "b1", "ack": 1}


def test_an_invalid_history_command_gets_a_reply(envelopes: CommServer) -> None:
    assert envelopes.receive({"client": "b1", "k": 1, "do": "history", "limit": 100_000}) == []
    _, reply = envelopes.drain()
    assert (reply["reply"], reply["error"]["code"]) == (1, "bad_field")


@pytest.mark.parametrize(
    "content",
    [
        *(None, 7, "open", [], {}, {"do": "open"}, {"client": "b1", "do": "open"}),
        *({"client": "b1", "k": 0, "do": "open"}, {"client": "", "k": 1, "do": "open"}),
        {"client": "x" * 65, "k": 1, "do": "open"},
        {"client": "b1", "n": -1, "do": "seen"},
        {"client": 1, "k": 1, "do": "__import__"},
    ],
)
def test_unknown_commands_are_ignored(envelopes: CommServer, content: object) -> None:
    assert envelopes.receive(content) == []
    assert envelopes.drain() == []


def test_history_is_sent_to_the_browser_that_requested_it(envelopes: CommServer, room: Room) -> None:
    (command,) = envelopes.receive({"client": "b1", "k": 1, "do": "history", "before": 9, "limit": 2})
    assert command == HistoryCommand(client="b1", k=1, before=9, limit=2)
    envelopes.reply(command, [room.say().entry])
    envelopes.reply(command, Error(code="gone", message="no"))
    _, found, refused = envelopes.drain()
    assert (found["to"], found["reply"], found["messages"][0]["text"]) == ("b1", 1, "message 1")
    assert refused["error"] == {"code": "gone", "message": "no"}


# ---- flow control ----


def flood(envelopes: CommServer, room: Room, count: int) -> list[dict]:
    out = []
    for _ in range(count):
        envelopes.push([room.say()])
        out += envelopes.drain()
    return out


def test_a_browser_that_never_acknowledges_gets_everything(envelopes: CommServer, room: Room) -> None:
    opened(envelopes)
    assert len(flood(envelopes, room, 10 * MAX_UNSEEN_ENVELOPES)) == 10 * MAX_UNSEEN_ENVELOPES


def test_deltas_stop_without_acks_and_a_snapshot_resumes_them(envelopes: CommServer, room: Room) -> None:
    browser = opened(envelopes)
    envelopes.receive(browser.seen())
    sent = flood(envelopes, room, 10 * MAX_UNSEEN_ENVELOPES)
    assert len(sent) == MAX_UNSEEN_ENVELOPES + 1
    refused = Error(code="too_long", message="too long", cid="c1")
    envelopes.push([refused, room.say()])
    assert envelopes.drain() == []

    for envelope in sent:
        browser.take(envelope)
    envelopes.receive(browser.seen())
    snapshot, delta = envelopes.drain()
    assert (snapshot["to"], delta["frames"]) == ("b1", [msgspec.to_builtins(refused)])
    assert not any([browser.take(snapshot), browser.take(delta)])
    assert browser.seqs == [frame.entry.seq for frame in room.log[-TAIL:]]
    assert len(flood(envelopes, room, 5)) == 5


def test_other_browsers_notice_skipped_envelopes(envelopes: CommServer, room: Room) -> None:
    quick, other = opened(envelopes, "quick"), opened(envelopes, "other")
    envelopes.receive(quick.seen())
    for envelope in flood(envelopes, room, 2 * MAX_UNSEEN_ENVELOPES):
        quick.take(envelope)
        other.take(envelope)
    envelopes.receive(quick.seen())
    assert [other.take(envelope) for envelope in envelopes.drain()] == [False, True]
    envelopes.receive(other.command("open"))
    for envelope in envelopes.drain():
        other.take(envelope)
    assert other.seqs == [frame.entry.seq for frame in room.log[-TAIL:]]


def test_a_slow_browser_does_not_delay_a_fast_one(envelopes: CommServer, room: Room) -> None:
    quick, slow = opened(envelopes, "quick"), opened(envelopes, "slow")
    envelopes.receive(slow.seen())
    for _ in range(5 * MAX_UNSEEN_ENVELOPES):
        for envelope in flood(envelopes, room, 1):
            quick.take(envelope)
        envelopes.receive(quick.seen())
    assert quick.seqs == [frame.entry.seq for frame in room.log]


def test_the_least_recently_active_browser_is_forgotten(envelopes: CommServer) -> None:
    for number in range(2 * MAX_BROWSERS):
        opened(envelopes, f"b{number}")
        envelopes.receive({"client": "b0", "k": number + 2, "do": "frame", "frame": send(f"c{number}")})
    assert {"to": "b0", "ack": 2 * MAX_BROWSERS + 1} in envelopes.drain()
    assert len(envelopes._browsers) == MAX_BROWSERS


# ---- everything together, over a lossy connection ----


@given(st.data())
def test_every_command_is_executed_once_and_every_browser_ends_with_the_newest_messages(
    data: st.DataObject,
) -> None:
    """Envelopes are lost; commands are lost, duplicated and reordered; browsers resend until acked."""
    room, done = Room(), []
    envelopes = CommServer(room.snapshot)
    browsers = [Browser("b0"), Browser("b1")]
    unacked: dict[str, list[dict]] = {browser.name: [browser.command("open")] for browser in browsers}
    typed: dict[str, list[str]] = {browser.name: [] for browser in browsers}

    def receive(command: dict) -> None:
        for todo in envelopes.receive(command):
            assert isinstance(todo, FrameCommand)
            assert isinstance(todo.frame, Send)
            done.append((todo.client, todo.frame.cid))
            envelopes.push([room.say()])

    def deliver(envelope: dict, browser: Browser) -> None:
        missing = browser.take(envelope)
        waiting = unacked[browser.name]
        waiting[:] = [command for command in waiting if command["k"] > browser.acked]
        if missing and not any(command["do"] == "open" for command in waiting):
            waiting.append(browser.command("open"))

    for _ in range(data.draw(st.integers(1, 60))):
        browser = data.draw(st.sampled_from(browsers))
        match data.draw(st.sampled_from(["say", "type", "command", "seen", "drain"])):
            case "say":
                envelopes.push([room.say()])
            case "type":
                cid = f"{browser.name}-{browser.k}"
                typed[browser.name].append(cid)
                unacked[browser.name].append(browser.command("frame", frame=send(cid)))
            case "command" if unacked[browser.name]:
                receive(data.draw(st.sampled_from(unacked[browser.name])))
            case "seen":
                envelopes.receive(browser.seen())
            case "drain":
                for envelope in envelopes.drain():
                    for reader in browsers:
                        if data.draw(st.booleans()):
                            deliver(envelope, reader)

    for _ in range(4):  # without losses: all waiting commands are sent, and all envelopes arrive
        for browser in browsers:
            for command in list(unacked[browser.name]):
                receive(command)
        envelopes.push([room.say()])
        for envelope in envelopes.drain():
            for browser in browsers:
                deliver(envelope, browser)

    for browser in browsers:
        assert [cid for name, cid in done if name == browser.name] == typed[browser.name]
        tail = [frame.entry.seq for frame in room.log[-TAIL:]]
        assert browser.seqs[-len(tail) :] == tail
