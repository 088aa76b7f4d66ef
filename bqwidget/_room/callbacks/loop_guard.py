"""Loop guard: bots that answer each other stop after a while, until a person writes again.

What a callback sends carries in its cid how many programs have answered in a row, and the message of a person that
began it. So the chain is exact, whatever the speed of the bots and however many messages come from one program.

Code that waits, in a cell or on a thread, may be a bot as well, or a program that gives jobs to another one and waits for
each result. They differ only in how often they do it: so the rounds of waiting code are counted, with a higher limit.
"""

from __future__ import annotations

import re
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import Any, NamedTuple

from bqwidget._threads.cells import Cell, current_cell
from bqwidget.errors import MessageRefused
from bqwidget.protocol import Message

FREE_HOPS = 3
"""Answers in a row that are not counted: a bot may reply to each of many results of another one."""
MAX_ANSWERS = 20
"""Counted answers of one Room to what follows one message of a person."""
MAX_ROUNDS = 200
"""Messages of programs for which code of one Room has waited, and then has sent something, in a row."""
LOOP_SHARE = 0.1
"""The least share of the messages meanwhile that are an author's, if it takes part in the loop."""
MAX_PAUSE = 60.0
"""Seconds between two of these rounds, after which they are counted from zero."""
MAX_ROOTS = 1000
_CID = re.compile(r"[0-9]{1,12}-([0-9]{1,6})-([0-9]{1,19})\.[0-9a-f]{20}")
_PLAIN_CID = re.compile(r"[0-9]{1,12}\.[0-9a-f]{20}")
"""Sent by code that runs in no callback."""


class Chain(NamedTuple):
    """``hops``: programs' answers in a row, this one included. ``root``: the seq of the message that began it.

    ``cause``: the seq of the message that is answered.
    """

    hops: int
    root: int
    cause: int

    @property
    def suffix(self) -> str:
        """The chain as a part of a cid."""
        return f"-{self.hops}-{self.root}"


class _Received(NamedTuple):
    """The last message of a program that waiting code received, in this run of a cell: a person runs the next one."""

    guard: LoopGuard
    message: Message
    cell: Cell | None


_chain: ContextVar[Chain | None] = ContextVar("bqwidget_chain", default=None)
_message: ContextVar[Message | None] = ContextVar("bqwidget_message", default=None)
_received: ContextVar[_Received | None] = ContextVar("bqwidget_received", default=None)


def begin(*args: Any) -> None:
    """A callback begins, with a message, a list of messages, or the change of a trait."""
    cause = args[0] if args else None
    _message.set(cause if isinstance(cause, Message) else None)
    if cause is not None and getattr(cause, "name", None) == "unread":  # it changes with a message
        cause = cause.owner.messages
    newest = getattr(cause, "new", cause)
    if isinstance(newest, list | tuple) and newest:
        newest = newest[-1]
    _received.set(None)
    if not isinstance(newest, Message):
        _chain.set(None)
    elif (found := _CID.fullmatch(newest.cid or "")) is None:
        _chain.set(Chain(1, newest.seq, newest.seq))
    else:
        _chain.set(Chain(int(found[1]) + 1, int(found[2]), newest.seq))


def current_chain() -> Chain | None:
    """The chain that a message sent now continues, or None outside of callbacks."""
    return _chain.get()


def current_message() -> Message | None:
    """The message that the current callback handles, or None."""
    return _message.get()


def is_sent_in_callback(cid: str | None) -> bool:
    return _CID.fullmatch(cid or "") is not None


def is_sent_by_code(cid: str | None) -> bool:
    """Whether a verb made ``cid``. Those of browsers have another form."""
    return is_sent_in_callback(cid) or _PLAIN_CID.fullmatch(cid or "") is not None


def is_of_program(message: Message) -> bool:
    return message.author_kind == "agent" or is_sent_by_code(message.cid)


class LoopGuard:
    """Counts the answers of one Room. ``messages_after(seq)``: the kept messages above ``seq``."""

    def __init__(self, messages_after: Callable[[int], Iterable[Message]]) -> None:
        self._messages_after = messages_after
        self._answered: OrderedDict[int, set[int]] = OrderedDict()
        self._rounds: set[int] = set()
        self._last_round_at = 0.0

    def receive(self, message: Message) -> Message:
        """Code that waits has received ``message``, which is returned. What it sends then may be an answer."""
        _received.set(_Received(self, message, current_cell()) if is_of_program(message) else None)
        return message

    def check(self) -> None:
        """Raises MessageRefused if the message that is sent now would continue a loop."""
        received, chain = _received.get(), current_chain()
        if received is not None and received.guard is self and received.cell == current_cell():
            self._count_round(received.message)
        if chain is None or chain.hops <= FREE_HOPS:
            return
        answered = self._answered[chain.root] = self._answered.pop(chain.root, set())
        if len(self._answered) > MAX_ROOTS:
            self._answered.popitem(last=False)
        if chain.cause not in answered and len(answered) == MAX_ANSWERS:
            raise _refusal(chain.root, MAX_ANSWERS)
        answered.add(chain.cause)

    def _count_round(self, message: Message) -> None:
        """Code answers ``message``, for which it has waited."""
        now, before = time.monotonic(), self._last_round_at
        if now - before > MAX_PAUSE:
            self._rounds.clear()
        if message.seq not in self._rounds and len(self._rounds) == MAX_ROUNDS:
            first = min(self._rounds)
            since = list(self._messages_after(first))
            of_author = sum(each.user == message.user for each in since)
            if all(map(is_of_program, since)) and of_author > len(since) * LOOP_SHARE:
                raise _refusal(first, MAX_ROUNDS)
            self._rounds.clear()
        self._last_round_at = now
        self._rounds.add(message.seq)


def _refusal(since: int, count: int) -> MessageRefused:
    return MessageRefused(
        "bot_loop",
        f"not sent: only programs have answered each other since message {since}, {count} times here. A person's message"
        " starts it again; to end the loop, ignore the other bot, as by"
        " @room.on_message(where=lambda message: message.user != 'its name')",
    )
