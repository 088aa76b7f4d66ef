"""Mentions of the form ``@name`` in a text."""

from __future__ import annotations

import re

_CONTINUES_NAME = re.compile(r"[-.]?\w")


def mentions(text: str, name: str) -> bool:
    """Whether ``text`` has ``@name``: not as the start of a longer name, and not as the end of a mail address.

    The window finds mentions in the same way (js/src/view/shared/mentions.ts).
    """
    text, mention = text.lower(), f"@{name.lower()}"
    at = text.find(mention)
    while at >= 0:
        before, after = text[:at], text[at + len(mention) :]
        if not re.search(r"\w\Z", before) and not _CONTINUES_NAME.match(after):
            return True
        at = text.find(mention, at + 1)
    return False
