"""Testing: scripted members, for notebooks and tests that contain a conversation and run without people.

A scripted member answers questions and reacts to messages::

    from bqwidget import Room
    from bqwidget.testing import Member

    room = Room("lobby", user="ada")
    bob = Member("bob", room)
    bob.on("Continue?", answer="yes")              # every question that contains this text
    bob.on("ping", say=["pong", "pong again"])     # first "pong", then "pong again", then nothing
    bob.on(re.compile("loss 0.0"), react="🎉")

    room.ask("Continue?", choices=["yes", "no"])   # returns 'yes' at once
    bob.finish()                                   # raises WaitTimeout if part of the script has not happened

Members react on threads of their own, even while a cell is busy. ``scripted_room()`` is a room on a private, empty
server, for tests that must not touch the user's rooms; ``private_server()`` is that server alone.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import Context
from itertools import repeat
from secrets import token_urlsafe
from threading import Condition
from types import TracebackType
from typing import Any, NamedTuple, Self

from .errors import LocalServerError, WaitTimeout
from .protocol import Message, is_open, printable
from .room import Room

SCRIPT_TIMEOUT = 20.0
"""Seconds to wait for each step of a script."""
IDLE_TIMEOUT = 900
"""Seconds without members after which a private server ends, for when this process was killed: longer than a busy machine
needs to start what joins it."""

Matcher = str | re.Pattern[str] | Callable[[Message], object]
Reaction = str | Sequence[str] | Callable[[Message], str | None]


class Member:
    """A member with the name ``user`` that follows a script. It has joined when this returns.

    ``room``: a Room, whose server and room it joins, or the name of a room on the default server. A Member is also a
    context manager that leaves. Raises WaitTimeout, and the errors of ``Room``. Example::

        bob = Member("bob", room)
    """

    def __init__(self, user: str, room: Room | str) -> None:
        if isinstance(room, Room):
            endpoint = room.wait_open(SCRIPT_TIMEOUT)._connection.endpoint  # noqa: SLF001 - part of the room
            assert endpoint is not None
            self.room: Room = _Person(
                room.name, user=user, url=endpoint.base, token=endpoint.token, insecure=True, separate=True
            )
        else:
            self.room = _Person(room, user=user, separate=True)
        self._rules: list[_Rule] = []
        self._changed = Condition()
        self.room.wait_open(SCRIPT_TIMEOUT)
        self.room.on_message(background=True)(self._on_message)

    @property
    def user(self) -> str:
        """The name that others see. Example: ``bob.user``"""
        return str(self.room.user)

    def on(
        self,
        what: Matcher,
        *,
        answer: Reaction | None = None,
        say: Reaction | None = None,
        reply: Reaction | None = None,
        react: Reaction | None = None,
    ) -> Self:
        """Add a rule: when another member sends ``what``, answer the question, send a text, reply, or react.

        ``what``: a text that the message contains, a pattern found in it, or a function of the message. Each reaction
        is a text for every time, a list of texts for as many times, or a function of the message that returns a text
        or None for nothing. The first rule that matches and has a text left is used. Returns the Member.
        Raises TypeError without a reaction. Example: ``bob.on("Continue?", answer="yes")``
        """
        given = {"answer": answer, "say": say, "reply": reply, "react": react}
        reactions = {name: texts for name, texts in given.items() if texts is not None}
        if not reactions:
            raise TypeError("on() needs a reaction: answer=, say=, reply= or react=")
        with self._changed:
            self._rules.append(_Rule(what, reactions))
        return self

    def say(self, text: str) -> Message:
        """Send ``text`` now. Example: ``bob.say("hi")``"""
        return self.room.send(text)

    def wait_for(
        self, what: Matcher, timeout: float = SCRIPT_TIMEOUT, *, after: Message | int | None = None
    ) -> Message:
        """Block until any member sends ``what``, and return that message: newer than ``after``, else than the call.

        ``timeout``: seconds. Raises WaitTimeout, RoomClosed. Example: ``bob.wait_for("done")``
        """
        return self.room.wait_for(lambda message: _matches(what, message), timeout, after=after)

    def finish(self, timeout: float = SCRIPT_TIMEOUT) -> None:
        """Wait until every rule has been used, then leave. Raises WaitTimeout with the rules that have not.

        A list of texts must be used up. ``timeout``: seconds. Example: ``bob.finish()``
        """
        try:
            with self._changed:
                if not self._changed.wait_for(lambda: all(rule.missing <= 0 for rule in self._rules), timeout):
                    missing = ", ".join(repr(rule) for rule in self._rules if rule.missing > 0)
                    raise WaitTimeout(f"{self.user} is still waiting for {missing}", timeout=timeout)
        finally:
            self.leave()

    def leave(self) -> None:
        """Leave the room. Example: ``bob.leave()``"""
        self.room.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()

    def __repr__(self) -> str:
        return f"Member({printable(self.user)}, {self.room.name!r})"

    def _on_message(self, message: Message) -> None:
        """Runs on a thread of its own, for one message after the other."""
        for rule in list(self._rules):
            texts = rule.reactions(message)
            if not texts:
                continue
            for name, text in texts.items():
                Context().run(self._react, name, message, text)  # as a person's words, not as those of a callback
            with self._changed:
                rule.missing -= 1
                self._changed.notify_all()
            return

    def _react(self, name: str, message: Message, text: str) -> None:
        match name:
            case "say":
                self.room.send(text)
            case "reply":
                self.room.reply(message, text)
            case "react":
                self.room.react(message, text)
            case "answer":
                self.room.answer(message, text)


class _Rule:
    """One rule of a script. ``missing``: how often it must still be used for the script to be complete."""

    def __init__(self, what: Matcher, reactions: dict[str, Reaction]) -> None:
        self.what = what
        self.missing = max([1, *(len(texts) for texts in reactions.values() if isinstance(texts, list | tuple))])
        self._reactions = {name: _text_source(texts) for name, texts in reactions.items()}

    def reactions(self, message: Message) -> dict[str, str]:
        """The reactions to ``message``; none if it does not match, or if all texts are used up."""
        if not _matches(self.what, message) or ("answer" in self._reactions and not is_open(message)):
            return {}
        texts = {name: supply(message) for name, supply in self._reactions.items()}
        return {name: text for name, text in texts.items() if text is not None}

    def __repr__(self) -> str:
        return repr(self.what)


class _Person(Room):
    """A Room that is shown as a person among the members."""

    _kind = "person"


def _text_source(reaction: Reaction) -> Callable[[Message], str | None]:
    if callable(reaction):
        return reaction
    texts = repeat(reaction) if isinstance(reaction, str) else iter(reaction)
    return lambda _: next(texts, None)


def _matches(what: Matcher, message: Message) -> bool:
    match what:
        case str():
            return what in message.text
        case re.Pattern():
            return what.search(message.text) is not None
        case _:
            return bool(what(message))


class PrivateServer(NamedTuple):
    """Its address and its token. Example: ``Room("lobby", url=server.url, token=server.token)``."""

    url: str
    token: str


@contextmanager
def private_server(*flags: str) -> Iterator[PrivateServer]:
    """A server on a free port, with an empty history in memory, which ends with the block.

    ``flags``: further flags of ``bqserver``. Yields a PrivateServer. Raises LocalServerError. Example::

        with private_server() as server:
            room = Room("lobby", url=server.url, token=server.token)
    """
    token = token_urlsafe()
    options = ["--port=0", "--log=memory", f"--idle-timeout={IDLE_TIMEOUT}", *flags]
    process = subprocess.Popen(
        [sys.executable, "-m", "bqserver", *options],
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "BQSERVER_TOKEN": token},
        text=True,
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if "listening on " in line:
                yield PrivateServer(line.split()[-1], token)
                return
        raise LocalServerError(f"a private server ended with code {process.wait()} when it started")
    finally:
        process.terminate()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


@contextmanager
def scripted_room(name: str = "lobby", user: str = "ada", **options: Any) -> Iterator[Room]:
    """An open Room on a private server, closed with the block.

    ``options``: further options of ``Room``. Yields the Room. Raises the errors of both. Example::

        with scripted_room() as room:
            bob = Member("bob", room)
    """
    with private_server() as server, Room(name, user, url=server.url, token=server.token, **options) as room:
        yield room.wait_open(SCRIPT_TIMEOUT)
