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

from bqwidget._client.message_list import MessageList
from bqwidget._client.outbox import MAX_IN_FLIGHT, Delivery, Outbox, to_entry

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

PAGE_SIZE = 200
"""Entries in one page: the most that REST gives."""
MAX_HELD_FRAMES = 10_000
"""Live frames kept while a page is fetched; what comes above is dropped, and resumed afterwards."""
RESUME_INTERVAL = 1.0
"""Seconds in which the same resume isn't asked for again."""
INITIAL_BACKOFF, MAX_BACKOFF, BACKOFF_RESET_AGE = 0.25, 10.0, 5.0
"""Seconds: the first and the longest ceiling between two joins; a connection this old starts at the base again."""

State = Literal["connecting", "open", "reconnecting", "closed"]


class StatusError(Struct, frozen=True, omit_defaults=False):
    code: str
    message: str


class Status(Struct, frozen=True, tag_field="type", tag="status", omit_defaults=False):
    """How the room stands; ``retry_at``: when the next join is tried, in milliseconds since the epoch."""

    status: State
    error: StatusError | None = None
    retry_at: int | None = None
    queued: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class PageRequest:
    """A page that a session wants: the ``limit`` messages below ``before``, or entries above ``after``.

    ``messages`` are folded (``GET /rooms/{room}/messages``), ``log`` are entries (``GET /rooms/{room}/log``).
    """

    kind: Literal["messages", "log"]
    seq: int
    limit: int = PAGE_SIZE


class Session:
    """``receive`` and ``paged`` return the frames that were accepted, in the order of the log."""

    def __init__(self, room: str, *, keep: int, random: Callable[[], float]) -> None:
        self.room = room
        self.messages = MessageList(keep)
        self.outbox = Outbox()
        self.hello: Hello | None = None
        self.limits = Limits()
        self.members: tuple[Member, ...] = ()
        self.last_seq = 0
        """The cursor: every entry up to here is accounted for."""
        self.joined_seq: int | None = None
        """The cursor at which the list was loaded; what is above it was said since."""
        self.wanted_page: PageRequest | None = None
        self.state: State = "connecting"
        self.attempts = 0
        """Joins tried since the room was last open."""
        self._random = random
        self._failures = 0
        self._opened_at: float | None = None
        self._hello_at = 0.0
        self._joined = False
        self._control: list[ClientFrame] = []
        self._held_frames: list[ServerFrame] = []
        self._loaded_pages: list[Sequence[Message]] = []
        self._gap_end = 0
        self._last_resume = (-1, 0.0)

    # ---- joining and losing the connection ----

    @property
    def epoch(self) -> str | None:
        return self.hello.epoch if self.hello else None

    def is_from(self, entry: Entry, user: str) -> bool:
        """Whether it was said in our name, the one that we gave or the verified one. Others may use our cids."""
        return entry.user == user or (self.hello is not None and entry.user == self.hello.user)

    def server_time_ms(self, now: float, own: int) -> int:
        """The server's clock, in milliseconds since the epoch; ``own`` (ours) where it hasn't told it."""
        if self.hello is None or self.hello.now is None:
            return own
        return self.hello.now + int((now - self._hello_at) * 1000)

    def resume_query(self) -> dict[str, str]:
        """The join's query: nothing at first, then where to resume from."""
        return {"after": str(self.last_seq), "epoch": self.hello.epoch} if self.hello else {}

    def on_disconnect(self, now: float, retry_ms: int | None = None) -> float:
        """The connection, or an attempt at one, has ended. Seconds to wait before the next: full jitter."""
        if self._opened_at is not None and now - self._opened_at >= BACKOFF_RESET_AGE:
            self._failures = 0
        ceiling = min(MAX_BACKOFF, INITIAL_BACKOFF * 2.0 ** min(self._failures, 16))
        self._failures += 1
        self.attempts += 1
        self._opened_at, self._joined = None, False
        self._held_frames.clear()
        self._control.clear()
        if self.wanted_page is not None and self.wanted_page.kind == "log":
            self.wanted_page = None  # the next join resumes from ``last`` anyway
        self.members = ()
        self.outbox.on_disconnect()
        if self.state == "open":
            self.state = "reconnecting"
        return (retry_ms or 0) / 1000 + self._random() * ceiling

    def close(self) -> list[str]:
        """End for good: the cids of the drafts that will not be delivered any more."""
        self.state = "closed"
        self.wanted_page = None
        self.members = ()
        return self.outbox.clear()

    # ---- frames in ----

    def receive(self, frames: Iterable[ServerFrame], now: float) -> list[ServerFrame]:
        accepted: list[ServerFrame] = []
        for frame in frames:
            self._receive_frame(frame, now, accepted)
        self._deliver_acked()
        return accepted

    def receive_page(self, page: PageRequest, entries: Sequence[Entry], now: float) -> list[ServerFrame]:
        """The answer to ``wants``; an answer to an earlier want is ignored."""
        accepted: list[ServerFrame] = []
        if page is not self.wanted_page:
            return accepted
        if page.kind == "messages":
            self._load_messages(page, [entry for entry in entries if isinstance(entry, Message)], accepted)
        else:
            self._fill_gap(page, entries, accepted)
        if self.wanted_page is None:
            held, self._held_frames = self._held_frames, []
            for frame in held:
                self._receive_frame(frame, now, accepted)
        self._deliver_acked()
        return accepted

    def _receive_frame(self, frame: ServerFrame, now: float, accepted: list[ServerFrame]) -> None:
        match frame:
            case MessageFrame() | ChangeFrame() | Gap() | Synced() if not self._joined:
                pass  # nothing counts before hello
            case MessageFrame() | ChangeFrame() | Gap() | Synced() if self.wanted_page is not None:
                if len(self._held_frames) < MAX_HELD_FRAMES:
                    self._held_frames.append(frame)
            case MessageFrame() | ChangeFrame():
                entry = frame.entry
                if entry.seq <= self.last_seq:
                    return
                if frame.prev is not None and frame.prev > self.last_seq:
                    self._resume(now)
                    return
                self._accept(frame, accepted)
            case Synced():
                if frame.seq > self.last_seq:
                    self._resume(now)
                elif self.state != "open":
                    self.state = "open"
                    self.attempts = 0
            case Gap():
                if frame.reason == "epoch":
                    self._reload(frame.to)
                elif frame.to > self.last_seq:
                    self._gap_end = frame.to
                    self.wanted_page = PageRequest("log", self.last_seq)
            case Hello():
                self._on_hello(frame, now)
            case Ack():
                if self.outbox.on_ack(frame):
                    accepted.append(frame)
            case Error():
                self.outbox.on_error(frame, now)
                accepted.append(frame)
            case Presence():
                self.members = frame.members
                accepted.append(frame)
            case _:
                pass  # bye and echo say nothing about the log

    def _on_hello(self, hello: Hello, now: float) -> None:
        known, self.hello = self.hello, hello
        self.limits = hello.limits
        # Half of what is allowed: a burst that goes beyond it is refused a few times, not for long.
        self.outbox.max_in_flight = (
            max(1, min(MAX_IN_FLIGHT, hello.limits.rate // 2)) if hello.limits.rate else MAX_IN_FLIGHT
        )
        self._opened_at, self._hello_at, self._joined = now, now, True
        self._last_resume = (-1, 0.0)
        if known is None or known.epoch != hello.epoch:
            self._reload(hello.seq)

    def _accept(self, frame: MessageFrame | ChangeFrame, accepted: list[ServerFrame]) -> None:
        entry = frame.entry
        self.last_seq = entry.seq
        if isinstance(entry, Message):
            self.messages.append(entry)
        else:
            self.messages.fold(entry)
        draft = self.outbox.find(entry.cid)
        if draft is not None and self.is_from(entry, draft.user):
            self.outbox.delivered(draft.cid, entry)
        accepted.append(frame)

    def _resume(self, now: float) -> None:
        """Something is missing: ask for it, but not for the same twice in a row."""
        seq, when = self._last_resume
        if self.hello is not None and (seq != self.last_seq or now - when >= RESUME_INTERVAL):
            self._last_resume = (self.last_seq, now)
            self._control.append(Resume(after=self.last_seq, epoch=self.hello.epoch))

    # ---- pages in ----

    def _reload(self, seq: int) -> None:
        """Begin anew at ``seq``: the tail comes by pages from there backwards, live frames wait."""
        self.last_seq = seq
        self._loaded_pages.clear()
        self._held_frames.clear()
        self.wanted_page = PageRequest("messages", seq + 1, min(PAGE_SIZE, self.messages.keep))

    def _load_messages(self, page: PageRequest, messages: list[Message], accepted: list[ServerFrame]) -> None:
        self._loaded_pages.append(messages)
        have = sum(map(len, self._loaded_pages))
        if len(messages) == page.limit and have < self.messages.keep:
            self.wanted_page = PageRequest(
                "messages", messages[0].seq, min(PAGE_SIZE, self.messages.keep - have)
            )
            return
        self.wanted_page = None
        older = list(chain.from_iterable(reversed(self._loaded_pages)))
        self._loaded_pages.clear()
        self.messages.load(older, gapless_after=older[0].seq - 1 if have >= self.messages.keep else 0)
        self.joined_seq = self.last_seq
        if self.hello is not None:
            accepted.append(self.hello)

    def _fill_gap(self, page: PageRequest, entries: Sequence[Entry], accepted: list[ServerFrame]) -> None:
        for entry in entries:
            if entry.seq > self.last_seq:
                frame = ChangeFrame(entry=entry) if isinstance(entry, Change) else MessageFrame(entry=entry)
                self._accept(frame, accepted)
        if self.last_seq < self._gap_end and len(entries) == page.limit:
            self.wanted_page = PageRequest("log", self.last_seq)
        else:
            self.last_seq = max(self.last_seq, self._gap_end)
            self.wanted_page = None

    # ---- frames out ----

    def outgoing(self, now: float) -> list[ClientFrame]:
        """What is to be sent now; nothing before the server has said hello."""
        if not self._joined:
            return []
        control, self._control = self._control, []
        return [*control, *self.outbox.take(now)]

    def next_send_at(self) -> float | None:
        """When ``outgoing`` may have something again without any event."""
        return self.outbox.next_send_at() if self._joined else None

    def snapshot(self, limit: int) -> list[ServerFrame]:
        """Frames that rebuild the newest ``limit`` messages from nothing."""
        if self.hello is None:
            return []
        frames: list[ServerFrame] = [self.hello, Presence(members=self.members)]
        frames += [MessageFrame(entry=message) for message in self.messages.newest(limit)]
        return [*frames, Synced(seq=self.last_seq)]

    def _deliver_acked(self) -> None:
        """Drafts whose entry came by in a folded page: delivered too."""
        for draft, ack in self.outbox.acked_up_to(self.last_seq):
            self.outbox.delivered(draft.cid, self.messages.find(ack.seq) or to_entry(draft, ack, self.room))


__all__ = ["Delivery", "PageRequest", "Session", "State", "Status", "StatusError"]
