"""Profiles of verified members: what Jupyter knows of its user, reduced to what is safe to display.

Pure: text in, a profile or None out. The browser checks colour and picture again, because it displays what any
server sends; what is removed here is not sent at all.
"""

from __future__ import annotations

import re

from bqwidget.protocol import Limits, Profile

MAX_INITIALS = 4
MAX_AVATAR_LENGTH = 4096
"""Characters: enough for 48 x 48 pixels, and sent again with every presence frame."""

COLOR_PATTERN = re.compile(
    r"#(?:[0-9a-f]{3}|[0-9a-f]{6})|[a-z]{3,24}|(?:rgb|hsl)\([0-9.,%/ a-z]{1,40}\)|var\(--jp-collaborator-color[1-9]\)",
    re.IGNORECASE,
)
AVATAR_PATTERN = re.compile(r"data:image/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/]+={0,2}")


def make_profile(
    name: str | None, initials: str | None = None, color: str | None = None, avatar: str | None = None
) -> Profile | None:
    """The profile; None if nothing is left of it.

    A picture's URL is dropped: fetching it would reveal to its host who reads the room, and a URL of Jupyter's own
    could trigger an action. Only pictures in data: URLs are kept.
    """
    profile = Profile(
        name=_printable_line(name, Limits().user),
        initials=_printable_line(initials, MAX_INITIALS),
        color=_matching(COLOR_PATTERN, color, 64),
        avatar=_matching(AVATAR_PATTERN, avatar, MAX_AVATAR_LENGTH),
    )
    return None if profile == Profile() else profile


def _printable_line(text: str | None, max_length: int) -> str | None:
    printable = "".join(character for character in text or "" if character.isprintable()).strip()
    return printable[:max_length] or None


def _matching(pattern: re.Pattern[str], text: str | None, max_length: int) -> str | None:
    return text if text and len(text) <= max_length and pattern.fullmatch(text) else None
