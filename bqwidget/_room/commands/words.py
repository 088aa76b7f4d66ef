"""The words of a message: the command that it is, and its arguments."""

from __future__ import annotations

import re
import shlex

from bqwidget.protocol import Message

_COMMAND = re.compile(r"/([\w-]+)(?:\s+(.*))?", re.DOTALL)
_OPTION = re.compile(r"--([A-Za-z_][\w-]*)(?:=(.*))?", re.DOTALL)
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
