"""Commands and mentions: how they are parsed, answered, announced and replaced."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import io
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import pytest
from bqserver.testing import running_server
from support.eventually import eventually

from bqwidget import Message, Room
from bqwidget._room.commands.signature import CommandSignature, UsageError
from bqwidget._room.commands.words import parse_command
from bqwidget.protocol import MAX_COMMAND_HELP, MAX_COMMAND_USAGE
from bqwidget.protocol.mentions import mentions

MESSAGE = Message(seq=1, room="lobby", user="bob", text="/x", at=1)


class Colour(enum.Enum):
    red = "r"


def numbers(*numbers: float) -> None: ...
def two(x: int, y: int = 3) -> None: ...
def say(times: int, text: str) -> None: ...
def options(x: int = 1, *, rate: float = 0.1, fast: bool = False, how: Literal["a", "b"] = "a") -> None: ...
def mixed(x: int | str, c: Colour, d: date = date(2026, 1, 1), p: Path | None = None) -> None: ...
def asker(message: Message, text: str = "") -> None: ...
def plain(x, y): ...
def required(*, rate: Decimal) -> None: ...
def any_options(**more: int) -> None: ...
def first(x: str, /) -> None: ...


@pytest.mark.parametrize(
    ("function", "text", "arguments", "keywords"),
    [
        (numbers, "3 4 8.5", [3, 4, 8.5], {}),
        (numbers, "", [], {}),
        (two, "1", [1, 3], {}),
        (two, "1 -2", [1, -2], {}),
        (two, "--y=5 1", [1, 5], {}),
        (two, "--y=5 --x=4", [4, 5], {}),
        (say, "2 hello to all", [2, "hello to all"], {}),
        (say, '2 "hello  you"', [2, "hello  you"], {}),
        (say, "2 don't", [2, "don't"], {}),
        (say, "2 “hello  you”", [2, "hello  you"], {}),
        (options, "", [1], {"rate": 0.1, "fast": False, "how": "a"}),
        (options, "2 --rate=1e-3 --fast --how=b", [2], {"rate": 0.001, "fast": True, "how": "b"}),
        (options, "--fast=off", [1], {"rate": 0.1, "fast": False, "how": "a"}),
        (mixed, "3 red 2026-02-03 a/b", [3, Colour.red, date(2026, 2, 3), Path("a/b")], {}),
        (mixed, "three r", ["three", Colour.red, date(2026, 1, 1), None], {}),
        (asker, "hi all", [MESSAGE, "hi all"], {}),
        (plain, "a b c", ["a", "b c"], {}),
        (required, "--rate=0.1", [], {"rate": Decimal("0.1")}),
        (any_options, "--a=1 --b-c=2", [], {"a": 1, "b_c": 2}),
        (first, "x", ["x"], {}),
    ],
)
def test_arguments_follow_the_signature(
    function: Any, text: str, arguments: list[Any], keywords: dict[str, Any]
) -> None:
    assert CommandSignature("x", function).bind(text, MESSAGE) == (arguments, keywords)


@pytest.mark.parametrize(
    ("function", "text", "expected"),
    [
        (two, "", "x is missing"),
        (two, "a", "x must be a whole number, not 'a'"),
        (two, "1 2 3", "'3' is one argument too many"),
        (two, "1 --z=3", "there is no option --z"),
        (two, "1 --y", "--y needs a value"),
        (numbers, "1 x", "numbers must be a number, not 'x'"),
        (options, "--rate=x", "--rate must be a number"),
        (options, "--fast=perhaps", "--fast must be yes or no"),
        (options, "--how=c", "--how must be one of a, b"),
        (mixed, "3 blue", "c must be one of red"),
        (mixed, "3 red tomorrow", "d must be a date"),
        (required, "", "--rate is missing"),
        (required, "--rate=x", "--rate must be a Decimal"),
        (say, '2 "hello', 'a " has no end'),
        (first, "--x=3", "x is missing"),
    ],
)
def test_wrong_arguments_are_named(function: Any, text: str, expected: str) -> None:
    with pytest.raises(UsageError, match=expected):
        CommandSignature("x", function).bind(text, MESSAGE)


@pytest.mark.parametrize(
    ("function", "usage"),
    [
        (numbers, "/x [numbers...]"),
        (two, "/x x [y=3]"),
        (options, "/x [x=1] [--rate=0.1] [--fast] [--how=a]"),
        (mixed, "/x x c [d=2026-01-01] [p]"),
        (asker, "/x [text=]"),
        (required, "/x --rate=…"),
    ],
)
def test_the_usage_shows_the_signature(function: Any, usage: str) -> None:
    assert CommandSignature("x", function).usage == usage


def test_what_is_announced_is_short() -> None:
    def long(**_: int) -> None: ...

    long.__doc__ = "word\n " * 200 + "\n\nMore."
    long.__signature__ = __import__("inspect").Signature(  # type: ignore[attr-defined]
        [__import__("inspect").Parameter(f"parameter{n}", 1) for n in range(50)]
    )
    command = CommandSignature("x", long).command
    assert len(command.usage) == MAX_COMMAND_USAGE
    assert len(command.help) == MAX_COMMAND_HELP
    assert "\n" not in command.help


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/mean 1 2", ("mean", "1 2")),
        ("/mean\n1\n2", ("mean", "1\n2")),
        ("/größe", ("größe", "")),
        ("/usr/bin/env", None),
        ("/", None),
        ("see /mean", None),
        ("/ mean", None),
    ],
)
def test_what_is_a_command(text: str, expected: tuple[str, str] | None) -> None:
    assert parse_command(Message(seq=1, room="lobby", user="bob", text=text, at=1)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("@ada hi", True),
        ("hi @ADA!", True),
        ("(@ada)", True),
        ("@ada.", True),
        ("@adam", False),
        ("@ada-b", False),
        ("me@ada", False),
        ("ada", False),
        ("@adam @ada", True),
    ],
)
def test_what_mentions_a_name(text: str, *, expected: bool) -> None:
    assert mentions(text, "ada") is expected


# ---- in a room


def answer_to(member: Room, text: str, count: int = 1) -> str:
    """The reply to ``text``, sent by ``member``."""
    sent = member.send(text)
    seq = sent.seq
    for _ in range(count):
        reply = member.wait_for(lambda message: message.re == sent.seq, 20, after=seq)
        seq = reply.seq
    return reply.text


def test_a_command_answers_with_its_result(join: Any) -> None:
    ada, bob = join("ada"), join("bob")

    @ada.command
    def mean(*numbers: float) -> float:
        """The mean of some numbers.

        All of them count.
        """
        return sum(numbers) / len(numbers)

    assert mean(2, 4) == 3
    assert answer_to(bob, "/mean 3 4 8") == "5.0"
    assert answer_to(bob, "/mean a") == "numbers must be a number, not 'a'. Usage: `/mean [numbers...]`"
    assert answer_to(bob, "/help") == "- `/mean [numbers...]` The mean of some numbers."
    assert answer_to(bob, "/help mean") == "`/mean [numbers...]`\n\nThe mean of some numbers.\n\nAll of them count."
    bob.send("/help other")
    bob.send("/meaning 3")
    bob.send("/mean 1", format="plain")
    assert answer_to(bob, "/mean 7") == "7.0"
    assert len([message for message in bob.messages if message.user == "ada"]) == 5


def test_functions_may_be_async_yield_or_return_nothing(join: Any) -> None:
    ada, bob = join("ada"), join("bob")
    called = []

    @ada.command
    async def slow(message: Message, text: str) -> str:
        await asyncio.sleep(0)
        return f"{message.user}: {text}"

    @ada.command
    def count(to: int):
        for number in range(to):
            yield f"{number} "

    @ada.command(name="note-this", background=True)
    def note(text: str) -> None:
        called.append(text)

    @ada.command
    async def table() -> list[int]:
        return [1, 2]

    assert answer_to(bob, "/slow hi all") == "bob: hi all"
    assert answer_to(bob, "/table") == "[1, 2]"
    bob.send("/note-this well done")
    eventually(lambda: called == ["well done"])
    sent = bob.send("/count 3")
    reply = bob.wait_for(lambda message: message.re == sent.seq, 20, after=0)
    assert (reply.text, reply.end) == ("0 1 2 ", "done")


def test_an_error_is_shown_to_who_wrote_the_command_and_in_the_cell(join: Any) -> None:
    ada, bob = join("ada"), join("bob")
    shown = io.StringIO()

    @ada.command
    def mean(*numbers: float) -> float:
        return sum(numbers) / len(numbers)

    @ada.command
    async def wait(seconds: float) -> None:
        raise ValueError(f"{seconds} is too long")

    with contextlib.redirect_stderr(shown):
        assert answer_to(bob, "/mean") == "✗ ZeroDivisionError: division by zero"
        assert answer_to(bob, "/wait 3") == "✗ ValueError: 3.0 is too long"
        eventually(lambda: shown.getvalue().count("Traceback") == 2)
    assert "registry.py" not in shown.getvalue().partition("Traceback")[2].partition("Traceback")[0]


def offered(room: Room) -> dict[str, list[str]]:
    return {member.user: [command.name for command in member.commands] for member in room.members if member.commands}


def test_the_room_is_told_what_is_offered(join: Any) -> None:
    ada, bob = join("ada"), join("bob")

    @ada.command
    def mean(*numbers: float) -> None:
        """The mean."""

    def later() -> None: ...

    ada.command(later)
    eventually(lambda: offered(bob) == {"ada": ["mean", "later"]})
    [command] = [each for member in bob.members for each in member.commands if each.name == "mean"]
    assert (command.usage, command.help) == ("/mean [numbers...]", "The mean.")
    assert ada.off_command(later)
    assert not ada.off_command(later)
    eventually(lambda: offered(bob) == {"ada": ["mean"]})
    assert ada.off_command("mean")
    eventually(lambda: offered(bob) == {})


def test_commands_are_offered_again_after_a_reconnect(unused_port: int) -> None:
    with running_server(port=unused_port, open=True) as server:
        ada = Room("lobby", user="ada", url=server.url).wait_open(20)
        ada.command(name="first")(lambda: "1")
    ada.command(name="second")(lambda: "2")
    try:
        with running_server(port=unused_port, open=True) as server, Room("lobby", user="bob", url=server.url) as bob:
            bob.wait_open(20)
            eventually(lambda: offered(bob) == {"ada": ["first", "second"]})
            assert answer_to(bob, "/second") == "2"
    finally:
        ada.close()


def test_a_command_replaces_the_one_of_its_name(join: Any) -> None:
    ada, bob = join("ada"), join("bob")
    ada.command(name="x")(lambda: "one")
    ada.command(name="x")(lambda: "two")
    ada.command(name="help")(lambda: "own help")
    assert answer_to(bob, "/x") == "two"
    assert answer_to(bob, "/help") == "own help"
    assert len([message for message in bob.messages if message.user == "ada"]) == 2


def test_commands_are_no_one_else_s_words_in_a_conversation(join: Any) -> None:
    ada, bob = join("ada"), join("bob")
    ada.command(name="x")(lambda: "one")
    answer_to(bob, "/x")
    answer_to(bob, "/help")
    other = join("other")
    assert [each["content"] for each in other.conversation()] == ["/x", "/help"]


def test_only_mentions_reach_the_handler(join: Any) -> None:
    ada, bob = join("ada"), join("bob")
    seen = []

    @ada.on_mention
    def answer(message: Message) -> str:
        seen.append(message.text)
        return "yes?"

    bob.send("hi all")
    bob.send("hi @adam")
    assert answer_to(bob, "hi @Ada") == "yes?"
    assert seen == ["hi @Ada"]
    assert ada.off_message(answer)
    ada.on_mention(background=True)(answer)
    assert answer_to(bob, "@ada again") == "yes?"


def test_a_new_run_of_the_cell_replaces_its_commands(home_environ: dict[str, str], kernel: Any) -> None:
    with (
        running_server(open=True) as server,
        Room("lobby", user="bob", url=server.url) as bob,
        kernel({**home_environ, "BQWIDGET_URL": server.url}) as notebook,
    ):
        bob.wait_open(20)
        notebook.run("from bqwidget import Room\nroom = Room('lobby', user='ada').wait_open()", "one")
        cell = "@room.command\ndef {0}():\n    'Help.'\n    print('called')\n    return '{0}'"
        notebook.run(cell.format("old"), "two")
        eventually(lambda: offered(bob) == {"ada": ["old"]})
        again = notebook.run(cell.format("new"), "two")
        eventually(lambda: offered(bob) == {"ada": ["new"]})
        assert answer_to(bob, "/new") == "new"
        again.shows("called")
        busy = notebook.begin("import time\nprint('busy', flush=True)\nwhile True: time.sleep(0.01)")
        busy.shows("busy")
        assert answer_to(bob, "/help") == "- `/new` Help."
        notebook.interrupt()
        notebook.until(lambda: busy.is_done, "the end of the cell")
        notebook.kill()
        eventually(lambda: offered(bob) == {})
