"""The session, frame by frame: no sockets, no clock, no sleeping."""

from __future__ import annotations

import os
import random
from collections import deque

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bqwidget.protocol import (
    Ack,
    Change,
    ChangeFrame,
    Command,
    Error,
    Gap,
    Hello,
    Limits,
    Member,
    Message,
    MessageFrame,
    Ping,
    Presence,
    Resume,
    Send,
    Synced,
    fold,
)
from bqwidget.session import MAX_HELD_FRAMES, Session

EXAMPLES = int(os.environ.get("BQWIDGET_EXAMPLES", "50"))


def hello(seq=0, epoch="e1", oldest=0, resumed=False):
    return Hello(
        room="lobby",
        epoch=epoch,
        seq=seq,
        oldest=oldest,
        resumed=resumed,
        limits=Limits(rate=0),
        heartbeat_ms=30_000,
    )


def message(seq, text="", cid=None):
    return Message(seq=seq, room="lobby", user="ada", text=text or f"m{seq}", at=seq * 1000, cid=cid)


def live(seq, prev, **kwargs):
    return MessageFrame(entry=message(seq, **kwargs), prev=prev)


def draft(cid, text="hi"):
    return Send(cid=cid, user="ada", text=text)


def session(keep=1000, rand=lambda: 0.5):
    return Session("lobby", keep=keep, random=rand)


def joined(*seqs, keep=1000):
    """An open session in a room whose messages have these seqs."""
    one = session(keep)
    one.receive([hello(seqs[-1] if seqs else 0)], 0)
    while one.wanted_page:
        below = [message(seq) for seq in seqs if seq < one.wanted_page.seq]
        one.receive_page(one.wanted_page, below[-one.wanted_page.limit :], 0)
    one.receive([Synced(seq=one.last_seq)], 0)
    assert one.state == "open"
    return one


def seqs(one):
    return [message.seq for message in one.messages.snapshot()]


# ---- joining ----


def test_the_first_join_has_no_cursor_and_loads_the_list_by_pages():
    one = session(keep=250)
    assert one.resume_query() == {}
    assert one.receive([hello(300), live(301, 300), Synced(seq=301)], 0) == []
    assert (one.wanted_page.kind, one.wanted_page.seq, one.wanted_page.limit) == ("messages", 301, 200)
    assert one.receive_page(one.wanted_page, [message(seq) for seq in range(101, 301)], 0) == []
    assert (one.wanted_page.seq, one.wanted_page.limit) == (101, 50)
    assert one.state == "connecting"
    accepted = one.receive_page(one.wanted_page, [message(seq) for seq in range(51, 101)], 0)
    assert [type(frame) for frame in accepted] == [Hello, MessageFrame]
    assert seqs(one) == list(range(52, 302))
    assert one.state == "open"
    assert one.joined_seq == 300
    assert one.wanted_page is None


def test_an_empty_room_opens_empty():
    one = joined()
    assert (one.last_seq, seqs(one), one.messages.gapless_after) == (0, [], 0)
    one.receive([live(1, 0)], 0)
    assert seqs(one) == [1]


def test_frames_before_hello_are_ignored():
    one = session()
    assert one.receive([live(1, 0), Synced(seq=1), Gap(from_=0, to=9, reason="long")], 0) == []
    assert (one.last_seq, one.wanted_page, one.outgoing(0)) == (0, None, [])


def test_a_load_continues_after_a_reconnect():
    one = session()
    one.receive([hello(300)], 0)
    one.receive_page(one.wanted_page, [message(seq) for seq in range(101, 301)], 0)
    wanted = one.wanted_page
    one.on_disconnect(1)
    assert one.resume_query() == {"after": "300", "epoch": "e1"}
    one.receive([hello(301, resumed=True), live(301, 300), Synced(seq=301)], 2)
    assert one.wanted_page is wanted
    one.receive_page(one.wanted_page, [message(seq) for seq in range(1, 101)], 2)
    assert seqs(one) == list(range(1, 302))
    assert one.state == "open"


def test_changes_received_while_loading_are_folded_once():
    edited = Change(seq=11, room="lobby", user="ada", at=11, kind="edit", target=10, text="one")
    again = Change(seq=12, room="lobby", user="ada", at=12, kind="edit", target=10, text="two")
    one = session()
    one.receive([hello(10), ChangeFrame(entry=edited, prev=10), ChangeFrame(entry=again, prev=11)], 0)
    one.receive_page(one.wanted_page, [fold(fold(message(10), edited), again)], 0)
    assert one.messages.snapshot() == [fold(fold(message(10), edited), again)]


# ---- the client rule ----


def test_duplicate_entries_are_dropped():
    one = joined(1, 2)
    assert one.receive([live(2, 1), live(1, 0)], 0) == []
    assert seqs(one) == [1, 2]


def test_a_missing_entry_is_requested_once():
    one = joined(1, 2)
    assert one.receive([live(5, 4), live(6, 5)], 0) == []
    assert one.outgoing(0) == [Resume(after=2, epoch="e1")]
    assert one.outgoing(0) == []
    one.receive([live(4, 2), live(5, 4), live(6, 5), Synced(seq=6)], 0)
    assert seqs(one) == [1, 2, 4, 5, 6]
    assert one.outgoing(0) == []


def test_a_lost_resume_is_sent_again():
    one = joined(1)
    one.receive([live(3, 2)], 0)
    one.outgoing(0)
    one.receive([Synced(seq=3)], 0.5)
    assert one.outgoing(0.5) == []
    one.receive([Synced(seq=3)], 2)
    assert one.outgoing(2) == [Resume(after=1, epoch="e1")]


def test_synced_reveals_lost_entries():
    one = joined(1)
    one.receive([Synced(seq=2)], 0)
    assert one.outgoing(0) == [Resume(after=1, epoch="e1")]


def test_an_entry_without_prev_is_next():
    one = joined(1)
    one.receive([MessageFrame(entry=message(7))], 0)
    assert seqs(one) == [1, 7]


def test_a_cursor_between_two_entries_misses_nothing():
    one = joined(1)
    one.receive([Gap(from_=1, to=5, reason="trimmed")], 0)
    one.receive_page(one.wanted_page, [], 0)
    assert one.last_seq == 5
    one.receive([live(9, 3)], 0)
    assert seqs(one) == [1, 9]


def test_changes_fold_and_count_as_entries():
    one = joined(1, 2)
    change = Change(seq=3, room="lobby", user="ada", at=3, kind="edit", target=1, text="new")
    one.receive([ChangeFrame(entry=change, prev=2), live(4, 3)], 0)
    assert [m.text for m in one.messages.snapshot()] == ["new", "m2", "m4"]
    assert one.messages.snapshot()[0].edited == 3
    assert one.last_seq == 4


# ---- gaps ----


def test_a_gap_is_filled_by_pages_while_live_frames_are_held():
    one = joined(1)
    one.receive([Gap(from_=1, to=401, reason="long"), live(402, 401), Synced(seq=402)], 0)
    assert (one.wanted_page.kind, one.wanted_page.seq) == ("log", 1)
    first = one.wanted_page
    one.receive_page(first, [message(seq) for seq in range(2, 202)], 0)
    assert one.receive_page(first, [message(seq) for seq in range(2, 202)], 0) == []
    assert one.wanted_page.seq == 201
    one.receive_page(one.wanted_page, [message(seq) for seq in range(202, 402)], 0)
    assert one.wanted_page is None
    assert seqs(one) == list(range(1, 403))
    assert one.outgoing(0) == []


def test_a_gap_below_the_cursor_is_ignored():
    one = joined(1, 2, 3)
    one.receive([Gap(from_=1, to=3, reason="slow")], 0)
    assert one.wanted_page is None


def test_a_gap_request_ends_with_its_connection():
    one = joined(1)
    one.receive([Gap(from_=1, to=5, reason="long")], 0)
    one.on_disconnect(0)
    assert one.wanted_page is None
    assert one.resume_query() == {"after": "1", "epoch": "e1"}


def test_held_frames_are_bounded_and_requested_again():
    one = joined(1)
    one.receive([Gap(from_=1, to=2, reason="long")], 0)
    one.receive([live(seq, seq - 1) for seq in range(3, MAX_HELD_FRAMES + 10)], 0)
    one.receive_page(one.wanted_page, [message(2)], 0)
    assert one.last_seq == MAX_HELD_FRAMES + 2
    one.receive([live(MAX_HELD_FRAMES + 10, MAX_HELD_FRAMES + 9)], 0)
    assert one.outgoing(0) == [Resume(after=MAX_HELD_FRAMES + 2, epoch="e1")]


@pytest.mark.parametrize("frame", [hello(2, "e2"), Gap(from_=0, to=2, reason="epoch")])
def test_a_new_epoch_reloads(frame):
    one = joined(1, 2, 3)
    one.receive([frame], 0)
    assert (one.wanted_page.kind, one.wanted_page.seq) == ("messages", 3)
    other = [message(1, "other"), message(2, "world")]
    accepted = one.receive_page(one.wanted_page, other, 0)
    assert isinstance(accepted[0], Hello)
    assert one.messages.snapshot() == other
    assert one.joined_seq == 2


def test_a_page_requested_before_a_reload_is_ignored():
    one = session()
    one.receive([hello(3)], 0)
    old = one.wanted_page
    one.receive([hello(1, "e2")], 0)
    assert one.receive_page(old, [message(1), message(2), message(3)], 0) == []
    one.receive_page(one.wanted_page, [message(1, "other")], 0)
    assert one.messages.snapshot() == [message(1, "other")]


def test_held_frames_are_dropped_with_their_connection():
    one = joined(1)
    one.receive([Gap(from_=1, to=5, reason="long"), live(6, 5)], 0)
    one.on_disconnect(0)
    one.receive([hello(1), Gap(from_=1, to=2, reason="long")], 1)
    one.receive_page(one.wanted_page, [message(2)], 1)
    assert (seqs(one), one.last_seq, one.outgoing(1)) == ([1, 2], 2, [])


# ---- status and backoff ----


def test_the_state_follows_the_connection():
    one = session()
    assert (one.state, one.attempts) == ("connecting", 0)
    one.on_disconnect(0)
    assert (one.state, one.attempts) == ("connecting", 1)
    one.receive([hello()], 1)
    one.receive_page(one.wanted_page, [], 1)
    one.receive([Synced(seq=0)], 1)
    assert (one.state, one.attempts) == ("open", 0)
    one.on_disconnect(2)
    assert (one.state, one.attempts) == ("reconnecting", 1)
    one.receive([hello()], 3)
    assert one.state == "reconnecting"
    one.receive([Synced(seq=0)], 3)
    assert (one.state, one.attempts) == ("open", 0)
    one.close()
    assert one.state == "closed"


def test_backoff_grows_with_full_jitter_to_its_cap():
    one = session(rand=lambda: 1.0)
    assert [one.on_disconnect(0) for _ in range(8)] == [0.25, 0.5, 1, 2, 4, 8, 10, 10]
    none = session(rand=lambda: 0.0)
    assert [none.on_disconnect(0) for _ in range(3)] == [0, 0, 0]
    assert none.on_disconnect(0, retry_ms=1500) == 1.5


def test_only_a_stable_connection_resets_the_backoff():
    one = session(rand=lambda: 1.0)
    for _ in range(3):
        one.on_disconnect(0)
    one.receive([hello()], 10)
    assert one.on_disconnect(11) == 2
    one.receive([hello()], 20)
    assert one.on_disconnect(30) == 0.25


def test_members_come_and_go():
    one = joined()
    presence = Presence(members=())
    assert one.receive([presence], 0) == [presence]


def test_members_keep_their_commands_where_a_frame_leaves_them_out():
    one = joined()
    bot = Member(user="bot", kind="agent", commands=(Command(name="mean"),))
    one.receive([Presence(members=(bot, Member(user="bot")))], 0)
    brief = tuple(Member(user="bot", kind=kind, typing=True) for kind in ("agent", "kernel", "person"))
    one.receive([Presence(members=brief, same_commands=True)], 0)
    assert [member.commands for member in one.members] == [bot.commands, (), ()]
    assert all(member.typing for member in one.members)
    one.receive([Presence(members=brief)], 0)
    assert [member.commands for member in one.members] == [(), (), ()]


# ---- sends ----


def test_a_draft_is_delivered_by_its_entry():
    one = joined(1)
    one.outbox.put(draft("c1"))
    assert one.outgoing(0) == [draft("c1")]
    assert one.outgoing(0) == []
    ack = Ack(cid="c1", seq=2, at=2000, dup=False)
    assert one.receive([ack], 0) == [ack]
    assert one.outbox.results == []
    one.receive([live(2, 1, cid="c1")], 0)
    [(cid, delivery)] = one.outbox.results
    assert (cid, delivery.seq, delivery.entry) == ("c1", 2, message(2, cid="c1"))
    assert len(one.outbox) == 0


def test_another_members_entry_with_the_same_cid_delivers_nothing():
    one = joined(1)
    one.outbox.put(draft("c1"))
    theirs = Message(seq=2, room="lobby", user="eve", text="not yours", at=2000, cid="c1")
    one.receive([MessageFrame(entry=theirs, prev=1)], 0)
    assert (one.outbox.results, one.outgoing(0)) == ([], [draft("c1")])


def test_an_entry_under_the_verified_name_is_own():
    one = session()
    one.receive([msgspec.structs.replace(hello(), user="ada lovelace")], 0)
    one.receive_page(one.wanted_page, [], 0)
    one.outbox.put(draft("c1"))
    ours = Message(seq=1, room="lobby", user="ada lovelace", text="hi", at=1000, cid="c1")
    one.receive([MessageFrame(entry=ours, prev=0)], 0)
    assert [cid for cid, _ in one.outbox.results] == ["c1"]


def test_nothing_is_sent_before_hello_and_everything_again_after_a_loss():
    one = session()
    one.outbox.put(draft("c1"))
    one.outbox.put(draft("c2"))
    assert one.outgoing(0) == []
    one.receive([hello()], 0)
    assert one.outgoing(0) == [draft("c1"), draft("c2")]
    one.on_disconnect(0)
    one.outbox.put(draft("c3"))
    assert one.outgoing(0) == []
    one.receive([hello()], 1)
    assert [frame.cid for frame in one.outgoing(1)] == ["c1", "c2", "c3"]


def test_an_acknowledged_draft_is_not_sent_again_but_waits_for_its_entry():
    one = joined(1)
    one.outbox.put(draft("c1"))
    one.outgoing(0)
    one.receive([Ack(cid="c1", seq=2, at=2000, dup=False)], 0)
    one.on_disconnect(0)
    one.receive([hello(2)], 1)
    assert one.outgoing(1) == []
    one.receive([live(2, 1, cid="c1")], 1)
    assert [cid for cid, _ in one.outbox.results] == ["c1"]


def test_a_duplicate_ack_delivers_an_earlier_entry():
    one = joined(1)
    one.outbox.put(draft("c1", "m1"))
    one.outgoing(0)
    one.receive([Ack(cid="c1", seq=1, at=1000, dup=True)], 0)
    [(_, delivery)] = one.outbox.results
    assert (delivery.dup, delivery.entry) == (True, message(1))


def test_a_new_epoch_delivers_drafts_acknowledged_in_the_old_one():
    one = joined(1)
    one.outbox.put(draft("c1"))
    one.outgoing(0)
    one.receive([Ack(cid="c1", seq=5, at=5000, dup=False), hello(9, "e2")], 0)
    one.receive_page(one.wanted_page, [], 0)
    [(_, delivery)] = one.outbox.results
    assert (delivery.entry.seq, delivery.entry.text, delivery.entry.at) == (5, "hi", 5000)


def test_a_refused_draft_ends_with_the_error():
    one = joined()
    one.outbox.put(draft("c1"))
    one.outgoing(0)
    error = Error(code="too_long", message="text has 9 characters", cid="c1")
    assert one.receive([error], 0) == [error]
    assert one.outbox.results == [("c1", error)]


def test_rate_limited_drafts_are_sent_again_in_order():
    one = joined()
    for cid in ("c1", "c2", "c3"):
        one.outbox.put(draft(cid))
    one.outgoing(0)
    one.receive([Error(code="rate", message="slow down", cid=c, retry_ms=2000) for c in ("c1", "c2")], 0)
    assert one.outbox.results == []
    one.outbox.put(draft("c4"))
    one.receive([live(1, 0, cid="c3")], 1)
    assert one.outgoing(1) == []
    assert one.next_send_at() == 2
    assert [frame.cid for frame in one.outgoing(2)] == ["c1", "c2"]
    one.receive([live(2, 1, cid="c1")], 2)
    assert [frame.cid for frame in one.outgoing(2)] == ["c4"]


def test_an_unanswered_draft_is_sent_again_with_its_cid():
    one = joined()
    one.outbox.put(draft("c1"))
    one.outgoing(0)
    assert one.next_send_at() == 10
    assert one.outgoing(9) == []
    assert one.outgoing(10) == [draft("c1")]


def test_the_number_of_drafts_in_flight_is_bounded():
    one = joined()
    for n in range(200):
        one.outbox.put(draft(f"c{n}"))
    assert len(one.outgoing(0)) == 64
    one.receive([live(n + 1, n, cid=f"c{n}") for n in range(10)], 0)
    assert [frame.cid for frame in one.outgoing(0)] == [f"c{n}" for n in range(64, 74)]


def test_a_rate_limit_reduces_the_drafts_in_flight():
    one = session()
    one.receive([Hello(room="lobby", epoch="e", seq=0, oldest=0, resumed=False, limits=Limits(), heartbeat_ms=1)], 0)
    for n in range(50):
        one.outbox.put(draft(f"c{n}"))
    assert len(one.outgoing(0)) == 10


def test_closing_returns_the_queued_cids():
    one = joined()
    one.outbox.put(draft("c1"))
    assert one.close() == ["c1"]
    assert len(one.outbox) == 0


# ---- any network, any server ----


class AnyNetwork(RuleBasedStateMachine):
    """A room's log, a connection that loses, duplicates and swaps frames, and one session.

    Only hello and the order within a join are guaranteed, as by TCP. After ``settle``, the list must equal the end of
    the log, and each draft must be in the log once.
    """

    @initialize(keep=st.integers(1, 12), seed=st.integers(0, 2**16))
    def begin(self, keep, seed):
        self.random = random.Random(seed)
        self.now = 0.0
        self.epoch = 0
        self.log = []
        self.live = False
        self.wire = deque()
        self.sent_cids = set()
        self.count = 0
        self.session = Session("lobby", keep=keep, random=self.random.random)
        for _ in range(self.random.randrange(20)):
            self.say()

    # the server

    @property
    def newest(self):
        return self.log[-1].seq if self.log else 0

    def append(self, entry_type, **fields):
        prev = self.newest
        seq = prev + self.random.choice([1, 1, 1, 2, 7])
        entry = entry_type(seq=seq, room="lobby", at=seq * 10, **fields)
        self.log.append(entry)
        if self.live:
            self.wire.append(self.frame(entry, prev))
        return entry

    def frame(self, entry, prev):
        kind = MessageFrame if isinstance(entry, Message) else ChangeFrame
        return kind(entry=entry, prev=prev)

    def replay(self, after, epoch):
        """The frames that the server sends to a peer that has all entries up to ``after``."""
        if epoch != str(self.epoch) or after > self.newest:
            self.wire.append(Gap(from_=0, to=self.newest, reason="epoch"))
        else:
            missed = [entry for entry in self.log if entry.seq > after]
            if len(missed) > 5:
                skipped, missed = missed[:-2], missed[-2:]
                self.wire.append(Gap(from_=after, to=skipped[-1].seq, reason="long"))
                after = skipped[-1].seq
            for entry in missed:
                self.wire.append(self.frame(entry, after))
                after = entry.seq
        self.wire.append(Synced(seq=self.newest))

    def folded(self):
        messages = {}
        for entry in self.log:
            if isinstance(entry, Message):
                messages[entry.seq] = entry
            elif entry.target in messages:
                messages[entry.target] = fold(messages[entry.target], entry)
        return list(messages.values())

    def receive_by_server(self, frame):
        match frame:
            case Resume():
                self.replay(frame.after, frame.epoch)
            case Send():
                found = next((entry for entry in self.log if entry.cid == frame.cid), None)
                if found is None and self.random.random() < 0.2:
                    self.wire.append(Error(code="rate", message="", cid=frame.cid, retry_ms=500))
                    return
                dup = found is not None
                found = found or self.append(Message, user="ada", text=frame.text, cid=frame.cid)
                self.wire.append(Ack(cid=frame.cid, seq=found.seq, at=found.at, dup=dup))

    # the events

    @rule()
    def say(self):
        self.append(Message, user="grace", text="hi")

    @rule(kind=st.sampled_from(["edit", "delete", "react", "expire"]), on=st.booleans(), back=st.integers(0, 8))
    def change(self, kind, on, back):
        targets = [entry.seq for entry in self.log if isinstance(entry, Message)][-1 - back :]
        if targets:
            text = f"t{self.newest}" if kind == "edit" else None
            emoji, on = ("👍", on) if kind == "react" else (None, None)
            user = self.random.choice(["ada", "grace"])
            self.append(
                Change,
                user=user,
                kind=kind,
                target=self.random.choice(targets),
                text=text,
                emoji=emoji,
                on=on,
            )

    @rule()
    def send(self):
        self.count += 1
        cid = f"c{self.count}"
        self.sent_cids.add(cid)
        self.session.outbox.put(draft(cid))

    @precondition(lambda self: not self.live)
    @rule()
    def connect(self):
        self.live = True
        self.now += 1
        query = self.session.resume_query()
        resumed = "after" in query
        self.wire.append(hello(self.newest, str(self.epoch), resumed=resumed))
        if resumed:
            self.replay(int(query["after"]), query["epoch"])
        else:
            self.wire.append(Synced(seq=self.newest))
        self.deliver()  # hello is lost only with the connection

    @precondition(lambda self: self.live)
    @rule()
    def disconnect(self):
        self.live = False
        self.wire.clear()
        assert 0 <= self.session.on_disconnect(self.now) <= 10

    @precondition(lambda self: self.live)
    @rule()
    def restore_a_backup(self):
        self.disconnect()
        self.epoch += 1
        self.log = self.log[: self.random.randrange(len(self.log) + 1)]
        kept = {entry.cid for entry in self.log}
        outbox = self.session.outbox
        queued = {cid for cid in self.sent_cids if cid in outbox and cid not in outbox._acked}
        self.sent_cids = {cid for cid in self.sent_cids if cid in kept or cid in queued}

    @precondition(lambda self: self.live and self.wire)
    @rule()
    def deliver(self):
        self.session.receive([self.wire.popleft()], self.now)

    @precondition(lambda self: self.wire)
    @rule(count=st.integers(1, 10))
    def deliver_some(self, count):
        batch = [self.wire.popleft() for _ in range(min(count, len(self.wire)))]
        self.session.receive(batch, self.now)

    @precondition(lambda self: self.wire)
    @rule()
    def drop(self):
        self.wire.popleft()

    @precondition(lambda self: self.wire)
    @rule()
    def duplicate(self):
        self.wire.append(self.wire[0])

    @precondition(lambda self: len(self.wire) > 1)
    @rule()
    def swap(self):
        self.wire[0], self.wire[-1] = self.wire[-1], self.wire[0]

    @precondition(lambda self: self.session.wanted_page)
    @rule()
    def page(self):
        wants = self.session.wanted_page
        if wants.kind == "messages":
            entries = [m for m in self.folded() if m.seq < wants.seq][-wants.limit :]
        else:
            entries = [entry for entry in self.log if entry.seq > wants.seq][: wants.limit]
        self.session.receive_page(wants, entries, self.now)

    @rule(lost=st.booleans())
    def flush(self, lost):
        for frame in self.session.outgoing(self.now):
            if not lost:
                self.receive_by_server(frame)

    @rule(seconds=st.sampled_from([0.1, 1, 20]))
    def wait(self, seconds):
        self.now += seconds

    @invariant()
    def the_list_is_in_order(self):
        found = seqs(self.session) if hasattr(self, "session") else []
        assert found == sorted(set(found))

    @rule()
    def settle(self):
        """Without further faults, the list becomes the end of the log, with each draft in it once."""
        if not self.live:
            self.connect()
        for _ in range(200):
            while self.wire:
                self.deliver()
            if self.session.wanted_page:
                self.page()
            self.flush(lost=False)
            self.now += 1.5
            if not self.wire and not self.session.wanted_page:
                self.wire.append(Synced(seq=self.newest))
                if self.session.last_seq == self.newest and not len(self.session.outbox):
                    break
        while self.wire:
            self.deliver()
        assert self.session.state == "open"
        assert self.session.messages.snapshot() == self.folded()[-self.session.messages.keep :]
        cids = [entry.cid for entry in self.log if entry.cid]
        assert sorted(cids) == sorted(self.sent_cids)

    def teardown(self):
        if hasattr(self, "session"):
            self.settle()


AnyNetwork.TestCase.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=40,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestAnywhere = AnyNetwork.TestCase


def test_a_session_never_sends_pings():
    """The connection sends the heartbeat; the session sends only its control frames and drafts."""
    one = joined(1)
    assert not [frame for frame in one.outgoing(1000) if isinstance(frame, Ping)]


def test_the_servers_clock_advances_and_the_local_one_is_the_fallback():
    one = Session("lobby", keep=10, random=random.random)
    assert one.server_time_ms(5.0, 777) == 777
    one.receive([msgspec.structs.replace(hello(), now=1_000_000)], 10.0)
    assert one.server_time_ms(12.5, 777) == 1_002_500
    one.receive([hello()], 20.0)
    assert one.server_time_ms(21.0, 777) == 777


def test_a_snapshot_of_a_room_that_was_empty_says_where_it_starts():
    """Otherwise a window would look for earlier messages; but not where `keep` dropped some."""

    def oldest(one):
        return one.snapshot(200, 0)[0].oldest

    new = joined()
    assert oldest(new) == 0
    new.receive([live(1, 0), live(2, 1)], 0)
    assert oldest(new) == 1
    short = joined(keep=1)
    short.receive([live(1, 0), live(2, 1)], 0)
    assert oldest(short) == 0
