"""Tail: the newest messages of a room, oldest first, every change folded in; and a Snapshot of them to read."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from operator import attrgetter
from typing import NoReturn

from bqwidget.protocol import Change, Message, answered, fold

_seq = attrgetter("seq")


class MessageList:
    """At most ``keep`` messages; appending costs the same however many are kept.

    The list is longer than what it shows: what falls out stays in front of ``_start`` until half of the
    list is waste, and is then cut off in one go. So an append is one ``list.append``, a change is found by
    bisection, and a snapshot is one slice.
    """

    def __init__(self, keep: int) -> None:
        self.keep = keep
        self.gapless_after = 0
        """Every message of the log above this seq (up to the session's cursor) is in the tail."""
        self._items: list[Message] = []
        self._start = 0

    def __len__(self) -> int:
        return len(self._items) - self._start

    def append(self, message: Message) -> None:
        """Add the newest message: its seq must be above all that are kept. An answer marks its question."""
        items = self._items
        if message.re is not None and (at := self._index(message.re)) is not None:
            items[at] = answered(items[at], message)
        items.append(message)
        if len(items) - self._start > self.keep:
            self.gapless_after = items[self._start].seq
            self._start += 1
            if self._start > self.keep:
                del items[: self._start]
                self._start = 0

    def fold(self, change: Change) -> Message | None:
        """The message as it reads after ``change``; None where it isn't kept."""
        at = self._index(change.target)
        if at is None:
            return None
        self._items[at] = folded = fold(self._items[at], change)
        return folded

    def find(self, seq: int) -> Message | None:
        at = self._index(seq)
        return None if at is None else self._items[at]

    def load(self, messages: Iterable[Message], *, gapless_after: int) -> None:
        """Begin anew with ``messages`` (ascending); ``floor``: nothing above it is missing."""
        self._items, self._start = [], 0
        self.gapless_after = gapless_after
        for message in messages:
            self.append(message)

    def snapshot(self) -> MessageSnapshot:
        return MessageSnapshot(self._items[self._start :])

    def newest(self, limit: int) -> list[Message]:
        return self._items[max(self._start, len(self._items) - limit) :]

    def after(self, seq: int) -> list[Message]:
        """The kept messages above ``seq``; all there are, if ``seq >= floor``."""
        return self._items[bisect_right(self._items, seq, lo=self._start, key=_seq) :]

    def _index(self, seq: int) -> int | None:
        at = bisect_left(self._items, seq, lo=self._start, key=_seq)
        return at if at < len(self._items) and self._items[at].seq == seq else None


class MessageSnapshot(list[Message]):
    """A list to read: it doesn't grow, and what would be put into it would reach nobody."""

    def _read_only(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("room.messages is a snapshot to read: room.send(text) adds to the room")

    append = extend = insert = remove = pop = clear = sort = reverse = _read_only
    __setitem__ = __delitem__ = __iadd__ = __imul__ = _read_only
