"""The examples in the docstrings of Room, ChatWidget and bqwidget.testing: each verb has one, and each one runs."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import textwrap
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import bqwidget.testing
from bqwidget import ChatWidget, Message, Room
from bqwidget._room.progress import Report
from bqwidget._room.questions.poll import Poll
from bqwidget._room.writing.step_writer import StepWriter
from bqwidget._room.writing.writer import Writer
from bqwidget.protocol import is_open
from bqwidget.testing import Member, scripted_room

INLINE = re.compile(r"Example: ``(.*?)``(?!`)", re.DOTALL)
BLOCK = re.compile(r"Example::\n\n((?:(?: {4}.*)?\n?)+)")


def public_names(owner: type) -> Iterator[tuple[str, Any]]:
    """The public methods and properties that bqwidget defines for ``owner``."""
    for name in dir(owner):
        member = inspect.getattr_static(owner, name)
        function = member.fget if isinstance(member, property) else member
        if inspect.isfunction(function) and not name.startswith("_") and function.__module__.startswith("bqwidget"):
            yield name, function


def example(documented: Any) -> str | None:
    doc = inspect.cleandoc(documented.__doc__ or "")
    if found := INLINE.search(doc):
        return found[1]
    found = BLOCK.search(doc + "\n")
    return textwrap.dedent(found[1]).strip() if found else None


DOCUMENTED = {
    **{f"Room.{name}": function for name, function in public_names(Room)},
    **{f"Member.{name}": function for name, function in public_names(Member) if name != "user"},
    "Room": Room,
    "Report.update": Report.update,
    **{f"Writer.{name}": function for name, function in public_names(Writer)},
    "StepWriter.append": StepWriter.append,
    "Report.stopped": Report.stopped.fget,
    **{f"Poll.{name}": function for name, function in public_names(Poll) if name != "is_open"},
    "Member": Member,
    "private_server": bqwidget.testing.private_server,
    "scripted_room": bqwidget.testing.scripted_room,
}


@pytest.mark.parametrize("name", [*DOCUMENTED, "ChatWidget"])
def test_every_public_verb_has_an_example_that_compiles(name: str) -> None:
    code = example({**DOCUMENTED, "ChatWidget": ChatWidget}[name])
    assert code, f"{name}: its docstring has no example"
    compile(code, name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def run(code: str, namespace: dict[str, Any]) -> None:
    compiled = compile(code, "<example>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    if compiled.co_flags & inspect.CO_COROUTINE:
        asyncio.run(eval(compiled, namespace))
    else:
        exec(compiled, namespace)


@pytest.fixture(scope="module")
def members() -> Iterator[tuple[Room, Member]]:
    with scripted_room() as room, Member("bob", room) as bob:
        bob.on("Which?", answer="a").on("?", answer="yes")
        yield room, bob


@pytest.fixture
def talking(members: tuple[Room, Member]) -> Iterator[None]:
    """The other member sends what the examples of the blocking verbs wait for, until the test ends."""
    _, bob = members
    ended = threading.Event()

    def talk() -> None:
        while not ended.wait(0.02):
            bob.say("go")
            bob.say("done")

    thread = threading.Thread(target=talk)
    thread.start()
    yield
    ended.set()
    thread.join()


def open_question(room: Room) -> Message:
    """An open question."""
    asking = threading.Thread(target=room.ask, args=("Which one",), kwargs={"timeout": 20, "default": None})
    asking.start()
    return room.wait_for(lambda message: message.text == "Which one" and is_open(message), 20, after=0)


def namespace(room: Room, bob: Member) -> dict[str, Any]:
    message = room.send(b"\x89PNG\r\n\x1a\n")
    return {"room": room, "bob": bob, "message": message, "Member": Member, "reply": print, "announce": print}


BLOCKING = {"Room.wait_for", "Room.next_message", "Member.wait_for"}
CLOSING = {"Room.close", "Room.aclose", "Member.leave", "Member.finish"}
NOT_RUN = {
    "Room.stream",  # never ends
    *("Room", "private_server", "scripted_room"),  # start a server each
    # They need a moderator: test_moderation.py.
    *(f"Room.{prefix}{verb}" for verb in ("pin", "mute", "unmute", "lock", "unlock") for prefix in ("", "a")),
}


@pytest.mark.parametrize("name", sorted(DOCUMENTED.keys() - BLOCKING - CLOSING - NOT_RUN))
def test_the_example_runs(name: str, members: tuple[Room, Member]) -> None:
    room, bob = members
    given = namespace(room, bob)
    if name in ("Room.answer", "Room.aanswer"):
        given["question"] = open_question(bob.room)
    if name == "Room.unobserve":
        room.observe(print, "messages")
    if name.startswith("Poll."):
        given["poll"] = room.poll("Which plot", ["a", "b"], wait=False)
    if name.startswith("Report."):
        given["report"] = room.report("training").__enter__()
    if name.startswith(("Writer.", "StepWriter.")):
        given["out"] = room.write().__enter__()
        given["step"] = given["out"].step("search").__enter__()
    run(example(DOCUMENTED[name]) or "", given)
    if name.startswith(("Writer.", "StepWriter.")):
        given["out"].__exit__(None, None, None)
    if name == "Member":
        given["bob"].leave()
    room.unobserve_all()


@pytest.mark.parametrize("name", sorted(BLOCKING))
@pytest.mark.usefixtures("talking")
def test_the_example_of_a_blocking_verb_runs(name: str, members: tuple[Room, Member]) -> None:
    run(example(DOCUMENTED[name]) or "", namespace(*members))


@pytest.mark.parametrize("name", sorted(CLOSING))
def test_the_example_of_a_closing_verb_runs(name: str, members: tuple[Room, Member]) -> None:
    carol = Member("carol", members[0])
    run(example(DOCUMENTED[name]) or "", {"room": carol.room, "bob": carol})
    assert carol.room.status == "closed"
