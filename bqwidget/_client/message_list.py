"""MessageList: the newest messages of a room, oldest first, with every change folded in."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter, itemgetter
from typing import Literal, NoReturn, SupportsIndex, overload

from bqwidget.protocol import (
    AppendFrame,
    Change,
    ChangeFrame,
    Entry,
    Message,
    MessageFrame,
    ServerFrame,
    answered,
    fold,
    one_line,
    shown_time,
    truncate,
)

from .live.text import LiveText

PAGE_SIZE = 200
"""Entries in one page: the most that the HTTP API returns."""

SHOWN_ROWS = 20
"""Messages in the repr of a list."""
SHOWN_TEXT_CHARACTERS, SHOWN_USER_CHARACTERS = 60, 20
"""Characters of each in it."""

_seq = attrgetter("seq")


@dataclass(frozen=True, slots=True, eq=False)
class PageRequest:
    """A page to fetch: the last ``limit`` messages below ``seq``, or the first ``limit`` entries above it.

    ``messages`` are folded (``GET /rooms/{room}/messages``), ``log`` are entries (``GET /rooms/{room}/log``).
    """

    kind: Literal["messages", "log"]
    seq: int
    limit: int = PAGE_SIZE


class MessageList:
    """At most ``keep`` messages; the cost of an append does not depend on ``keep``.

    Removed messages stay in the list, before ``_start``, until they are half of it, and are then deleted at once.
    So an append is one ``list.append``, a change is found by bisection, and a snapshot is one slice.
    """

    def __init__(self, keep: int) -> None:
        self.keep = keep
        self.gapless_after = 0
        """Every message of the log above this seq, up to the session's ``last_seq``, is in the list."""
        self.ended: deque[tuple[int, Message]] = deque(maxlen=keep)
        """Live messages that ended lately, with the seq of their end: that makes them new."""
        self._items: list[Message] = []
        self._start = 0
        self._live: dict[int, LiveText] = {}
        """The live messages, also those before the newest ``keep``."""

    def __len__(self) -> int:
        return len(self._items) - self._start

    def append(self, message: Message) -> None:
        """Add the newest message, whose seq must be the highest. An answer marks its question as answered."""
        items = self._items
        if message.re is not None and (at := self._index(message.re)) is not None:
            items[at] = answered(items[at], message)
        items.append(message)
        if message.live:
            self._live[message.seq] = LiveText(message)
        if len(items) - self._start > self.keep:
            self.gapless_after = items[self._start].seq
            self._start += 1
            if self._start > self.keep:
                del items[: self._start]
                self._start = 0

    def fold(self, change: Change) -> Message | None:
        """The message after ``change``; None if it is neither in the list nor live."""
        live, at = self._live.get(change.target), self._index(change.target)
        if live is not None:
            message = live.fold(change)
            if not message.live:
                del self._live[change.target]
                if not message.deleted:
                    self.ended.append((change.seq, message))
        elif at is None:
            return None
        else:
            message = fold(self._items[at], change)
        if at is not None:
            self._items[at] = message
        return message

    def grow(self, piece: AppendFrame) -> Message | None:
        """The live message after ``piece``, which is not in the log yet; None if it changes nothing."""
        live = self._live.get(piece.target)
        if live is None or not live.grow(piece):
            return None
        at = self._index(piece.target)
        if at is not None:
            self._items[at] = live.message
        return live.message

    def lacks(self, entry: Entry) -> bool:
        """Whether ``entry`` saves pieces of a live message that have not arrived here."""
        live = self._live.get(entry.target) if isinstance(entry, Change) else None
        return live is not None and isinstance(entry, Change) and live.lacks(entry)

    def live_text(self, seq: int) -> LiveText | None:
        return self._live.get(seq)

    def find(self, seq: int) -> Message | None:
        """The message with this seq, if it is in the list or live."""
        at = self._index(seq)
        if at is not None:
            return self._items[at]
        live = self._live.get(seq)
        return None if live is None else live.message

    def load(self, messages: Iterable[Message], *, gapless_after: int) -> None:
        """Replace the list by ``messages`` (ascending), which are complete above the seq ``gapless_after``."""
        self._items, self._start = [], 0
        self._live.clear()
        self.ended.clear()
        self.gapless_after = gapless_after
        for message in messages:
            self.append(message)

    def snapshot(self) -> MessageSnapshot:
        return MessageSnapshot(self._items[self._start :])

    def newest(self, limit: int) -> list[Message]:
        return self._items[max(self._start, len(self._items) - limit) :]

    def after(self, seq: int) -> list[Message]:
        """The messages in the list above ``seq``: complete if ``seq >= gapless_after``."""
        return self._items[bisect_right(self._items, seq, lo=self._start, key=_seq) :]

    def completed(self, frames: Iterable[ServerFrame]) -> list[tuple[int, Message]]:
        """The messages that are new by accepted ``frames``, each with its seq; a live one when it ends, with that of its end."""
        ended = dict(self.ended)
        found: list[tuple[int, Message]] = []
        for frame in frames:
            match frame:
                case MessageFrame(entry=entry) if not entry.live:
                    found.append((entry.seq, entry))
                case ChangeFrame(entry=change) if change.kind == "end" and change.seq in ended:
                    found.append((change.seq, ended[change.seq]))
        return found

    def grown(self, frames: Iterable[ServerFrame]) -> list[Message]:
        """The live messages, as they are now, that accepted ``frames`` began or changed."""
        seqs: dict[int, None] = {}
        for frame in frames:
            match frame:
                case MessageFrame(entry=entry) if entry.live:
                    seqs[entry.seq] = None
                case ChangeFrame(entry=Change(target=target)) | AppendFrame(target=target):
                    seqs[target] = None
        return [self._live[seq].message for seq in seqs if seq in self._live]

    def finished_after(self, seq: int) -> list[Message]:
        """The messages above ``seq``, of which a live one counts as new when it ends: then its end is above it."""
        ends = {message.seq: end for end, message in self.ended}
        found = [(ends.get(message.seq, message.seq), message) for message in self.after(seq) if not message.live]
        found += [(end, self.find(message.seq) or message) for end, message in self.ended if end > seq >= message.seq]
        return [message for _, message in sorted(found, key=itemgetter(0))]

    def end_of(self, seq: int) -> int:
        """The seq at which the message ``seq`` was new: that of its end, if it was live and has ended."""
        return next((end for end, message in self.ended if message.seq == seq), seq)

    def _index(self, seq: int) -> int | None:
        at = bisect_left(self._items, seq, lo=self._start, key=_seq)
        return at if at < len(self._items) and self._items[at].seq == seq else None


class Messages(list[Message]):
    """A list whose repr is a short table of the newest messages, and so is that of a slice."""

    @overload
    def __getitem__(self, at: SupportsIndex, /) -> Message: ...
    @overload
    def __getitem__(self, at: slice, /) -> Messages: ...
    def __getitem__(self, at: SupportsIndex | slice, /) -> Message | Messages:
        return Messages(super().__getitem__(at)) if isinstance(at, slice) else super().__getitem__(at)

    def __repr__(self) -> str:
        shown = self[-SHOWN_ROWS:]
        if not all(isinstance(message, Message) for message in shown):
            return super().__repr__()
        count, hidden = len(self), len(self) - len(shown)
        title = f"{count:,} message{'' if count == 1 else 's'}" + (f", the last {SHOWN_ROWS}" if hidden else "")
        if not shown:
            return title
        rows = [("seq", "time (UTC)", "user", "text"), *map(_row, shown)]
        seq, user = (max(len(row[column]) for row in rows) for column in (0, 2))
        lines = [f"{row[0]:>{seq}}  {row[1]:<19}  {row[2]:<{user}}  {row[3]}" for row in rows]
        return "\n".join([title, *lines])


class MessageSnapshot(Messages):
    """A read-only list: appending to it would not send anything."""

    def __reduce__(self) -> tuple[type[MessageSnapshot], tuple[list[Message]]]:
        """For pickle and copy, which would append to it."""
        return type(self), (list(self),)

    def _read_only(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("room.messages is a read-only snapshot: room.send(text) adds a message to the room")

    append = extend = insert = remove = pop = clear = sort = reverse = _read_only
    __setitem__ = __delitem__ = __iadd__ = __imul__ = _read_only


def _row(message: Message) -> tuple[str, str, str, str]:
    named = [f"[{part.name or part.mime}]" for part in message.parts]
    text = "(deleted)" if message.deleted else " ".join([*named, message.text])
    return (
        str(message.seq),
        shown_time(message),
        truncate(one_line(message.user), SHOWN_USER_CHARACTERS),
        truncate(one_line(text), SHOWN_TEXT_CHARACTERS),
    )
