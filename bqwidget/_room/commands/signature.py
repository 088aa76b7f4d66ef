"""CommandSignature: how the parameters of a function are written in a message, and the values that were written."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable
from datetime import date, datetime, time
from enum import Enum
from inspect import Parameter
from typing import Any, Literal, NoReturn, Union, get_args, get_origin, get_type_hints

from bqwidget._room.arguments import describe
from bqwidget.protocol import MAX_COMMAND_HELP, MAX_COMMAND_USAGE, Command, Message, printable, truncate

from .words import split_arguments

_TRUE_WORDS, _FALSE_WORDS = {"yes", "true", "on", "1", "y"}, {"no", "false", "off", "0", "n"}
_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_TYPE_NAMES: dict[Any, str] = {int: "a whole number", float: "a number", bool: "yes or no"}
_ISO_TYPES = (date, time, datetime)


class UsageError(Exception):
    """Wrong arguments of a command. Its text is the reason, for the person who wrote them."""


class CommandSignature:
    """``name``: of the command. A parameter that is annotated as Message gets the message."""

    def __init__(self, name: str, function: Callable[..., object]) -> None:
        self.name = name
        try:
            hints = get_type_hints(function)
        except Exception:  # noqa: BLE001 - annotations of names that exist for type checkers only
            hints = {}
        parameters = inspect.signature(function).parameters.values()
        self._parameters = [_Parameter(each, hints.get(each.name, each.annotation)) for each in parameters]
        written = [each.usage for each in self._parameters if each.usage]
        self.usage = " ".join([f"/{name}", *written])
        self.doc = inspect.getdoc(function) or ""

    @property
    def command(self) -> Command:
        """What is announced."""
        help_line = " ".join(self.doc.partition("\n\n")[0].split())
        usage = truncate(self.usage, MAX_COMMAND_USAGE)
        return Command(name=self.name, usage=usage, help=truncate(help_line, MAX_COMMAND_HELP))

    def bind(self, text: str, message: Message) -> tuple[list[Any], dict[str, Any]]:
        """The arguments in ``text``, for the function. Raises UsageError."""
        try:
            words, options = split_arguments(text)
        except ValueError:
            raise UsageError('a " has no end') from None
        words.reverse()
        arguments: list[Any] = []
        keywords: dict[str, Any] = {}
        last = next((each for each in reversed(self._parameters) if each.takes_words), None)
        for each in self._parameters:
            if each.is_message:
                value: Any = message
            elif each.kind == Parameter.VAR_POSITIONAL:
                arguments += [each.convert(words.pop()) for _ in range(len(words))]
                continue
            elif each.kind == Parameter.VAR_KEYWORD:
                keywords |= {name: each.convert(option or "") for name, option in options.items()}
                options.clear()
                continue
            elif each.name in options and each.kind != Parameter.POSITIONAL_ONLY:
                value = each.convert_option(options.pop(each.name))
            elif words and each.kind in _POSITIONAL:
                word = words.pop()
                if each is last and each.is_text:  # the rest of the line
                    word = " ".join([word, *reversed(words)])
                    words.clear()
                value = each.convert(word)
            elif each.default is not Parameter.empty:
                value = each.default
            else:
                raise UsageError(f"{each.shown_name} is missing")
            if each.kind == Parameter.KEYWORD_ONLY:
                keywords[each.name] = value
            else:
                arguments.append(value)
        if options:
            raise UsageError(f"there is no option --{next(iter(options))}")
        if words:
            raise UsageError(f"{printable(words[-1])} is one argument too many")
        return arguments, keywords


class _Parameter:
    def __init__(self, parameter: Parameter, annotation: Any) -> None:
        self.name, self.kind, self.default = parameter.name, parameter.kind, parameter.default
        self._type = annotation
        self.is_message = annotation is Message

    @property
    def takes_words(self) -> bool:
        return not self.is_message and self.kind in (*_POSITIONAL, Parameter.VAR_POSITIONAL)

    @property
    def is_text(self) -> bool:
        return self.kind in _POSITIONAL and self._type in (str, Parameter.empty, Any)

    @property
    def shown_name(self) -> str:
        return f"--{self.name}" if self.kind == Parameter.KEYWORD_ONLY else self.name

    @property
    def usage(self) -> str:
        """``x``, ``[x=3]``, ``[numbers...]``, ``--x=…``, ``[--x=3]`` or ``[--fast]``."""
        if self.is_message or self.kind == Parameter.VAR_KEYWORD:
            return ""
        if self.kind == Parameter.VAR_POSITIONAL:
            return f"[{self.name}...]"
        is_optional = self.default is not Parameter.empty
        choices = "|".join(map(str, get_args(self._type))) if get_origin(self._type) is Literal else ""
        has_value = is_optional and self.default is not None
        if self.kind == Parameter.KEYWORD_ONLY:
            is_flag = self._type is bool and self.default is False
            value = str(self.default) if has_value else choices or "…"
            text = f"--{self.name}" if is_flag else f"--{self.name}={value}"
        else:
            text = choices or self.name
            text = f"{text}={self.default}" if has_value else text
        return f"[{text}]" if is_optional else text

    def convert_option(self, word: str | None) -> Any:
        if word is None and self._type is not bool:
            raise UsageError(f"--{self.name} needs a value: --{self.name}=…")
        return True if word is None else self.convert(word)

    def convert(self, word: str) -> Any:
        try:
            return _convert(self._type, word)
        except UsageError:
            raise
        except Exception:  # noqa: BLE001 - whatever a class raises for a text that it does not take
            raise UsageError(f"{self.shown_name} must be {_describe_type(self._type)}, not {printable(word)}") from None


def _convert(kind: Any, word: str) -> Any:
    if kind in (Parameter.empty, Any, str, object):
        return word
    if kind is bool:
        return word.lower() in _TRUE_WORDS if word.lower() in _TRUE_WORDS | _FALSE_WORDS else _refuse()
    if get_origin(kind) is Literal:
        return next((each for each in get_args(kind) if str(each) == word), None) or _refuse()
    if get_origin(kind) in (Union, types.UnionType):
        return _convert_to_first(get_args(kind), word)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return next((each for each in kind if word in (each.name, str(each.value))), None) or _refuse()
    if kind in _ISO_TYPES:
        return kind.fromisoformat(word)
    return kind(word)


def _convert_to_first(kinds: tuple[Any, ...], word: str) -> Any:
    """The value of the first type that takes ``word``; str, which takes all, is the last."""
    for kind in sorted(kinds, key=lambda each: each is str):
        if kind is not types.NoneType:
            try:
                return _convert(kind, word)
            except Exception:  # noqa: BLE001, S112 - the next one
                continue
    return _refuse()


def _refuse() -> NoReturn:
    raise ValueError


def _describe_type(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(str, get_args(kind)))}"
    if get_origin(kind) in (Union, types.UnionType):
        return " or ".join(_describe_type(each) for each in get_args(kind) if each is not types.NoneType)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return f"one of {', '.join(each.name for each in kind)}"
    return _TYPE_NAMES.get(kind) or f"a {getattr(kind, '__name__', describe(kind))}"
