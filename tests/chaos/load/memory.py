"""The resident memory of a process, from /proc (Linux only)."""

from __future__ import annotations

import os
from pathlib import Path


def rss(pid: int | str = "self") -> int:
    """Returns the resident set size in bytes."""
    pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
