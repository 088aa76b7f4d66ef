"""Storms: the server goes away under 500 connections, and all of them come back at once.

Size 1: 150 connections. Size 100: 500. In either case everyone is complete within 15 seconds of its return.
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from .load import stored
from .load.members import Reader, Sender
from .load.server_process import ServerProcess, server_process
from .load.sizes import scaled, seconds

READERS = scaled(150, 500)
WITHIN = 15.0


@pytest.fixture(autouse=True)
def enough_files():
    """Two ends of every connection are files; the server's inherits the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4 * READERS)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.timeout(seconds(60))
def test_everyone_is_back_and_complete_after_a_crash(tmp_path: Path):
    def crash(server: ServerProcess) -> None:
        server.kill()

    readers, took = storm(tmp_path, crash)
    assert took <= WITHIN
    print(f"\nstorm: {len(readers)} connections complete {took:.2f} s after the return from kill -9")


@pytest.mark.timeout(seconds(60))
def test_everyone_is_told_of_a_restart_and_back_after_it(tmp_path: Path):
    def restart(server: ServerProcess) -> None:
        code, _ = server.stop()
        assert code == 0

    readers, took = storm(tmp_path, restart)
    assert took <= WITHIN
    assert [reader.close_codes for reader in readers if reader.close_codes[0] != 1001] == []
    print(f"\nstorm: {len(readers)} connections complete {took:.2f} s after a restart")


def storm(folder: Path, go_away: Callable[[ServerProcess], None]) -> tuple[list[Reader], float]:
    """Everyone's list must be the store's; returns the seconds from the server's return until it is."""
    path = folder / "log.sqlite"
    with server_process(path) as server:
        readers, took = asyncio.run(story(server, go_away))
        assert server.complaints() == ""
    entries = stored.entries(path)
    assert len(entries) > 0
    for reader in readers:
        assert reader.entries == entries
        assert reader.joins == 2
    return readers, took


async def story(
    server: ServerProcess, go_away: Callable[[ServerProcess], None]
) -> tuple[list[Reader], float]:
    loop = asyncio.get_running_loop()
    readers = [Reader(server.url, "lobby") for _ in range(READERS)]
    senders = [Sender(server.url, "lobby", f"sender-{number}", window=1) for number in range(2)]
    running = [asyncio.create_task(member.run()) for member in (*readers, *senders)]
    await asyncio.gather(*[reader.reach(200) for reader in readers])
    await asyncio.to_thread(go_away, server)
    await asyncio.to_thread(server.start)
    back = loop.time()
    for sender in senders:
        sender.finish()
    await asyncio.gather(*[sender.idle.wait() for sender in senders])
    newest = max(seq for sender in senders for seq in sender.acked.values())
    await asyncio.gather(*[reader.reach(newest) for reader in readers])
    while any(reader.joins < 2 for reader in readers):  # complete, but not back yet
        await asyncio.sleep(0.01)
    took = loop.time() - back
    for member in (*senders, *readers):
        member.stop()
    await asyncio.gather(*running)
    return readers, took
