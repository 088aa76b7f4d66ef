"""What every frame and entry is made of: a frozen struct, and text that can be shown and sent."""

from __future__ import annotations

import msgspec

SHOWN = 80
"""Characters of somebody's text in a repr, a log or an error."""


class Struct(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """What travels is frozen, and an absent optional field is absent on the wire too.

    Frozen values hold no cycles, so the garbage collector need not walk them: in a list of 100,000 messages that
    was a third of what each new one cost.
    """


def printable(text: str) -> str:
    """``text`` quoted for a repr, a log or an error: control, bidi and ANSI characters are escaped, long text cut."""
    return repr(text if len(text) <= SHOWN else text[: SHOWN - 1] + "…")


def is_text(text: str) -> bool:
    """Whether it can travel: halves of characters (a cut emoji, an odd file name) are no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
