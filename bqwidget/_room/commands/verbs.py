"""The verbs of commands and mentions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from contextvars import Context
from functools import partial
from typing import Any, TypeVar, overload
from weakref import ref

from bqwidget._room.arguments import check_flag, check_function, check_text, wrong_value
from bqwidget._room.callbacks import loop_guard
from bqwidget._room.callbacks.handlers import HandlerRegistry
from bqwidget._room.callbacks.verbs import HandlerMixin, MessageHandler
from bqwidget._room.writing.lines import error_line
from bqwidget._room.writing.replies import Replies
from bqwidget._threads.weak import weak
from bqwidget.errors import BqwidgetError
from bqwidget.protocol import (
    COMMAND_NAME,
    MAX_COMMAND_NAME,
    MAX_COMMANDS,
    Hello,
    Message,
    ServerFrame,
    SetCommands,
    mentions,
)

from .registry import CommandRegistration, caller, help_text
from .signature import CommandSignature
from .words import parse_command

HELP_NAME = "help"
CommandFunction = TypeVar("CommandFunction", bound=Callable[..., object])


class CommandMixin(HandlerMixin):
    def __init__(self) -> None:
        super().__init__()
        self._commands: HandlerRegistry[CommandRegistration] = HandlerRegistry(
            weak(self._is_own), weak(self._on_commands_changed), "command"
        )
        self._announced_to: Hello | None = None

    @overload
    def command(
        self, function: CommandFunction, *, name: str | None = None, background: bool = False
    ) -> CommandFunction: ...
    @overload
    def command(
        self, *, name: str | None = None, background: bool = False
    ) -> Callable[[CommandFunction], CommandFunction]: ...

    def command(
        self, function: Callable[..., object] | None = None, *, name: str | None = None, background: bool = False
    ) -> Any:
        """Call ``function`` when someone writes ``/name`` and its arguments; a decorator. Its result is the reply.

        ``name``: default: that of the function. The arguments are words, or texts in double quotes, in the order of the
        function's parameters, and converted to their annotations; a last ``str`` takes the rest of the line. ``*args`` and
        defaults work; ``--x=1`` sets the parameter x, ``--fast`` a ``bool``. A parameter that is annotated as ``Message``
        gets the message. Wrong arguments are answered with the usage, errors of the function with their line. The window
        completes the name; the docstring is the help, and ``/help`` is answered too.

        ``background``, the thread rule, replies that are yielded: as of ``on_message``. A command replaces the one of its
        name. Returns ``function``. Example::

            @room.command
            def mean(*numbers: float):
                "The mean of some numbers."
                return sum(numbers) / len(numbers)
        """
        background = check_flag("background", background)
        if name is not None:
            _check_name(name)
        register = partial(self._register_command, name=name, background=background)
        return register if function is None else register(function)

    def off_command(self, command: Callable[..., object] | str) -> bool:
        """Remove ``command``: its function, or its name. False if there is none.

        Example: ``room.off_command("mean")``
        """
        name = command
        if not isinstance(command, str):
            check_function("command", command, "the function of a command, or its name", "off_command")
            name = getattr(command, "__name__", "")
        known = [each for each in self._commands if getattr(each.callback.function, "__wrapped__", None) is command]
        known = known or [each for each in self._commands if each.signature.name == name]
        for each in known:
            self._commands.discard(each)
        return bool(known)

    @overload
    def on_mention(self, function: MessageHandler, *, background: bool = False) -> MessageHandler: ...
    @overload
    def on_mention(self, *, background: bool = False) -> Callable[[MessageHandler], MessageHandler]: ...

    def on_mention(self, function: Callable[[Message], object] | None = None, *, background: bool = False) -> Any:
        """Call ``function(message)`` for each new message of others that names this member, as ``@ada``; a decorator.

        Everything else is as of ``on_message``; ``off_message`` removes it. Returns ``function``. Example::

            @room.on_mention
            def answer(message):
                return f"Yes, {message.user}?"
        """
        flags = {"background": check_flag("background", background), "own": False, "live": False}
        register = partial(self._register_handler, where=weak(self._is_mentioned), flags=flags, verb="on_mention")
        return register if function is None else register(function)

    def _is_mentioned(self, message: Message) -> bool:
        hello = self._connection.session.hello
        return any(mentions(message.text, name) for name in {self.user, (hello and hello.user) or self.user})

    def _register_command(
        self, function: Callable[..., object], *, name: str | None, background: bool
    ) -> Callable[..., object]:
        check_function("function", function, "a function", "command")
        signature = CommandSignature(_check_name(name or str(getattr(function, "__name__", ""))), function)
        if len(self._commands) >= MAX_COMMANDS and signature.name not in {
            each.signature.name for each in self._commands
        }:
            raise BqwidgetError(
                f"a member offers at most {MAX_COMMANDS} commands: remove one by room.off_command(name)"
            )
        session = self._connection.session
        call = caller(signature, function, weak(self._report_failure))
        with self._connection.lock:
            since = session.last_seq
        self._commands.add(
            CommandRegistration(
                signature,
                self._make_callback(call, on_result=Replies(ref(self), function)),
                self._callback_loop,
                since=since,
                where=lambda message: (parse_command(message) or ("", ""))[0] == signature.name,
                background=background,
                own=False,
                live=False,
                latest=lambda: session.last_seq,
            )
        )
        self._take_over()
        return function

    def _report_failure(self, message: Message, error: Exception) -> None:
        """Reply to the author of the command with the error's line; the traceback is shown below the cell."""
        self._reply_later(message, f"✗ {error_line(error)}")

    def _reply_later(self, message: Message, text: str) -> None:
        limit = self._connection.session.limits.text
        with suppress(BqwidgetError):
            self._send_draft(self._draft(text[:limit], re=message.seq), wait=False, timeout=None)

    def _stop_handlers(self) -> bool:
        found = bool(len(self._commands))
        self._commands.clear()
        return super()._stop_handlers() or found

    def _has_callbacks(self) -> bool:
        return bool(len(self._commands)) or super()._has_callbacks()

    def _on_commands_changed(self) -> None:
        self._connection.call_soon(self._announce_commands)
        self._update_lifetime()

    # ---- on the rooms' thread ----

    def _announce_commands(self) -> None:
        self._announced_to = self._connection.session.hello
        commands = tuple(each.signature.command for each in self._commands)
        self._connection.send_transient(SetCommands(commands=commands))

    def _on_frames(self, accepted: Sequence[ServerFrame]) -> None:
        """Announce the commands after each join."""
        super()._on_frames(accepted)
        if len(self._commands) and self._announced_to is not self._connection.session.hello:
            self._announce_commands()

    def _reset_handlers(self) -> None:
        super()._reset_handlers()
        self._commands.reset()

    def _on_messages(self, messages: Sequence[tuple[int, Message]]) -> None:
        super()._on_messages(messages)
        if len(self._commands):
            commands = [(seq, message) for seq, message in messages if parse_command(message)]
            self._commands.post(commands)
            self._answer_help(message for _, message in commands)

    def _answer_help(self, messages: Iterable[Message]) -> None:
        """Answer ``/help`` on the rooms' thread: it needs no code of the user, so a busy kernel answers too."""
        signatures = [each.signature for each in self._commands]
        for message in messages:
            name, text = parse_command(message) or ("", "")
            if name == HELP_NAME and not self._is_own(message) and all(each.name != HELP_NAME for each in signatures):
                answer = help_text(signatures, text.strip())
                if answer is not None:
                    Context().run(self._reply_as_callback, message, answer)

    def _reply_as_callback(self, message: Message, text: str) -> None:
        """Mark the reply as a program's answer, so that it is not taken for a person's words."""
        loop_guard.begin(message)
        self._reply_later(message, text)


def _check_name(name: str) -> str:
    check_text("name", name, "'mean', of letters, digits, _ and -")
    if not COMMAND_NAME.fullmatch(name) or len(name) > MAX_COMMAND_NAME:
        remedy = f"write a name of letters, digits, _ and -, at most {MAX_COMMAND_NAME}: @room.command(name='mean')"
        raise wrong_value("name", name, remedy)
    return name
