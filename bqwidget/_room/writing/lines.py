"""Short lines about what code does, and how it failed."""

from __future__ import annotations

from bqwidget.protocol import truncate

MAX_LABEL_LENGTH = 200
"""Characters of a label, of a report's text, and of an error's line."""


def error_line(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    lines = str(error).strip().splitlines()
    return truncate(f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__, MAX_LABEL_LENGTH)
