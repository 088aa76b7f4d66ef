"""What completion, a type checker and help show of the public names."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jedi
import pytest
from support.paths import ROOT

import bqwidget
from bqwidget import ChatWidget, Room, testing
from bqwidget._room.progress import Report
from bqwidget._room.questions.poll import Poll
from bqwidget._room.writing.step_writer import StepWriter
from bqwidget._room.writing.writer import Writer

SCRIPT = """
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from datetime import datetime

from bqwidget import ChatWidget, Message, Room, TrackStopped
from bqwidget.testing import Member, scripted_room

room = Room("lobby", user="ada", url="http://127.0.0.1:9")


@room.on_message
def reply(message: Message) -> None:
    room.reply(message, message.text.upper(), wait=False)


@room.on_message(where=lambda message: message.text == "go", background=True)
async def start(message: Message) -> None:
    await room.asend(f"{message.time:%H:%M}")


@room.command
def mean(*numbers: float) -> float:
    return sum(numbers) / len(numbers)


@room.command(name="again", background=True)
async def repeat(message: Message, text: str = "") -> str:
    return text or f"{mean(1, 2):.1f}"


@room.on_mention
def here(message: Message) -> str:
    return f"yes, {message.user}?"


@room.on_message
def answer(message: Message) -> Iterator[str]:
    yield message.text


@room.on_message(live=True)
async def stream(message: Message) -> AsyncIterator[str]:
    if not message.live and message.end == "done":
        yield "".join(step.title for step in message.steps)


@room.live(pause=1)
def newest(messages: list[Message]) -> list[str]:
    return [message.text for message in messages[-5:]]


class Echo:
    def __init__(self, room: Room) -> None:
        room.on_message(self.hear, where=lambda message: message.text == "go", background=True)
        room.on_mention(self.hear, background=True)
        room.command(self.shout, name="cry", background=True)
        room.live(self.count, pause=2)
        room.observe(lambda change: print(change.new), "messages")
        room.widget.layout.width = "50%"

    def hear(self, message: Message) -> str:
        return message.text

    def shout(self, text: str) -> str:
        return text.upper()

    def count(self, messages: list[Message]) -> int:
        return len(messages)


def work(flag: bool) -> None:
    stored: Message = room.send("hi")
    later: Future[Message] = room.send("hi", wait=False)
    at: datetime = later.result(10).time
    answered: Message = room.answer(stored, "yes")
    choice: str = room.ask("?", ["yes", "no"])
    poll = room.poll("Which?", ["a", "b"], timeout=60, from_=["ann", "bob"])
    winner: tuple[str, int] = max(poll.counts.items(), key=lambda one: one[1])
    mine: str | None = poll.close().votes.get(winner[0])
    maybe: str | None = mine or room.ask("?", timeout=1, default=None)
    texts: list[str] = [message.text for message in room.messages + room.history(limit=5) + room.pending()]
    try:
        for number in room.track(range(3), "steps", stop=True):
            number.bit_length()
    except TrackStopped as error:
        error.user.upper()
    with room.report("job") as report:
        done: bool = report.stopped
        report.update(0.5, f"{at} {answered.text} {choice} {maybe} {texts} {done}")
    with room.write(re=stored) as out, room.activity("thinking…"):
        with out.step("search") as step:
            step.append("3 hits")
        if not out.stopped:
            out.append(out.message.text)
    room.stop(stored)
    if room.status == "open" and room.error is None and room.latency is not None:
        print(room.queued + 1, room.members[0].user, f"{room.latency:.1f}")
    print(ChatWidget(room).messages[0].time)


async def write() -> None:
    async with room.write() as out, room.activity():
        out.replace("now")
    await room.astop(out.message)


def scripted() -> None:
    with scripted_room() as own, Member("bob", own) as bob:
        bob.on("ping", say="pong").wait_for("pong")


Room("lobby", server="http://127.0.0.1:9")  # type: ignore[arg-type]
reveal_type(room.send("x", wait=False))
reveal_type(room.reply(1, "x", wait=False))
reveal_type(room.answer(1, "x", wait=False))
reveal_type(room.send("x"))
reveal_type(room.reply(1, "x"))
reveal_type(room.messages[0])
reveal_type(room.messages[-5:])
reveal_type(room.status)
"""
REVEALED = [
    *["bqwidget._room.sending.Sending"] * 3,
    *["bqwidget.protocol.entries.Message"] * 3,
    "bqwidget._client.message_list.Messages",
    "Literal['connecting'] | Literal['open'] | Literal['reconnecting'] | Literal['closed']",
]


@pytest.mark.slow
def test_a_user_s_script_is_exact_for_a_strict_type_checker(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    options = ["--strict", "--follow-imports=silent", f"--cache-dir={tmp_path / 'cache'}", "--no-error-summary"]
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", *options, "--config-file=", script],
        env={"MYPYPATH": str(ROOT), "PATH": "", "HOME": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    revealed = [line.partition("Revealed type is ")[2].strip('"') for line in checked.stdout.splitlines()]
    assert "error" not in checked.stdout + checked.stderr
    assert revealed == REVEALED


def test_completion_shows_verbs_and_traits_without_those_of_traitlets(home: Path) -> None:
    room = Room("lobby", user="ada", url="http://127.0.0.1:9")
    try:
        for shown in (dir(room), dir(Room)):
            public = {name for name in shown if not name.startswith("_")}
            own = {"name", "user", "keep"} if shown == dir(room) else set()
            assert public == documented(Room) | own | {"observe", "unobserve", "unobserve_all"}
        assert room.has_trait("messages")
        assert not {"class_traits", "hold_trait_notifications"}.intersection(dir(room.widget))
        assert set(Room.class_trait_names()) == set(room.trait_names()) == set(ChatWidget.class_trait_names()) & public
    finally:
        room.close()


def documented(kind: type) -> set[str]:
    bases = [base for base in kind.__mro__ if base.__module__.startswith("bqwidget")]
    return {name for base in bases for name in vars(base) if not name.startswith("_")}


def test_completion_of_the_module_shows_its_public_names() -> None:
    assert [name for name in dir(bqwidget) if not name.startswith("_")] == sorted(bqwidget.__all__)
    code = "import bqwidget, sys; print(dir(bqwidget), 'traitlets' in sys.modules)"
    shown = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True)
    assert "'Room'" in shown
    assert "Any" not in shown
    assert shown.endswith("False\n")


def test_completion_of_a_cell_that_has_not_run_shows_no_imports_of_the_module() -> None:
    """Jedi reads the source then: public names, the modules, and what IPython calls."""
    found = {name.name for name in jedi.Script("import bqwidget\nbqwidget.").complete() if name.name[0] != "_"}
    modules = {path.stem for path in (ROOT / "bqwidget").iterdir()}
    assert found - modules == {*bqwidget.__all__, "load_ipython_extension"}


def public_things() -> Iterator[tuple[str, Any]]:
    for name in bqwidget.__all__:
        yield name, getattr(bqwidget, name)
    for name, thing in vars(testing).items():
        if getattr(thing, "__module__", "") == testing.__name__ and not name.startswith("_") and thing.__doc__:
            yield f"testing.{name}", thing
    for kind in (Room, ChatWidget, testing.Member, Report, Poll, Writer, StepWriter):
        for base in kind.__mro__:
            if base.__module__.startswith("bqwidget"):
                for name, thing in vars(base).items():
                    if _is_verb(name, thing):
                        yield f"{kind.__name__}.{name}", thing


def _is_verb(name: str, thing: object) -> bool:
    overrides = ("open", "set_state")  # of ipywidgets
    is_verb = inspect.isfunction(thing) or isinstance(thing, property)
    return is_verb and not name.startswith("_") and name not in overrides


@pytest.mark.parametrize(("name", "thing"), [pytest.param(name, thing, id=name) for name, thing in public_things()])
def test_every_public_docstring_has_an_example(name: str, thing: Any) -> None:
    assert "Example: " in thing.__doc__ or "Example::\n" in thing.__doc__, name
