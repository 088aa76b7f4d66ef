"""Standard streams that a supervisor has closed, or that can't be written: the server runs without them."""

from __future__ import annotations

import logging
import os
import sys

_log = logging.getLogger("bqserver")


def open_standard_streams() -> None:
    """Open closed ones on the null device. Otherwise the next file, such as the history, would get their number."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number: this one
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115 - until the process ends
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


def print_line(text: str) -> None:
    """Print ``text``; if standard output is full, or its reader has gone, log that and write no more to it."""
    try:
        print(text, flush=True)  # noqa: T201 - the command's output
    except OSError as error:
        _log.warning("standard output can't be written: %s", error.strerror)
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
