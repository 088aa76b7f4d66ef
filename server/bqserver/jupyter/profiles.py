"""How a verified member looks to others: what Jupyter says of its user, cut down to what is safe to show.

Pure: text in, a profile or nothing out. The window checks colour and picture again, for it draws what any server
sends; what is stopped here does not travel at all.
"""

from __future__ import annotations

import re

from bqwidget.protocol import Limits, Profile

MAX_INITIALS = 4
MAX_AVATAR_LENGTH = 4096
"""Characters: a face of 48 pixels, and with every presence frame again."""

COLOR_PATTERN = re.compile(
    r"#(?:[0-9a-f]{3}|[0-9a-f]{6})|[a-z]{3,24}|(?:rgb|hsl)\([0-9.,%/ a-z]{1,40}\)|var\(--jp-collaborator-color[1-9]\)",
    re.IGNORECASE,
)
AVATAR_PATTERN = re.compile(r"data:image/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/]+={0,2}")


def profile_of(
    name: str | None, initials: str | None = None, color: str | None = None, avatar: str | None = None
) -> Profile | None:
    """None where nothing is left to say. A picture at an address is left out: asking for it would tell its host
    who reads the room, and an address of Jupyter's own could be one that does something.
    """
    profile = Profile(
        name=_printable_line(name, Limits().user),
        initials=_printable_line(initials, MAX_INITIALS),
        color=_matching(COLOR_PATTERN, color, 64),
        avatar=_matching(AVATAR_PATTERN, avatar, MAX_AVATAR_LENGTH),
    )
    return None if profile == Profile() else profile


def _printable_line(text: str | None, most: int) -> str | None:
    seen = "".join(one for one in text or "" if one.isprintable()).strip()
    return seen[:most] or None


def _matching(pattern: re.Pattern[str], text: str | None, most: int) -> str | None:
    return text if text and len(text) <= most and pattern.fullmatch(text) else None
