"""Loop guard: bots that answer each other stop after a while, until a person writes again.

What a callback sends carries in its cid how many programs have answered in a row, and the message of a person that
began it. So the chain is exact, whatever the speed of the bots and however many messages come from one program.
"""

from __future__ import annotations

import re
from contextvars import ContextVar
from typing import Any, NamedTuple

from bqwidget.errors import MessageRefused
from bqwidget.protocol import Message

FREE_HOPS = 3
"""Answers in a row that are not counted: a bot may reply to each of many results of another one."""
MAX_ANSWERS = 20
"""Counted answers of one Room to one message of a person."""
MAX_ROOTS = 1000
_CID = re.compile(r"[0-9]{1,12}-([0-9]{1,6})-([0-9]{1,19})\.[0-9a-f]{20}")
_PLAIN_CID = re.compile(r"[0-9]{1,12}\.[0-9a-f]{20}")
"""Sent by code that runs in no callback."""


class Chain(NamedTuple):
    """``hops``: programs' answers in a row, this one included. ``root``: the seq of the message that began it."""

    hops: int
    root: int

    @property
    def suffix(self) -> str:
        """The chain as a part of a cid."""
        return f"-{self.hops}-{self.root}"


_chain: ContextVar[Chain | None] = ContextVar("bqwidget_chain", default=None)
_message: ContextVar[Message | None] = ContextVar("bqwidget_message", default=None)


def begin(*args: Any) -> None:
    """A callback begins, with a message, or with the change of a list of messages."""
    cause = args[0] if args else None
    _message.set(cause if isinstance(cause, Message) else None)
    if not isinstance(cause, Message):
        new = getattr(cause, "new", None)
        cause = new[-1] if isinstance(new, list | tuple) and new and isinstance(new[-1], Message) else None
    if cause is None:
        _chain.set(None)
    elif (found := _CID.fullmatch(cause.cid or "")) is None:
        _chain.set(Chain(1, cause.seq))
    else:
        _chain.set(Chain(int(found[1]) + 1, int(found[2])))


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


class LoopGuard:
    """Counts the answers of one Room."""

    def __init__(self) -> None:
        self._answers: dict[int, int] = {}

    def check(self) -> None:
        """Raises MessageRefused if the message that is sent now would continue a loop."""
        chain = current_chain()
        if chain is None or chain.hops <= FREE_HOPS:
            return
        count = self._answers.pop(chain.root, 0) + 1
        self._answers[chain.root] = count
        if len(self._answers) > MAX_ROOTS:
            del self._answers[next(iter(self._answers))]
        if count > MAX_ANSWERS:
            raise MessageRefused(
                "bot_loop",
                "not sent: only programs have answered each other since message"
                f" {chain.root}, {MAX_ANSWERS} times here. A person's message starts it again; to end the loop, ignore"
                " the other bot, as by @room.on_message(where=lambda message: message.user != 'its name')",
            )
