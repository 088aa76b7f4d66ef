"""Checks of the arguments of ``Room``."""

from __future__ import annotations

import difflib
import getpass
import os
import re
import unicodedata
from typing import Any

from bqwidget.errors import ArgumentTypeError, ProtocolError
from bqwidget.protocol import ROOM_NAME, Limits, is_text, is_visible, printable

from .arguments import check_count, describe, wrong_type, wrong_value

MAX_USER_LENGTH = 1_000
"""Characters of a name that fit into the join's address. The server's limits may be lower."""
OPTIONS = ("user", "keep", "url", "token", "insecure", "separate")


SYNONYMS = {
    **dict.fromkeys(("server", "host", "address", "base_url", "uri", "endpoint"), "url"),
    **dict.fromkeys(("username", "nick", "nickname", "who", "me"), "user"),
    **dict.fromkeys(("password", "api_key", "key", "secret"), "token"),
    **dict.fromkeys(("limit", "history", "size", "maxlen", "max_messages"), "keep"),
}


class InvalidRoomNameError(ProtocolError, ValueError):
    """A name that no room can have."""


def check_options(name: object, unknown: dict[str, Any]) -> None:
    """Raises TypeError for a name that is not text, and for unknown options."""
    for option in unknown:
        close = [SYNONYMS[option]] if option in SYNONYMS else difflib.get_close_matches(option, OPTIONS, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"the options are {', '.join(OPTIONS)}"
        raise TypeError(f"Room() has no option {option!r}: {hint}")
    if not isinstance(name, str):
        raise ArgumentTypeError(f"a room's name is text, not {describe(name)}: Room('lobby')", argument="name")
    if not ROOM_NAME.fullmatch(name):
        raise InvalidRoomNameError(
            "bad_room",
            f"name: {printable(name)} is not a room name: use 1 to 64 of A-Z a-z 0-9 _ -, such as {valid_name(name)!r}",
            field="room",
        )


def valid_name(name: str) -> str:
    """The room name that is closest to ``name``."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub("[^A-Za-z0-9_-]+", "-", plain).strip("-")[: Limits().room] or "lobby"


def check_user(user: str | None) -> str:
    """``user``, or by default Jupyter's identity, else the login name."""
    if user is None:
        user = os.environ.get("JUPYTERHUB_USER") or _login_name()
    if not isinstance(user, str):
        raise wrong_type("user", "text such as 'ada'", user)
    if not is_text(user):
        raise wrong_value("user", user, "it contains half a character: remove it")
    if not is_visible(user) or len(user) > MAX_USER_LENGTH:
        raise wrong_value("user", user, f"it must have 1 to {MAX_USER_LENGTH:,} characters that can be seen")
    return user


def check_keep(keep: int) -> int:
    try:
        return check_count("keep", keep, least=1)
    except ArgumentTypeError:
        remedy = f"keep is {describe(keep)}: it must be the number of messages to keep, 1 or more"
        raise ArgumentTypeError(remedy, argument="keep") from None


def _login_name() -> str:
    try:
        return getpass.getuser()[: Limits().user]
    except (OSError, KeyError):  # the user of a container may have no name
        return "someone"
