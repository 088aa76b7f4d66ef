"""The memory and the processor time of a process."""

from __future__ import annotations

import os
from pathlib import Path


def rss(pid: int | str = "self") -> int:
    """Returns the resident set size in bytes."""
    pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def processor_time(pid: int) -> float:
    """Seconds for which the main thread of a process has run; 0.0 where the system does not tell."""
    try:
        return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[0]) / 1e9
    except OSError:
        return 0.0
