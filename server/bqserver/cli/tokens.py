"""``bqserver token``: create, list and revoke named tokens. A running server follows within a second."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from traitlets import Bool, Dict, Enum, List, Unicode

from bqserver.auth import tokens
from bqserver.auth.access_file import accept
from bqserver.config.paths import DataFile, data_dir
from bqserver.errors import SettingError
from bqserver.files import user_path
from bqwidget.protocol import printable

from .application import Command, CommandGroup

DURATION_PATTERN = re.compile(r"(\d{1,5})([mhdw])")
DURATION_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class TokenCommand(Command):
    """A command on the file of named tokens."""

    named_tokens = DataFile("tokens.json", help="File of named tokens. Default: tokens.json in your data folder.").tag(
        config=True
    )
    aliases = Dict({"named-tokens": "TokenCommand.named_tokens"})

    def start(self) -> None:
        super().start()
        if len(self.extra_args) != self.max_arguments:
            self.exit_with_usage_error(f"give one name: {self.name} NAME")
        with self.reported_errors():
            self.run(user_path(self.named_tokens))

    def run(self, path: Path) -> None:
        """Execute the command on the file. Raises AccessFileError and SettingError."""
        raise NotImplementedError


class Add(TokenCommand):
    """Create a token for NAME. It is printed once, on standard output, and not stored."""

    name = "bqserver token add"
    examples = "bqserver token add ada --expires=90d > ada.token"
    max_arguments = 1
    rooms = List(Unicode(), help="Valid only in this room, or in rooms with this prefix (class-*). Repeatable.").tag(
        config=True
    )
    read_only = Bool(False, help="Allow reading only.").tag(config=True)
    expires = Unicode("", help="Expiry: 90d, 12h, or a time such as 2027-01-31T12:00Z.").tag(config=True)
    kind = Enum(["agent"], None, allow_none=True, help="agent: its holder is shown as an agent.").tag(config=True)
    aliases = Dict(
        {
            "named-tokens": "TokenCommand.named_tokens",
            "rooms": "Add.rooms",
            "expires": "Add.expires",
            "kind": "Add.kind",
        }
    )
    flags = Dict({"read-only": ({"Add": {"read_only": True}}, "Allow reading only.")})

    def run(self, path: Path) -> None:
        expires = parse_expiry(self.expires, datetime.now(UTC)) if self.expires else None
        rooms = [room for given in self.rooms for room in given.split(",")]
        token, grant = tokens.add_grant(
            path,
            self.extra_args[0],
            rooms=rooms,
            read_only=self.read_only,
            expires=expires,
            kind="agent" if self.kind else None,
            spare_folder=data_dir(),
        )
        print(token)
        print(
            f"{describe_grant(grant)}\npass it to them as BQWIDGET_TOKEN; it is not shown again",
            file=sys.stderr,
        )


class ListTokens(TokenCommand):
    """List the tokens: holder, rooms, expiry."""

    name = "bqserver token list"

    def run(self, path: Path) -> None:
        for grant in tokens.read_grants(path, spare_folder=data_dir()).all:
            print(describe_grant(grant))


class Revoke(TokenCommand):
    """Revoke every token of NAME, or the one with that id, and close their connections."""

    name = "bqserver token revoke"
    max_arguments = 1

    def run(self, path: Path) -> None:
        for grant in tokens.revoke_grants(path, self.extra_args[0], spare_folder=data_dir()):
            print(describe_grant(grant))


class AcceptTokens(TokenCommand):
    """Let the file be as it is now. Needed after deleting or emptying it: a server keeps the tokens it has known."""

    name = "bqserver token accept"

    def run(self, path: Path) -> None:
        print(accept(path, tokens.TOKENS, spare_folder=data_dir()))


class Token(CommandGroup, TokenCommand):
    """Named tokens, each for one person or program. The server verifies the name of its holder."""

    name = "bqserver token"
    usage = "add NAME, list, revoke NAME, or accept"
    subcommands = Dict(
        {
            "add": (Add, "Create a token."),
            "list": (ListTokens, "List the tokens."),
            "revoke": (Revoke, "Revoke tokens."),
            "accept": (AcceptTokens, "Let the file be as it is, also if it is missing."),
        }
    )


def parse_expiry(text: str, now: datetime) -> datetime:
    """A time relative to ``now`` (``90d``) or absolute (ISO 8601). Raises SettingError for other texts and past times."""
    if found := DURATION_PATTERN.fullmatch(text):
        return (now + timedelta(**{DURATION_UNITS[found[2]]: int(found[1])})).replace(microsecond=0)
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise SettingError(
            f"--expires={text} is not understood: give 90d, 12h, or a time such as 2027-01-31T12:00Z"
        ) from None
    time = time if time.tzinfo else time.astimezone()
    if time <= now:
        raise SettingError(f"--expires={text} is in the past")
    return time


def describe_grant(grant: tokens.Grant) -> str:
    """One line for people. It contains no secret."""
    state = "valid"
    if grant.revoked is not None:
        state = f"revoked {grant.revoked:%Y-%m-%d %H:%M}"
    elif grant.expires is not None:
        is_over = grant.expires <= datetime.now(UTC)
        state = f"{'expired' if is_over else 'valid until'} {grant.expires:%Y-%m-%d %H:%M}"
    access = "reads" if grant.read_only else "reads and writes"
    rooms = ", ".join(grant.rooms) or "every room"
    name = printable(grant.name)[1:-1]
    name = f"{name} (agent)" if grant.kind == "agent" else name
    return f"{grant.id}  {name}  {access} {rooms}  {state}"
