"""A session in a room: its frames, and a state machine in which the network loses, repeats and swaps them."""

from __future__ import annotations

import os
import random
from collections import deque

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bqwidget.protocol import (
    Ack,
    Change,
    ChangeFrame,
    Error,
    Gap,
    Hello,
    Limits,
    Message,
    MessageFrame,
    Resume,
    Send,
    Synced,
    fold,
)
from bqwidget.session import Session

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
