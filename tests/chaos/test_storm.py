"""Reconnection storms: the server stops under 500 connections, and all of them reconnect at once.

Size 1: 150 connections. Size 100: 500. In both, all readers are complete within 15 seconds of the restart.
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

pytestmark = [pytest.mark.slow("kills a server, and waits until all readers are back"), pytest.mark.alone]

READERS = scaled(150, 500)
MAX_RECOVERY_SECONDS = 15.0


@pytest.fixture(autouse=True)
def raise_file_limit():
    """Each connection has a file at both ends; the server process inherits the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4 * READERS)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.timeout(seconds(60))
def test_all_readers_recover_after_a_crash(tmp_path: Path):
    def crash(server: ServerProcess) -> None:
        server.kill()

    readers, took = storm(tmp_path, crash)
    assert took <= MAX_RECOVERY_SECONDS
    print(f"\nstorm: {len(readers)} connections complete {took:.2f} s after the restart from kill -9")


@pytest.mark.timeout(seconds(60))
def test_a_restart_closes_with_1001_and_all_readers_recover(tmp_path: Path):
    def restart(server: ServerProcess) -> None:
        code, _ = server.stop()
        assert code == 0

    readers, took = storm(tmp_path, restart)
    assert took <= MAX_RECOVERY_SECONDS
    assert [reader.close_codes for reader in readers if reader.close_codes[0] != 1001] == []
    print(f"\nstorm: {len(readers)} connections complete {took:.2f} s after a restart")


def storm(folder: Path, stop_server: Callable[[ServerProcess], None]) -> tuple[list[Reader], float]:
    """Check that every reader has the log's entries. Returns the readers, and the seconds from the restart until then."""
    path = folder / "log.sqlite"
    with server_process(path) as server:
        readers, took = asyncio.run(play(server, stop_server))
        assert server.stderr_output() == ""
    entries = stored.entries(path)
    assert len(entries) > 0
    for reader in readers:
        assert reader.entries == entries
        assert reader.joins == 2
    return readers, took


async def play(server: ServerProcess, stop_server: Callable[[ServerProcess], None]) -> tuple[list[Reader], float]:
    loop = asyncio.get_running_loop()
    readers = [Reader(server.url, "lobby") for _ in range(READERS)]
    senders = [Sender(server.url, "lobby", f"sender-{number}", max_in_flight=1) for number in range(2)]
    running = [asyncio.create_task(member.run()) for member in (*readers, *senders)]
    await asyncio.gather(*[reader.reach(200) for reader in readers])
    await asyncio.to_thread(stop_server, server)
    await asyncio.to_thread(server.start)
    restarted_at = loop.time()
    for sender in senders:
        sender.finish()
    await asyncio.gather(*[sender.idle.wait() for sender in senders])
    newest = max(seq for sender in senders for seq in sender.acked.values())
    await asyncio.gather(*[reader.reach(newest) for reader in readers])
    while any(reader.joins < 2 for reader in readers):  # complete beforehand, but not rejoined yet
        await asyncio.sleep(0.01)
    took = loop.time() - restarted_at
    for member in (*senders, *readers):
        member.stop()
    await asyncio.gather(*running)
    return readers, took
