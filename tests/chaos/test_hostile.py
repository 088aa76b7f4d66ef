"""Hostile neighbours: one flooder of every kind at once, next to 200 members who send a message a second each.

The members' times depend on the machine, so they are printed and not judged; `python tests/chaos/load/hostile.py 60`
measures for a minute. Judged is what does not: every message is acknowledged, memory and logs stay bounded.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from .load import hostile
from .load.sizes import scaled, seconds

SECONDS, MEMBERS = scaled(3, 60), 200
MAX_MEMORY_BYTES = 150 * 1024 * 1024
"""Without bounds, held bodies alone are 80 MB, and answers that are never read 300 MB."""
MAX_LOG_BYTES = 200 * 1024
"""Without aggregation, refused frames alone are megabytes a second. Each slow upload and read has a line."""


@pytest.mark.alone
@pytest.mark.timeout(seconds(90))
def test_members_are_served_next_to_a_flooder_of_every_kind(tmp_path: Path):
    figures = hostile.run(tmp_path, seconds=SECONDS, count=MEMBERS)
    print(figures)
    assert len(figures.flooded) > MEMBERS
    assert (figures.unacknowledged, figures.closed) == (0, 0)
    assert figures.memory < MAX_MEMORY_BYTES
    assert figures.log < MAX_LOG_BYTES


@pytest.mark.alone
@pytest.mark.timeout(seconds(90))
def test_members_of_a_jupyter_server_are_served_next_to_them(home: Path, home_environ: dict[str, str], jupyter_server):
    """The same within Jupyter, whose other pages are answered meanwhile."""
    with jupyter_server(home, home_environ) as server:
        url, token = server.origin + server.rooms, server.token
        figures = asyncio.run(hostile.measure(url, server.process.pid, token, token, seconds=SECONDS, count=MEMBERS))
        assert server.ask("GET", "/api/status").status == 200
    print(figures)
    assert len(figures.flooded) > MEMBERS
    assert (figures.unacknowledged, figures.closed) == (0, 0)
    assert figures.memory < MAX_MEMORY_BYTES
