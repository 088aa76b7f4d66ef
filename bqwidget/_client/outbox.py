"""Outbox: drafts on their way to the log, each under one cid until it is acknowledged or refused."""

from __future__ import annotations

from functools import partial
from heapq import heappop, heappush

from bqwidget.protocol import (
    Ack,
    Change,
    Delete,
    Draft,
    Edit,
    Entry,
    Error,
    Expire,
    Message,
    React,
    Send,
)

WINDOW = 64
"""Drafts in flight at once: enough to fill the server's commits, few enough that a refusal stops the rest."""
RESEND = 10.0
"""Seconds after which an unanswered draft is sent again on a live connection; its cid keeps it single."""


class Delivery(Ack, frozen=True):
    """The acknowledgement of a draft together with the entry that it became."""

    entry: Entry


class _Item:
    __slots__ = ("ack", "draft", "number", "sent")

    def __init__(self, draft: Draft, number: int) -> None:
        self.draft = draft
        self.number = number
        self.sent: float | None = None
        self.ack: Ack | None = None


class Outbox:
    """Drafts leave in the order they came; times are in seconds of the caller's clock.

    A draft is settled once, by the entry that carries its cid or by an error without ``retry_ms``; ``settled``
    collects the outcomes for the caller to take. After a refusal that passes, one draft goes as a probe, and
    each that is delivered doubles what may be in flight, up to ``most``. An acknowledged draft is never sent again, but it is only
    settled when its entry has been seen, so that whoever waits for it finds it in the room's list.
    """

    def __init__(self) -> None:
        self.settled: list[tuple[str, Delivery | Error]] = []
        self._items: dict[str, _Item] = {}
        self._waiting: list[tuple[int, str]] = []
        self._flying: dict[str, _Item] = {}
        self._acked: dict[str, _Item] = {}
        self.most = WINDOW
        self._window = WINDOW
        self._paused_until = 0.0
        self._count = 0

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, cid: str | None) -> bool:
        return cid in self._items

    def find(self, cid: str | None) -> Draft | None:
        item = self._items.get(cid) if cid is not None else None
        return item.draft if item is not None else None

    def put(self, draft: Draft) -> None:
        """Queue ``draft``; one that is queued already under this cid stays as it is."""
        if draft.cid not in self._items:
            self._count += 1
            self._items[draft.cid] = item = _Item(draft, self._count)
            heappush(self._waiting, (item.number, draft.cid))

    def take(self, now: float) -> list[Draft]:
        """What is to be sent now."""
        for item in list(self._flying.values()):
            if item.sent is None or item.sent + RESEND > now:
                break  # the flying are in the order of their sending
            self._land(item)
        if now < self._paused_until:
            return []
        drafts: list[Draft] = []
        while self._waiting and self._has_room():
            _, cid = heappop(self._waiting)
            waiting = self._items.get(cid)
            if waiting is None or waiting.ack is not None:
                continue
            waiting.sent = now
            self._flying[cid] = waiting
            drafts.append(waiting.draft)
        return drafts

    def due(self) -> float | None:
        """When ``take`` may have something again without any event; None: only after an event."""
        if self._waiting and self._has_room():
            return self._paused_until
        first = next(iter(self._flying.values()), None)
        return None if first is None or first.sent is None else first.sent + RESEND

    def disconnected(self) -> None:
        """Whatever was in flight is to be sent again, in its old order."""
        for item in list(self._flying.values()):
            self._land(item)

    def acked(self, ack: Ack) -> bool:
        """Note the acknowledgement; False where it isn't for a draft of ours."""
        item = self._items.get(ack.cid)
        if item is None:
            return False
        if item.ack is None:
            item.ack = ack
            self._flying.pop(ack.cid, None)
            self._acked[ack.cid] = item
        return True

    def passed(self, last: int) -> list[tuple[Draft, Ack]]:
        """The acknowledged drafts whose entries, up to ``last``, went by without being recognised."""
        return [(item.draft, item.ack) for item in self._acked.values() if item.ack and item.ack.seq <= last]

    def seen(self, cid: str, entry: Entry) -> None:
        """``entry`` is in the log: the draft that it came from is delivered, acknowledged yet or not."""
        item = self._items.pop(cid)
        self._window = min(WINDOW, 2 * self._window)
        self._flying.pop(cid, None)
        self._acked.pop(cid, None)
        dup = item.ack.dup if item.ack else False
        self.settled.append((cid, Delivery(cid=cid, seq=entry.seq, at=entry.at, dup=dup, entry=entry)))

    def refused(self, error: Error, now: float) -> bool:
        """An error for one of our drafts: later again if the server says when, else settled. False: not ours."""
        item = self._items.get(error.cid) if error.cid is not None else None
        if item is None:
            return False
        if item.ack is not None:
            return True  # it is in the log: an error about a second copy changes nothing
        if error.retry_ms is not None:
            self._paused_until = max(self._paused_until, now + error.retry_ms / 1000)
            self._window = 1
            self._land(item)
        else:
            del self._items[item.draft.cid]
            self._flying.pop(item.draft.cid, None)
            self.settled.append((item.draft.cid, error))
        return True

    def clear(self) -> list[str]:
        """Forget everything: the cids that will never be settled."""
        cids = list(self._items)
        self._items.clear()
        self._waiting.clear()
        self._flying.clear()
        self._acked.clear()
        return cids

    def _has_room(self) -> bool:
        return len(self._flying) < min(self._window, self.most)

    def _land(self, item: _Item) -> None:
        if self._flying.pop(item.draft.cid, None) is not None:
            item.sent = None
            heappush(self._waiting, (item.number, item.draft.cid))


def as_entry(draft: Draft, ack: Ack, room: str) -> Entry:
    """The entry that ``draft`` became, where the log's own copy isn't at hand."""
    change = partial(Change, seq=ack.seq, room=room, user=draft.user, at=ack.at, cid=draft.cid)
    match draft:
        case Send():
            return Message(
                seq=ack.seq,
                room=room,
                user=draft.user,
                text=draft.text,
                at=ack.at,
                cid=draft.cid,
                re=draft.re,
                choice=draft.choice,
                ask=draft.ask,
                parts=draft.parts,
            )
        case Edit():
            return change(kind="edit", target=draft.target, text=draft.text)
        case Delete():
            return change(kind="delete", target=draft.target)
        case Expire():
            return change(kind="expire", target=draft.target)
        case React():
            return change(kind="react", target=draft.target, emoji=draft.emoji, on=draft.on)
