"""The commands of a room: what calls their functions, and what ``/help`` says about them."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable
from datetime import date, time, timedelta
from functools import wraps
from numbers import Number
from typing import Any

from bqwidget._room.callbacks.handlers import HandlerRegistration
from bqwidget._room.callbacks.registrations import Registration
from bqwidget.protocol import Message

from .signature import CommandSignature, UsageError
from .words import parse_command

PLAIN_VALUES = (Number, date, time, timedelta, list, tuple, dict, set, frozenset)
"""Results that are sent as their ``str``."""


class CommandRegistration(HandlerRegistration):
    """A handler of the messages that are its command. Of one name, there is one at a time."""

    def __init__(self, signature: CommandSignature, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.signature = signature

    def replaces(self, other: Registration) -> bool:
        return isinstance(other, CommandRegistration) and other.signature.name == self.signature.name


def caller(
    signature: CommandSignature, function: Callable[..., object], on_error: Callable[[Message, Exception], object]
) -> Callable[[Message], object]:
    """The handler that calls ``function`` with the arguments in a message. Its result is the reply.

    ``on_error(message, error)`` is called before an error of the function is raised.
    """

    @wraps(function)
    def call(message: Message) -> object:
        _, text = parse_command(message) or ("", "")
        try:
            arguments, keywords = signature.bind(text, message)
        except UsageError as error:
            return f"{error}. Usage: {_code(signature.usage)}"
        try:
            result = function(*arguments, **keywords)
        except Exception as error:
            on_error(message, error)
            raise
        return awaited(message, result) if inspect.isawaitable(result) else _sendable(result)

    async def awaited(message: Message, result: Awaitable[object]) -> object:
        try:
            return _sendable(await result)
        except Exception as error:
            on_error(message, error)
            raise

    return call


def help_text(signatures: Iterable[CommandSignature], name: str) -> str | None:
    """The answer to ``/help``, or to ``/help name``; None if no command is meant."""
    if not name:
        lines = [f"- {_code(each.usage)} {each.command.help}".rstrip() for each in signatures]
        return "\n".join(lines) or None
    found = next((each for each in signatures if each.name == name.removeprefix("/")), None)
    return None if found is None else f"{_code(found.usage)}\n\n{found.doc}".rstrip()


def _sendable(result: object) -> object:
    return str(result) if isinstance(result, PLAIN_VALUES) else result


def _code(text: str) -> str:
    return "`" + text.replace("`", "'") + "`"
