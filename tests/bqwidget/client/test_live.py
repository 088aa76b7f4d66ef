"""Live messages in the session, frame by frame: those of others, and those that it writes."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule
from support.client.any_network import EXAMPLES, AnyNetwork, hello, joined, seqs

from bqwidget._client.live.drafts import MAX_PIECE_CHARACTERS, LiveDraft
from bqwidget.protocol import (
    Ack,
    Append,
    AppendFrame,
    Change,
    ChangeFrame,
    End,
    Error,
    Limits,
    Message,
    MessageFrame,
    Progress,
    Resume,
    Send,
    SetStep,
    Step,
    StopFrame,
    Synced,
    fold,
    spliced,
)


def opened(seq, prev, text="", **fields):
    entry = Message(seq=seq, room="lobby", user="bot", text=text, at=seq * 1000, live=True, **fields)
    return MessageFrame(entry=entry, prev=prev)


def changed(seq, prev, kind, target=1, **fields):
    return ChangeFrame(
        entry=Change(seq=seq, room="lobby", user="bot", at=seq * 1000, kind=kind, target=target, **fields), prev=prev
    )


def piece(offset, text, target=1, **fields):
    return AppendFrame(target=target, offset=offset, text=text, **fields)


def reading(text=""):
    """A session in a room with one message, which is live."""
    one = joined()
    one.receive([opened(1, 0, text)], 0)
    return one


def text_of(one, seq=1):
    return one.messages.find(seq).text


# ---- those of others ----


def test_pieces_grow_the_message_and_are_passed_on_once():
    one = reading("one")
    grown = piece(3, " two")
    assert one.receive([grown, grown, piece(1, "ne tw")], 0) == [grown]
    assert text_of(one) == "one two"
    assert one.last_seq == 1


def test_a_piece_beyond_the_text_waits_for_the_log():
    one = reading("one")
    assert one.receive([piece(9, "x"), piece(0, "zero", target=7)], 0) == []
    saved = changed(2, 1, "append", offset=3, text=" two ")
    assert one.receive([saved], 0) == [saved]
    assert text_of(one) == "one two "


def test_an_entry_without_its_text_is_accepted_where_the_pieces_arrived():
    one = reading()
    one.receive([piece(0, "one two"), changed(2, 1, "append", offset=0, length=3)], 0)
    assert (text_of(one), one.last_seq, one.outgoing(0)) == ("one two", 2, [])
    assert one.messages.live_text(1).logged == "one"


def test_an_entry_without_its_text_is_requested_where_a_piece_is_missing():
    one = reading("one")
    assert one.receive([changed(2, 1, "append", offset=3, length=4), changed(3, 2, "end", end="done")], 0) == []
    assert one.outgoing(0) == [Resume(after=1, epoch="e1")]
    one.receive([changed(2, 1, "append", offset=3, text=" two"), changed(3, 2, "end", end="done")], 0)
    assert one.messages.find(1) == msgspec.structs.replace(opened(1, 0).entry, text="one two", live=False, end="done")


def test_at_its_end_a_message_has_the_text_of_the_log():
    """A server that crashed had passed on pieces that it had not saved: windows get the shorter text with the end."""
    one = reading()
    one.receive([piece(0, "one two"), changed(2, 1, "append", offset=0, length=3)], 0)
    [frame] = one.receive([changed(3, 2, "end", end="lost")], 0)
    assert (text_of(one), frame.entry.text, frame.entry.end) == ("one", "one", "lost")


def test_replaced_text_and_progress():
    one = reading("1 of 9")
    half = Progress(fraction=0.5)
    one.receive([piece(0, "5 of 9", replace=True, progress=half)], 0)
    assert (text_of(one), one.messages.find(1).progress) == ("5 of 9", half)
    again = piece(0, "5 of 9", replace=True, progress=half)
    assert one.receive([again], 0) == []
    one.receive([changed(2, 1, "end", end="done", text="9 of 9")], 0)
    assert text_of(one) == "9 of 9"


def test_steps_fold():
    one = reading()
    one.receive([changed(2, 1, "step", id="1", title="search", state="running")], 0)
    one.receive([changed(3, 2, "step", id="1", title="search", state="done", text="3 hits", ms=7)], 0)
    assert one.messages.find(1).steps == (Step(id="1", title="search", state="done", text="3 hits", ms=7),)


def test_a_live_message_that_is_not_kept_any_more_is_heard_at_its_end():
    one = joined(keep=1)
    one.receive([opened(1, 0), MessageFrame(entry=Message(seq=2, room="lobby", user="a", text="b", at=2), prev=1)], 0)
    one.receive([piece(0, "late")], 0)
    end = changed(4, 2, "append", offset=0, text="late!"), changed(5, 4, "end", end="done")
    [(seq, message)] = one.messages.completed(one.receive(end, 0))
    assert (seq, message.text, seqs(one)) == (5, "late!", [2])
    assert [m.seq for m in one.messages.finished_after(2)] == [1]
    assert one.messages.finished_after(5) == []


def test_code_hears_a_live_message_once_when_it_has_ended():
    one = joined()
    frames = [
        opened(1, 0),
        piece(0, "x"),
        changed(2, 1, "append", offset=0, length=1),
        changed(3, 2, "end", end="done"),
    ]
    assert [one.messages.completed(one.receive([frame], 0)) for frame in frames[:3]] == [[], [], []]
    assert [m.text for m in one.messages.grown(frames[:3])] == ["x"]
    [(seq, message)] = one.messages.completed(one.receive(frames[3:], 0))
    assert (seq, message.seq, message.text, message.live) == (3, 1, "x", False)


def test_a_deleted_live_message_is_not_heard():
    one = reading("x")
    delete = changed(2, 1, "delete")
    assert one.messages.completed(one.receive([delete, changed(3, 2, "end", end="done")], 0)) == []
    assert one.messages.find(1).deleted


# ---- those that this member writes ----


def writing(one, text=""):
    """A message that ``one`` writes, accepted by the server as seq 1."""
    stops = []
    draft = LiveDraft(Send(cid="c", user="ada", text="", live=True), "end", lambda: stops.append(1))
    draft.stops = stops
    one.live_drafts.add(draft)
    one.outbox.put(draft.send)
    assert one.outgoing(0) == [draft.send]
    entry = Message(seq=1, room="lobby", user="ada", text="", at=1, live=True, cid="c")
    one.receive([MessageFrame(entry=entry, prev=0)], 0)
    one.outbox.results.clear()
    draft.content = (text, None)
    return draft


def append(offset, text, **fields):
    return Append(target=1, offset=offset, text=text, **fields)


def test_what_is_added_is_sent_at_once_and_then_joined():
    one = joined()
    draft = writing(one, "one")
    assert one.outgoing(0) == [append(0, "one")]
    draft.content = ("one t", None)
    assert one.outgoing(0.001) == []
    draft.content = ("one two", None)
    assert one.next_send_at() == 0.01
    assert one.outgoing(0.01) == [append(3, " two")]
    assert one.next_send_at() is None


def test_nothing_is_sent_before_the_message_is_in_the_log():
    one = joined()
    draft = LiveDraft(Send(cid="c", user="ada", text="", live=True), "end", lambda: None)
    one.live_drafts.add(draft)
    draft.content = ("early", None)
    draft.set_step(SetStep(cid="s", target=0, id="1", title="t", state="running"))
    draft.end("done")
    assert one.outgoing(0) == []


def test_a_long_text_is_sent_in_pieces_that_fit_into_a_frame():
    one = joined()
    writing(one, "\0" * (2 * MAX_PIECE_CHARACTERS + 1))
    now, pieces = 0.0, []
    while (due := one.next_send_at()) is not None:
        now = max(now, due)
        pieces += one.outgoing(now)
    assert [len(each.text) for each in pieces] == [MAX_PIECE_CHARACTERS, MAX_PIECE_CHARACTERS, 1]
    assert all(len(msgspec.json.encode(each)) < Limits().frame for each in pieces)
    assert now == pytest.approx(2 * MAX_PIECE_CHARACTERS / 100_000)  # a flood does not fill the network


def test_a_replaced_text_is_sent_from_the_first_difference_and_whole_at_the_end():
    one = joined()
    draft = writing(one, "1 of 9")
    one.outgoing(0)
    draft.content = ("1 of 10", Progress(fraction=0.1))
    assert one.outgoing(1) == [append(5, "10", replace=True, progress=Progress(fraction=0.1))]
    draft.end("done")
    assert one.outgoing(2) == [End(cid="end", target=1, end="done", text="1 of 10", user="ada")]


def test_the_end_follows_all_text_and_all_steps():
    one = joined()
    draft = writing(one, "a" * (MAX_PIECE_CHARACTERS + 1))
    draft.set_step(SetStep(cid="s", target=0, id="1", title="t", state="done", user="ada"))
    draft.end("done")
    sent = one.outgoing(0)
    assert [type(frame) for frame in sent] == [Append, Append, SetStep]
    assert one.next_send_at() == 10  # of the step
    step = ChangeFrame(
        entry=Change(
            seq=2, room="lobby", user="ada", at=2, kind="step", target=1, cid="s", id="1", title="t", state="done"
        ),
        prev=1,
    )
    one.receive([step], 0)
    assert one.outgoing(0) == [End(cid="end", target=1, end="done", user="ada")]
    assert list(one.live_drafts) == [draft]
    one.receive([Ack(cid="end", seq=3, at=3, dup=False), changed(3, 2, "end", end="done", cid="end")], 0)
    assert list(one.live_drafts) == []


def test_after_a_reconnect_what_the_log_lacks_is_sent_again():
    one = joined()
    draft = writing(one, "one two")
    one.outgoing(0)
    one.receive([piece(0, "one two"), changed(2, 1, "append", offset=0, length=3)], 0)
    one.on_disconnect(1)
    draft.content = ("one two three", None)
    assert one.next_send_at() is None
    one.receive([hello(2, resumed=True), Synced(seq=2)], 2)
    assert one.outgoing(2) == [append(3, " two three")]


def test_a_server_that_is_behind_gets_the_rest():
    one = joined()
    writing(one, "one two")
    one.outgoing(0)
    assert one.receive([Error(code="behind", message="", target=1, offset=3)], 0) == []  # nothing for a window
    assert one.outgoing(0) == [append(3, " two")]


def test_a_stop_says_who_asked_and_counts_once():
    one = joined()
    draft = writing(one)
    stop = StopFrame(target=1, user="bob")
    assert one.receive([StopFrame(target=9, user="eve"), stop, StopFrame(target=1, user="eve")], 0)[1] == stop
    assert (draft.stopped_by, draft.stops) == ("bob", [1])
    draft.end("stopped")
    assert one.outgoing(0) == [End(cid="end", target=1, end="stopped", stopped_by="bob", user="ada")]


@pytest.mark.parametrize(
    "frame",
    [
        StopFrame(target=1, user="bob"),
        Error(code="not_live", message="", target=1),
        changed(2, 1, "end", end="lost"),
        changed(2, 1, "delete"),
    ],
    ids=["stop", "error", "end", "delete"],
)
def test_what_comes_in_one_read_with_the_message_counts(frame):
    one, stops = joined(), []
    draft = LiveDraft(Send(cid="c", user="ada", text="", live=True), "end", lambda: stops.append(1))
    one.live_drafts.add(draft)
    one.outbox.put(draft.send)
    one.outgoing(0)
    entry = Message(seq=1, room="lobby", user="ada", text="", at=1, live=True, cid="c")
    one.receive([MessageFrame(entry=entry, prev=0), frame], 0)
    assert stops == [1]
    assert draft.target == 1


@pytest.mark.parametrize(
    "frame",
    [
        Error(code="not_live", message="", target=1),
        changed(2, 1, "end", end="lost"),
        changed(2, 1, "delete"),
    ],
)
def test_a_message_that_ended_otherwise_gets_no_more_text(frame):
    one = joined()
    draft = writing(one)
    one.receive([frame], 0)
    draft.content = ("more", None)
    assert (draft.is_over, draft.stops, one.outgoing(0), one.next_send_at()) == (True, [1], [], None)
    draft.end("done")
    assert [frame.cid for frame in one.outgoing(0)] == ["end"]  # whose refusal is its result


def test_a_refused_message_fails_its_end_and_steps_too():
    one = joined()
    draft = LiveDraft(Send(cid="c", user="ada", text="", live=True), "end", lambda: None)
    one.live_drafts.add(draft)
    one.outbox.put(draft.send)
    draft.set_step(SetStep(cid="s", target=0, id="1", title="t", state="running"))
    one.outgoing(0)
    one.receive([Error(code="muted", message="", cid="c")], 0)
    assert [cid for cid, _ in one.outbox.results] == ["c", "s", "end"]
    assert (draft.is_over, list(one.live_drafts)) == (True, [])


# ---- any network, any server ----


class AnyWriting(AnyNetwork):
    """Live messages of another member and of this one; the server may crash, and loses what it had not saved.

    The text of a message is the beginning of one that only its seq decides, as an author sends the same again.
    """

    @initialize(keep=st.integers(1, 12), seed=st.integers(0, 2**16))
    def begin(self, keep, seed):
        self.newest_texts = {}
        self.drafts = []
        super().begin(keep, seed)

    # the server

    def stored(self, seq):
        """The message as the log has it."""
        return next((message for message in self.folded() if message.seq == seq), None)

    def lives(self):
        return [message for message in self.folded() if message.live]

    def text(self, message):
        return self.newest_texts.get(message.seq, message.text)

    def pass_on(self, target, offset, text):
        if self.live:
            self.wire.append(AppendFrame(target=target, offset=offset, text=text))

    def save(self, message):
        text = self.text(message)
        if text != message.text:
            added = text[len(message.text) :]
            fields = {"kind": "append", "target": message.seq, "offset": len(message.text), "user": message.user}
            wire, self.wire = self.wire, type(self.wire)()
            self.append(Change, text=added, **fields)
            sent = [
                ChangeFrame(entry=msgspec.structs.replace(f.entry, text=None, length=len(added)), prev=f.prev)
                for f in self.wire
            ]
            self.wire = wire
            self.wire.extend(sent)

    def finish(self, message, end, cid=None):
        self.save(message)
        self.append(Change, kind="end", target=message.seq, user=message.user, end=end, cid=cid)
        self.newest_texts.pop(message.seq, None)

    def replay(self, after, epoch):
        super().replay(after, epoch)
        for message in self.lives():
            tail = self.text(message)[len(message.text) :]
            if tail:
                self.pass_on(message.seq, len(message.text), tail)

    @precondition(lambda self: not self.live)
    @rule()
    def connect(self):
        super().connect()
        for message in self.lives():
            tail = self.text(message)[len(message.text) :]
            if tail:
                self.pass_on(message.seq, len(message.text), tail)

    def receive_by_server(self, frame):
        match frame:
            case Send(live=True):
                found = next((entry for entry in self.log if entry.cid == frame.cid), None)
                dup = found is not None
                found = found or self.append(Message, user="ada", text=frame.text, cid=frame.cid, live=True)
                self.wire.append(Ack(cid=frame.cid, seq=found.seq, at=found.at, dup=dup))
            case Append(target=target, offset=offset, text=text):
                message = self.stored(target)
                if message is None or not message.live:
                    self.wire.append(Error(code="not_live", message="", target=target))
                elif offset > len(self.text(message)):
                    self.wire.append(Error(code="behind", message="", target=target, offset=len(self.text(message))))
                else:
                    self.newest_texts[target] = spliced(self.text(message), offset, text)
                    self.pass_on(target, offset, text)
            case End(cid=cid, target=target, end=end):
                found = next((entry for entry in self.log if entry.cid == cid), None)
                message = self.stored(target)
                if found is not None:
                    self.wire.append(Ack(cid=cid, seq=found.seq, at=found.at, dup=True))
                elif message is None or not message.live:
                    self.wire.append(Error(code="not_live", message="", cid=cid))
                else:
                    self.finish(message, end, cid)
                    self.wire.append(Ack(cid=cid, seq=self.newest, at=self.newest * 10, dup=False))
            case _:
                super().receive_by_server(frame)

    # the events

    @rule()
    def open_theirs(self):
        self.append(Message, user="bot", text="", live=True)

    @rule(count=st.integers(1, 7))
    def they_write(self, count):
        for message in self.lives():
            if message.user == "bot":
                text = self.text(message)
                whole = random.Random(message.seq).choices("abc🙂", k=len(text) + count)
                self.newest_texts[message.seq] = "".join(whole)
                self.pass_on(message.seq, len(text), "".join(whole[len(text) :]))

    @rule()
    def save_all(self):
        for message in self.lives():
            self.save(message)

    @rule(end=st.sampled_from(["done", "stopped", "lost"]))
    def they_end(self, end):
        for message in self.lives():
            if message.user == "bot" or end == "lost":
                self.finish(message, end)
                break

    @precondition(lambda self: self.live)
    @rule()
    def crash(self):
        self.disconnect()
        self.newest_texts.clear()

    @precondition(lambda self: len(self.drafts) < 3)
    @rule()
    def open_own(self):
        cid = f"live{len(self.drafts)}"
        draft = LiveDraft(Send(cid=cid, user="ada", text="", live=True), f"{cid}-end", lambda: None)
        self.drafts.append(draft)
        self.session.live_drafts.add(draft)
        self.session.outbox.put(draft.send)
        self.sent_cids |= {cid, draft.end_cid}

    @rule(text=st.text("xyz🙂", min_size=1, max_size=9))
    def write(self, text):
        for draft in self.drafts:
            if not draft.is_ending:
                draft.content = (draft.content[0] + text, None)

    @precondition(lambda self: self.drafts)
    @rule()
    def end_own(self):
        self.drafts[-1].end("done")

    @rule(lost=st.booleans())
    def flush(self, lost):
        if lost and self.live and list(self.session.live_drafts):
            self.disconnect()  # otherwise a connection loses nothing of what is sent
        else:
            super().flush(lost)

    def restore_a_backup(self):
        """A backup has no live messages: with them, the other end of this would have to start again too."""

    @rule()
    def settle(self):
        for draft in self.drafts:
            draft.end("done")
        if not self.live:
            self.connect()
        for _ in range(200):
            self.now += 1.5
            while self.wire:
                self.deliver()
            if self.session.wanted_page:
                self.page()
            for message in self.lives():
                if message.user == "bot":
                    self.finish(message, "done")
            super().flush(lost=False)
            if not self.wire and not self.session.wanted_page:
                self.wire.append(Synced(seq=self.newest))
                if self.session.last_seq == self.newest and not len(self.session.outbox) and not self.lives():
                    break
        while self.wire:
            self.deliver()
        folded = self.folded()
        assert self.session.messages.snapshot() == folded[-self.session.messages.keep :]
        assert list(self.session.live_drafts) == []
        for draft in self.drafts:
            [message] = [message for message in folded if message.cid == draft.send.cid]
            ends = [entry for entry in self.log if entry.cid == draft.end_cid]
            assert len(ends) <= 1
            if not ends:
                assert message.end == "lost" or message.deleted
            elif not message.edited:
                assert message.text == draft.content[0]


def test_folding_of_the_model_is_that_of_the_protocol():
    message = opened(1, 0, "one").entry
    assert fold(message, changed(2, 1, "append", offset=3, text=" two").entry).text == "one two"


AnyWriting.TestCase.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=40,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestWriting = AnyWriting.TestCase
