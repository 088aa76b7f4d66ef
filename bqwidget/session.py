"""Session: one member's view of a room as a pure state machine; frames in, state and frames out.

There is no I/O here and no clock: whoever drives a session passes ``now`` (seconds, any steady clock),
feeds it what arrives, sends what ``outgoing`` gives, fetches the page that it ``wants``, and comes back at
``due``. The rule that keeps the list complete (DESIGN 3): an entry at or below ``last`` is a copy, one
whose ``prev`` is at or below ``last`` is next, anything else means that something is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal

from bqwidget._client.message_list import Tail
from bqwidget._client.outbox import WINDOW, Delivery, Outbox, as_entry

from .protocol import (
    Ack,
    Change,
    ChangeFrame,
    ClientFrame,
    Entry,
    Error,
    Gap,
    Hello,
    Limits,
    Member,
    Message,
    MessageFrame,
    Presence,
    Resume,
    ServerFrame,
    Struct,
    Synced,
)

PAGE = 200
"""Entries in one page: the most that REST gives."""
HELD = 10_000
"""Live frames kept while a page is fetched; what comes above is dropped, and resumed afterwards."""
PATIENCE = 1.0
"""Seconds in which the same resume isn't asked for again."""
BACKOFF_BASE, BACKOFF_CAP, STABLE = 0.25, 10.0, 5.0
"""Seconds: the first and the longest ceiling between two joins; a connection this old starts at the base again."""

State = Literal["connecting", "open", "reconnecting", "closed"]


class Trouble(Struct, frozen=True, omit_defaults=False):
    code: str
    message: str


class Status(Struct, frozen=True, tag_field="type", tag="status", omit_defaults=False):
    """How the room stands; ``retry_at``: when the next join is tried, in milliseconds since the epoch."""

    status: State
    error: Trouble | None = None
    retry_at: int | None = None
    queued: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """A page that a session wants: the ``limit`` messages below ``before``, or entries above ``after``.

    ``messages`` are folded (``GET /rooms/{room}/messages``), ``log`` are entries (``GET /rooms/{room}/log``).
    """

    kind: Literal["messages", "log"]
    seq: int
    limit: int = PAGE


class Session:
    """``receive`` and ``paged`` return the frames that were accepted, in the order of the log."""

    def __init__(self, room: str, *, keep: int, random: Callable[[], float]) -> None:
        self.room = room
        self.tail = Tail(keep)
        self.outbox = Outbox()
        self.hello: Hello | None = None
        self.limits = Limits()
        self.members: tuple[Member, ...] = ()
        self.last = 0
        """The cursor: every entry up to here is accounted for."""
        self.joined_at: int | None = None
        """The cursor at which the list was loaded; what is above it was said since."""
        self.wants: Page | None = None
        self.state: State = "connecting"
        self.attempts = 0
        """Joins tried since the room was last open."""
        self._random = random
        self._failures = 0
        self._opened: float | None = None
        self._greeted = 0.0
        self._live = False
        self._control: list[ClientFrame] = []
        self._held: list[ServerFrame] = []
        self._older: list[Sequence[Message]] = []
        self._gap_to = 0
        self._asked = (-1, 0.0)

    # ---- joining and losing the connection ----

    @property
    def epoch(self) -> str | None:
        return self.hello.epoch if self.hello else None

    def is_us(self, entry: Entry, user: str) -> bool:
        """Whether it was said in our name, the one that we gave or the verified one. Others may use our cids."""
        return entry.user == user or (self.hello is not None and entry.user == self.hello.user)

    def clock(self, now: float, own: int) -> int:
        """The server's clock, in milliseconds since the epoch; ``own`` (ours) where it hasn't told it."""
        if self.hello is None or self.hello.now is None:
            return own
        return self.hello.now + int((now - self._greeted) * 1000)

    def cursor(self) -> dict[str, str]:
        """The join's query: nothing at first, then where to resume from."""
        return {"after": str(self.last), "epoch": self.hello.epoch} if self.hello else {}

    def disconnected(self, now: float, retry_ms: int | None = None) -> float:
        """The connection, or an attempt at one, has ended. Seconds to wait before the next: full jitter."""
        if self._opened is not None and now - self._opened >= STABLE:
            self._failures = 0
        ceiling = min(BACKOFF_CAP, BACKOFF_BASE * 2.0 ** min(self._failures, 16))
        self._failures += 1
        self.attempts += 1
        self._opened, self._live = None, False
        self._held.clear()
        self._control.clear()
        if self.wants is not None and self.wants.kind == "log":
            self.wants = None  # the next join resumes from ``last`` anyway
        self.members = ()
        self.outbox.disconnected()
        if self.state == "open":
            self.state = "reconnecting"
        return (retry_ms or 0) / 1000 + self._random() * ceiling

    def close(self) -> list[str]:
        """End for good: the cids of the drafts that will not be delivered any more."""
        self.state = "closed"
        self.wants = None
        self.members = ()
        return self.outbox.clear()

    # ---- frames in ----

    def receive(self, frames: Iterable[ServerFrame], now: float) -> list[ServerFrame]:
        accepted: list[ServerFrame] = []
        for frame in frames:
            self._take(frame, now, accepted)
        self._settle_passed()
        return accepted

    def paged(self, page: Page, entries: Sequence[Entry], now: float) -> list[ServerFrame]:
        """The answer to ``wants``; an answer to an earlier want is ignored."""
        accepted: list[ServerFrame] = []
        if page is not self.wants:
            return accepted
        if page.kind == "messages":
            self._load(page, [entry for entry in entries if isinstance(entry, Message)], accepted)
        else:
            self._fill(page, entries, accepted)
        if self.wants is None:
            held, self._held = self._held, []
            for frame in held:
                self._take(frame, now, accepted)
        self._settle_passed()
        return accepted

    def _take(self, frame: ServerFrame, now: float, accepted: list[ServerFrame]) -> None:
        match frame:
            case MessageFrame() | ChangeFrame() | Gap() | Synced() if not self._live:
                pass  # nothing counts before hello
            case MessageFrame() | ChangeFrame() | Gap() | Synced() if self.wants is not None:
                if len(self._held) < HELD:
                    self._held.append(frame)
            case MessageFrame() | ChangeFrame():
                entry = frame.entry
                if entry.seq <= self.last:
                    return
                if frame.prev is not None and frame.prev > self.last:
                    self._resume(now)
                    return
                self._accept(frame, accepted)
            case Synced():
                if frame.seq > self.last:
                    self._resume(now)
                elif self.state != "open":
                    self.state = "open"
                    self.attempts = 0
            case Gap():
                if frame.reason == "epoch":
                    self._reload(frame.to)
                elif frame.to > self.last:
                    self._gap_to = frame.to
                    self.wants = Page("log", self.last)
            case Hello():
                self._hello(frame, now)
            case Ack():
                if self.outbox.acked(frame):
                    accepted.append(frame)
            case Error():
                self.outbox.refused(frame, now)
                accepted.append(frame)
            case Presence():
                self.members = frame.members
                accepted.append(frame)
            case _:
                pass  # bye and echo say nothing about the log

    def _hello(self, hello: Hello, now: float) -> None:
        known, self.hello = self.hello, hello
        self.limits = hello.limits
        # Half of what is allowed: a burst that goes beyond it is refused a few times, not for long.
        self.outbox.most = max(1, min(WINDOW, hello.limits.rate // 2)) if hello.limits.rate else WINDOW
        self._opened, self._greeted, self._live = now, now, True
        self._asked = (-1, 0.0)
        if known is None or known.epoch != hello.epoch:
            self._reload(hello.seq)

    def _accept(self, frame: MessageFrame | ChangeFrame, accepted: list[ServerFrame]) -> None:
        entry = frame.entry
        self.last = entry.seq
        if isinstance(entry, Message):
            self.tail.append(entry)
        else:
            self.tail.fold(entry)
        draft = self.outbox.find(entry.cid)
        if draft is not None and self.is_us(entry, draft.user):
            self.outbox.seen(draft.cid, entry)
        accepted.append(frame)

    def _resume(self, now: float) -> None:
        """Something is missing: ask for it, but not for the same twice in a row."""
        seq, when = self._asked
        if self.hello is not None and (seq != self.last or now - when >= PATIENCE):
            self._asked = (self.last, now)
            self._control.append(Resume(after=self.last, epoch=self.hello.epoch))

    # ---- pages in ----

    def _reload(self, seq: int) -> None:
        """Begin anew at ``seq``: the tail comes by pages from there backwards, live frames wait."""
        self.last = seq
        self._older.clear()
        self._held.clear()
        self.wants = Page("messages", seq + 1, min(PAGE, self.tail.keep))

    def _load(self, page: Page, messages: list[Message], accepted: list[ServerFrame]) -> None:
        self._older.append(messages)
        have = sum(map(len, self._older))
        if len(messages) == page.limit and have < self.tail.keep:
            self.wants = Page("messages", messages[0].seq, min(PAGE, self.tail.keep - have))
            return
        self.wants = None
        older = list(chain.from_iterable(reversed(self._older)))
        self._older.clear()
        self.tail.load(older, floor=older[0].seq - 1 if have >= self.tail.keep else 0)
        self.joined_at = self.last
        if self.hello is not None:
            accepted.append(self.hello)

    def _fill(self, page: Page, entries: Sequence[Entry], accepted: list[ServerFrame]) -> None:
        for entry in entries:
            if entry.seq > self.last:
                frame = ChangeFrame(entry=entry) if isinstance(entry, Change) else MessageFrame(entry=entry)
                self._accept(frame, accepted)
        if self.last < self._gap_to and len(entries) == page.limit:
            self.wants = Page("log", self.last)
        else:
            self.last = max(self.last, self._gap_to)
            self.wants = None

    # ---- frames out ----

    def outgoing(self, now: float) -> list[ClientFrame]:
        """What is to be sent now; nothing before the server has said hello."""
        if not self._live:
            return []
        control, self._control = self._control, []
        return [*control, *self.outbox.take(now)]

    def due(self) -> float | None:
        """When ``outgoing`` may have something again without any event."""
        return self.outbox.due() if self._live else None

    def snapshot(self, limit: int) -> list[ServerFrame]:
        """Frames that rebuild the newest ``limit`` messages from nothing."""
        if self.hello is None:
            return []
        frames: list[ServerFrame] = [self.hello, Presence(members=self.members)]
        frames += [MessageFrame(entry=message) for message in self.tail.newest(limit)]
        return [*frames, Synced(seq=self.last)]

    def _settle_passed(self) -> None:
        """Drafts whose entry came by in a folded page: delivered too."""
        for draft, ack in self.outbox.passed(self.last):
            self.outbox.seen(draft.cid, self.tail.find(ack.seq) or as_entry(draft, ack, self.room))


__all__ = ["Delivery", "Page", "Session", "State", "Status", "Trouble"]
