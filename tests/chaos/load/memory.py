"""What a process holds of the machine's memory; Linux tells it by /proc."""

from __future__ import annotations

import os
from pathlib import Path


def rss(pid: int | str = "self") -> int:
    """Bytes of memory that the process has resident."""
    pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
