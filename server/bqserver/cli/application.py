"""Base of ``bqserver`` and its subcommands: a strict command line, and messages instead of tracebacks.

traitlets only warns of an unknown option; a mistyped --open-netwrok must not start a server.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import NoReturn

from traitlets import Dict, Unicode
from traitlets.config import Application

import bqwidget
from bqserver.errors import ServerError, SettingError

TRAITLETS_OPTIONS = ("help", "help-all", "h", "version", "show-config", "show-config-json", "debug", "quiet")


class Command(Application):
    """An Application that names a wrong argument and exits with 2. ``max_arguments``: positional arguments it takes."""

    version = bqwidget.__version__
    description = ""
    """Empty: ``--help`` shows the class's docstring."""
    flags = Dict({})
    max_arguments = 0
    config_file = Unicode("", help="Load this configuration file (Python, c.ChatServer...).").tag(config=True)
    started = False

    def initialize(self, argv: list[str] | None = None) -> None:
        argv = sys.argv[1:] if argv is None else argv
        if wrong := check_arguments(self, argv):
            self.exit_with_usage_error(wrong)
        self.parse_command_line(argv)
        if self.config_file:
            path = Path(self.config_file)
            if not path.is_file():
                self.exit_with_usage_error(f"there is no configuration file {path}")
            self.load_config_file(path.stem, str(path.parent))

    def start(self) -> None:
        self.started = True
        super().start()

    @contextmanager
    def reported_errors(self) -> Iterator[None]:
        """Exit with 2 on a SettingError and with 1 on other server errors, after printing the message."""
        try:
            yield
        except SettingError as error:
            self.exit_with_usage_error(str(error))
        except ServerError as error:
            self.exit_with_error(str(error))

    def exit_with_usage_error(self, message: str) -> NoReturn:
        """Print what is wrong with the command line and exit with 2."""
        print(f"{self.name}: {message}", file=sys.stderr)
        raise SystemExit(2)

    def exit_with_error(self, message: str) -> NoReturn:
        """Print why the command failed and exit with 1."""
        print(f"{self.name}: {message}", file=sys.stderr)
        raise SystemExit(1)

    def exit(self, exit_status: int | str | None = 0) -> None:
        """traitlets exits with 1 for an invalid value; on a command line the status is 2."""
        super().exit(2 if exit_status == 1 and not self.started else exit_status)


class CommandGroup(Command):
    """A command that only has ``subcommands``. ``usage``: them, with their arguments."""

    usage: str

    def start(self) -> None:
        if self.subapp is None:
            self.exit_with_usage_error(f"give a command: {self.usage}")
        Command.start(self)  # not that of a subcommand, whose settings Token has too


def check_arguments(app: Command, argv: list[str]) -> str | None:
    """What is wrong with ``argv``, naming the argument; None if nothing is."""
    if argv and argv[0] in app.subcommands:
        return None  # the subcommand checks its own arguments
    traits = {
        f"{cls.__name__}.{name}" for cls in app._classes_with_config_traits() for name in cls.class_traits(config=True)
    }
    known = {*TRAITLETS_OPTIONS, *app.aliases, *app.flags}
    positional = 0
    words = iter(argv)
    for word in words:
        if not word.startswith("-"):
            positional += 1
            if positional > app.max_arguments:
                return f"{word} is not understood: see {app.name} --help"
            continue
        name, equals, _ = word.lstrip("-").partition("=")
        if "." in name and name in traits:
            continue
        if name not in known:
            close = get_close_matches(name, [str(option) for option in known], 1)
            hint = f"did you mean --{close[0]}?" if close else f"see {app.name} --help"
            return f"unknown option --{name}: {hint}"
        if equals and name in app.flags and name not in app.aliases:
            return f"--{name} takes no value"
        if not equals and name in app.aliases and next(words, None) is None:
            return f"--{name} needs a value: --{name}=VALUE"
    return None
