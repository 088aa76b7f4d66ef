"""Checks of the arguments of ``Room``."""

from __future__ import annotations

import difflib
import getpass
import os
from typing import Any

from bqwidget.errors import BqwidgetError
from bqwidget.protocol import Limits, is_text, printable

MAX_USER_LENGTH = 1_000
"""Characters of a name that fit into the join's address. The server's limits may be lower."""
OPTIONS = ("user", "keep", "url", "token", "insecure", "separate")


def check_options(name: object, unknown: dict[str, Any]) -> None:
    """Raises TypeError for a name that is not text, and for unknown options."""
    for option in unknown:
        close = difflib.get_close_matches(option, OPTIONS, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"the options are {', '.join(OPTIONS)}"
        raise TypeError(f"Room() has no option {option!r}: {hint}")
    if not isinstance(name, str):
        raise TypeError(f"a room's name is text, not {type(name).__name__}: Room('lobby')")


def check_user(user: str | None) -> str:
    """``user``, or by default Jupyter's identity, else the login name."""
    if user is None:
        user = os.environ.get("JUPYTERHUB_USER") or _login_name()
    if not isinstance(user, str):
        raise TypeError(f"user must be text, not {type(user).__name__}")
    if not user.strip() or len(user) > MAX_USER_LENGTH:
        raise BqwidgetError(f"user is {printable(user)}: it must have 1 to {MAX_USER_LENGTH:,} characters")
    if not is_text(user):
        raise BqwidgetError(f"user is {printable(user)}, which contains half a character: remove it")
    return user


def check_keep(keep: int) -> int:
    if isinstance(keep, bool) or not isinstance(keep, int) or keep < 1:
        raise BqwidgetError(f"keep is {keep!r}: it must be the number of messages to keep, 1 or more")
    return keep


def _login_name() -> str:
    try:
        return getpass.getuser()[: Limits().user]
    except (OSError, KeyError):  # the user of a container may have no name
        return "someone"
