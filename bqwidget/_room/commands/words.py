"""The words of a message: the command that it is, its arguments, and the members that it mentions."""

from __future__ import annotations

import re
import shlex

from bqwidget.protocol import Message

_COMMAND = re.compile(r"/([\w-]+)(?:\s+(.*))?", re.DOTALL)
_OPTION = re.compile(r"--([A-Za-z_][\w-]*)(?:=(.*))?", re.DOTALL)
_CONTINUES_NAME = re.compile(r"[-.]?\w")
_QUOTES = str.maketrans("“”„", '"""')
"""What phones make of quotation marks."""


def parse_command(message: Message) -> tuple[str, str] | None:
    """The name and the arguments of the command that ``message`` is; None if it is none, such as a path."""
    found = None if message.format == "plain" else _COMMAND.fullmatch(message.text.strip())
    return None if found is None else (found[1], found[2] or "")


def split_arguments(text: str) -> tuple[list[str], dict[str, str | None]]:
    """Words, and options such as ``--x=1`` or ``--fast``. Double quotes keep a text with spaces together.

    Raises ValueError for a quotation mark without its end.
    """
    lexer = shlex.shlex(text.translate(_QUOTES), posix=True, punctuation_chars=False)
    lexer.whitespace_split = True
    lexer.quotes, lexer.escape, lexer.commenters = '"', "", ""
    words: list[str] = []
    options: dict[str, str | None] = {}
    for word in lexer:
        if (option := _OPTION.fullmatch(word)) is not None:
            options[option[1].replace("-", "_")] = option[2]
        else:
            words.append(word)
    return words, options


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
