"""Testing: scripted members, so that a notebook with a conversation runs by itself, the same every time.

In a notebook (or a test), somebody has to be there to answer::

    from bqwidget import Room
    from bqwidget.testing import Member

    room = Room("lobby", user="ada")
    bob = Member("bob", room)
    bob.on("Continue?", answer="yes")              # every question that contains these words
    bob.on("ping", say=["pong", "pong again"])     # the first time this, the second time that, then nothing
    bob.on(re.compile("loss 0.0"), react="🎉")

    room.ask("Continue?", choices=["yes", "no"])   # -> 'yes', at once: no sleep, no waiting for a person
    bob.finish()                                   # an error, if something of the script has not happened

Members react on threads of their own, while cells are busy too. ``scripted_room()`` gives a room on a private,
empty server, for a test that shall neither see nor touch the rooms of whoever runs it; ``private_server()`` is
that server alone.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import repeat
from secrets import token_urlsafe
from threading import Condition
from types import TracebackType
from typing import Any, NamedTuple, Self

from .errors import LocalServerError, WaitTimeout
from .protocol import Message, is_open, printable
from .room import Room

SCRIPT_TIMEOUT = 20.0
"""Seconds after which a script that doesn't go on is given up."""
IDLE_TIMEOUT = 60
"""A private server whose process is gone without a word ends by itself."""

What = str | re.Pattern[str] | Callable[[Message], object]
Said = str | Sequence[str] | Callable[[Message], str | None]


class Member:
    """Somebody in ``room`` who follows a script; joined when this returns. Also a context manager.

    ``room`` is a Room, in the same room of whose server it joins, or a name on the default server.
    """

    def __init__(self, user: str, room: Room | str) -> None:
        if isinstance(room, Room):
            endpoint = room.wait_open(SCRIPT_TIMEOUT)._connection.endpoint  # noqa: SLF001 - a part of the room
            assert endpoint is not None
            self.room: Room = _Person(
                room.name, user=user, url=endpoint.base, token=endpoint.token, insecure=True
            )
        else:
            self.room = _Person(room, user=user)
        self._rules: list[_Rule] = []
        self._changed = Condition()
        self.room.wait_open(SCRIPT_TIMEOUT)
        self.room.on_message(background=True)(self._on_message)

    @property
    def user(self) -> str:
        return str(self.room.user)

    def on(
        self,
        what: What,
        *,
        answer: Said | None = None,
        say: Said | None = None,
        reply: Said | None = None,
        react: Said | None = None,
    ) -> Self:
        """Whenever somebody else says ``what``: answer that question, say something, reply to it, or react to it.

        ``what``: words that it contains, a pattern found in it, or a function of the message. A reaction is a
        text for every time, a list of texts for as many times, or a function of the message that gives one
        (None: nothing this time). The first line of the script that fits and has something left is followed.
        """
        given = {"answer": answer, "say": say, "reply": reply, "react": react}
        said = {name: texts for name, texts in given.items() if texts is not None}
        if not said:
            raise TypeError("on() needs what to do: answer=, say=, reply= or react=")
        with self._changed:
            self._rules.append(_Rule(what, said))
        return self

    def say(self, text: str) -> Message:
        """Say something now."""
        return self.room.send(text)

    def wait_for(
        self, what: What, timeout: float = SCRIPT_TIMEOUT, *, after: Message | int | None = None
    ) -> Message:
        """The first message that is ``what``, whoever says it: newer than ``after``, else from now on."""
        return self.room.wait_for(lambda message: _matches(what, message), timeout, after=after)

    def finish(self, timeout: float = SCRIPT_TIMEOUT) -> None:
        """Wait until all that was scripted has happened, then leave. WaitTimeout says what has not."""
        try:
            with self._changed:
                if not self._changed.wait_for(
                    lambda: all(line.missing <= 0 for line in self._rules), timeout
                ):
                    missing = ", ".join(repr(line) for line in self._rules if line.missing > 0)
                    raise WaitTimeout(f"{self.user} is still waiting for {missing}", timeout=timeout)
        finally:
            self.leave()

    def leave(self) -> None:
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
        """On a thread of its own, one message after the other."""
        for line in list(self._rules):
            deeds = line.reactions(message)
            if not deeds:
                continue
            for name, text in deeds.items():
                self._react(name, message, text)
            with self._changed:
                line.missing -= 1
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
    """One line of a script. ``missing``: how often it must still happen for the script to be complete."""

    def __init__(self, what: What, said: dict[str, Said]) -> None:
        self.what = what
        self.missing = max([1, *(len(texts) for texts in said.values() if isinstance(texts, list | tuple))])
        self._said = {name: _text_source(texts) for name, texts in said.items()}

    def reactions(self, message: Message) -> dict[str, str]:
        """What is to be done about ``message``: nothing, where it is about something else or all is used up."""
        if not _matches(self.what, message) or ("answer" in self._said and not is_open(message)):
            return {}
        deeds = {name: supply(message) for name, supply in self._said.items()}
        return {name: text for name, text in deeds.items() if text is not None}

    def __repr__(self) -> str:
        return repr(self.what)


class _Person(Room):
    """Shown as a person among the members."""

    _kind = "person"


def _text_source(said: Said) -> Callable[[Message], str | None]:
    if callable(said):
        return said
    texts = repeat(said) if isinstance(said, str) else iter(said)
    return lambda _: next(texts, None)


def _matches(what: What, message: Message) -> bool:
    match what:
        case str():
            return what in message.text
        case re.Pattern():
            return what.search(message.text) is not None
        case _:
            return bool(what(message))


class PrivateServer(NamedTuple):
    """Where it is, and the token that it takes: ``Room("lobby", url=server.url, token=server.token)``."""

    url: str
    token: str


@contextmanager
def private_server(*flags: str) -> Iterator[PrivateServer]:
    """A server of our own on a free port, which keeps nothing and ends with the block; ``flags`` of ``bqserver``."""
    token = token_urlsafe()
    command = [
        *(sys.executable, "-m", "bqserver"),
        "--port=0",
        "--log=memory",
        f"--idle-timeout={IDLE_TIMEOUT}",
        *flags,
    ]
    environ = {**os.environ, "BQSERVER_TOKEN": token}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, env=environ, text=True
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
    """An open room on a private server: ``with scripted_room() as room: bob = Member("bob", room) ...``."""
    with private_server() as server, Room(name, user, url=server.url, token=server.token, **options) as room:
        yield room.wait_open(SCRIPT_TIMEOUT)
