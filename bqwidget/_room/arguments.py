"""Checks of the arguments of the verbs. Each error names the argument, what was given, and what to write instead."""

from __future__ import annotations

import inspect
import math
import re
import unicodedata
from collections.abc import Callable
from numbers import Real
from operator import index
from threading import TIMEOUT_MAX
from types import ModuleType
from typing import Any, TypeVar

from bqwidget._client.subscription import Predicate
from bqwidget.errors import ArgumentError, ArgumentTypeError, MessageRefused
from bqwidget.protocol import MAX_EMOJI, MAX_TIME, Message, is_text, printable, truncate

SHOWN_CHARACTERS = 60
"""Characters of an argument in an error."""
EMOJI = {
    "+1": "👍",
    "thumbsup": "👍",
    "like": "👍",
    "ok": "👌",
    "-1": "👎",
    "thumbsdown": "👎",
    "heart": "❤️",
    "love": "❤️",
    "smile": "😄",
    "laugh": "😄",
    "joy": "😂",
    "tada": "🎉",
    "wave": "👋",
    "check": "✅",
    "white_check_mark": "✅",
    "done": "✅",
    "x": "❌",
    "clap": "👏",
    "thinking": "🤔",
    "100": "💯",
    "warning": "⚠️",
}
"""What other chats call them. Unicode's own names are found as well."""
_EMOJI_NAME = re.compile(r":[\w+-]+:|[\w+-]*[A-Za-z][\w+ -]*|[+-]1", re.ASCII)

Listed = TypeVar("Listed")


class InvalidMessageError(MessageRefused, ValueError):
    """A message that no server would accept, refused before it is sent."""


def describe(given: object) -> str:
    """``given`` on one line, with its type."""
    if given is None or isinstance(given, bool):
        return repr(given)
    if isinstance(given, ModuleType):
        return f"the module {given.__name__}"
    if isinstance(given, type):
        return f"the class {given.__name__}"
    try:
        text = printable(given)[:SHOWN_CHARACTERS] if isinstance(given, str) else " ".join(repr(given).split())
    except Exception:  # noqa: BLE001 - the repr of someone's class
        text = "an object"
    return f"{truncate(text, SHOWN_CHARACTERS)} ({type(given).__name__})"


def wrong_type(argument: str, expected: str, given: object) -> ArgumentTypeError:
    return ArgumentTypeError(f"{argument} must be {expected}, not {describe(given)}", argument=argument)


def wrong_value(argument: str, given: object, remedy: str) -> ArgumentError:
    shown = printable(given) if isinstance(given, str) else describe(given).rpartition(" (")[0] or repr(given)
    return ArgumentError(f"{argument} is {shown}: {remedy}", argument=argument)


def check_text(argument: str, given: object, example: str, *, empty: bool = False) -> str:
    if not isinstance(given, str):
        raise wrong_type(argument, f"text such as {example}", given)
    if not is_text(given):
        raise wrong_value(
            argument, given, "it contains half a character: clean it by .encode(errors='replace').decode()"
        )
    if not empty and not given.strip():
        raise wrong_value(argument, given, f"write text such as {example}")
    return given


def check_flag(argument: str, given: object) -> bool:
    if not isinstance(given, bool) and type(given).__name__ not in ("bool", "bool_"):  # numpy's
        raise wrong_type(argument, "True or False", given)
    return bool(given)


def check_count(argument: str, given: Any, *, least: int = 0, most: int | None = None) -> int:
    """An integer, also one of numpy."""
    limits = f"{least:,} or more" if most is None else f"from {least:,} to {most:,}"
    try:
        count = index(given)
    except TypeError:
        raise wrong_type(argument, f"a whole number, {limits}", given) from None
    if isinstance(given, bool):
        raise wrong_type(argument, f"a whole number, {limits}", given)
    if count < least or (most is not None and count > most):
        raise wrong_value(argument, count, f"write a whole number, {limits}")
    return count


def check_number(argument: str, given: Any, unit: str, *, most: float = math.inf, positive: bool = False) -> float:
    """A number of ``unit``, 0 or more, also one of numpy. ``positive``: not 0."""
    number = given
    if not isinstance(given, Real) or isinstance(given, bool):
        hint = ": write it as .total_seconds()" if hasattr(given, "total_seconds") else ""
        raise ArgumentTypeError(
            f"{argument} must be a number of {unit}, not {describe(given)}{hint}", argument=argument
        )
    if not 0 <= number <= most or math.isinf(number) or (positive and not number):
        limits = ("more than 0" if positive else "0 or more") + (f", at most {most:,.0f}" if most < math.inf else "")
        raise wrong_value(argument, number, f"write a number of {unit}, {limits}")
    return float(number)


def check_timeout(given: Any) -> float | None:
    """Seconds, or None without limit, as for infinity and for more than Python can wait: 292 years."""
    is_number = isinstance(given, Real)
    if given is None or (is_number and given > TIMEOUT_MAX):
        return None
    return check_number("timeout", given, "seconds")


def seq_of(message: Message | int, room: str, argument: str = "message", *, least: int = 1) -> int:
    """The seq of a Message of ``room``, or of its number."""
    if isinstance(message, Message):
        if message.room != room:
            described = f"{argument} is message {message.seq} of room {message.room}"
            raise ArgumentError(f"{described}: use Room({message.room!r}) for it, not {room!r}", argument=argument)
        return message.seq
    try:
        seq = index(message)  # numpy's integers too
    except TypeError:
        raise wrong_type(argument, "a Message or its seq, a whole number", message) from None
    if isinstance(message, bool):
        raise wrong_type(argument, "a Message or its seq, a whole number", message)
    if not least <= seq < MAX_TIME:
        raise wrong_value(argument, seq, "write a Message or its seq, such as room.messages[-1]")
    return seq


def check_emoji(given: object) -> None:
    check_text("emoji", given, "'👍'")
    assert isinstance(given, str)
    if _EMOJI_NAME.fullmatch(given):
        name = given.strip(":").lower()
        found = EMOJI.get(name) or _named(name.replace("_", " ")) or "👍"
        raise wrong_value("emoji", given, f"write the character itself, such as '{found}'")
    if len(given) > MAX_EMOJI:
        raise wrong_value("emoji", given, f"write one character such as '👍', at most {MAX_EMOJI} code points")


def check_format(given: object) -> None:
    if given is not None and not (isinstance(given, str) and given == "plain"):
        raise wrong_value("format", given, "write 'plain' for a text that is not Markdown, or leave it out")


def check_function(argument: str, given: object, example: str, verb: str = "it", takes: str | None = None) -> None:
    """``takes``: the names of what it is called with; None if that is not known."""
    if not callable(given):
        raise ArgumentTypeError(
            f"{argument} is {describe(given)}: {verb} takes {example}, not {type(given).__name__}", argument=argument
        )
    if takes is not None:
        check_signature(argument, given, takes)


def check_signature(argument: str, function: Callable[..., object], takes: str) -> None:
    """Raises ArgumentTypeError if ``function`` can't be called with ``takes``; else each call would fail, one by one."""
    try:
        signature = inspect.signature(function)
    except (ValueError, TypeError):  # some of C have none
        return
    try:
        signature.bind(*takes.split())
    except TypeError:
        name = getattr(function, "__name__", type(function).__name__)
        names = ", ".join(signature.parameters)
        raise ArgumentTypeError(
            f"{argument} is {name}({names}): it is called as {name}({takes})", argument=argument
        ) from None


def check_all(argument: str, given: object, kind: type[Listed], example: str) -> tuple[Listed, ...]:
    """The items of an iterable of ``kind``; one item alone is an error."""
    items = None if isinstance(given, kind | str | bytes) else items_of(given)
    if items is None:
        raise wrong_type(argument, f"a list such as {example}", given)
    for item in items:
        if not isinstance(item, kind):
            raise wrong_type(argument, f"a list such as {example}", item)
    return items


def items_of(given: Any) -> tuple[Any, ...] | None:
    """The items of an iterable; None if it is none, such as an array without dimensions."""
    try:
        return tuple(given)
    except TypeError:
        return None


def _named(name: str) -> str | None:
    try:
        return unicodedata.lookup(name)
    except KeyError:
        return None


def check_predicate(given: Predicate | None, argument: str = "predicate") -> Predicate:
    """``given``, or for None a function that is true for every message."""
    if given is not None and not callable(given):
        hint = "a time limit is timeout=" if isinstance(given, int | float) else "such as lambda message: ..."
        raise ArgumentTypeError(
            f"{argument} must be a function of a message, not {describe(given)}: {hint}", argument=argument
        )
    if given is not None:
        check_signature(argument, given, "message")
    return given or (lambda _: True)
