"""Network faults: Rooms connected through a proxy that resets, drops, slices and delays.

Each seed has its own chat room with 4 senders and 4 readers. After the network heals, all have the same list as the
log. Size 1: 3 seeds. Size 100: 300. A failure names its seed.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.eventually import eventually
from support.ws_client import request

from bqwidget import Room
from bqwidget._client import http_client, websocket_client

from .faults.fault_proxy import FAULTS, fault_proxy
from .load import stored
from .load.server_process import ServerProcess, server_process
from .load.sizes import scaled, seconds

pytestmark = pytest.mark.slow("waits for connections that are cut and come back")

SEEDS = scaled(3, 300)
CONCURRENT_SEEDS = 3
SENDERS, READERS, MESSAGES = 4, 4, 15
HEARTBEAT_INTERVAL = 0.5
"""Seconds; a silent connection is closed after two intervals."""
CLIENT_TIMEOUT = 2.0
TIMEOUT = 60


@pytest.fixture(autouse=True)
def short_client_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up a dropped join or page after seconds instead of minutes."""
    monkeypatch.setattr(websocket_client, "OPEN_TIMEOUT", CLIENT_TIMEOUT)
    monkeypatch.setattr(http_client, "REQUEST_TIMEOUT", CLIENT_TIMEOUT)


@pytest.mark.timeout(seconds(90))
def test_all_members_have_the_same_list_after_network_faults(tmp_path: Path):
    path = tmp_path / "log.sqlite"
    faults: Counter[str] = Counter()
    with server_process(path, f"--heartbeat={HEARTBEAT_INTERVAL}") as server:
        with ThreadPoolExecutor(CONCURRENT_SEEDS) as seeds:
            for counted in seeds.map(lambda seed: run_seed(server, path, seed), range(SEEDS)):
                faults += counted
        assert server.stderr_output() == ""
    print(f"\nnetwork: {SEEDS} seeds, {SEEDS * SENDERS * MESSAGES:,} messages, all lists equal; faults: {dict(faults)}")
    assert {*faults} == {*FAULTS}
    assert stored.problems(path) == []


def test_both_ends_notice_a_silent_connection(tmp_path: Path):
    with (
        server_process(tmp_path / "log.sqlite", f"--heartbeat={HEARTBEAT_INTERVAL}") as server,
        fault_proxy(server.port, 0) as proxy,
    ):
        proxy.heal()
        with (
            Room("lobby", user="ada", url=proxy.url) as room,
            Room("lobby", user="bob", url=server.url) as other,
        ):
            room.wait_open(TIMEOUT)
            proxy.silence()
            other.send("after the silence")
            room.wait_for(lambda message: message.text == "after the silence", after=0, timeout=TIMEOUT)
            # The server has closed ada's first connection too.
            eventually(lambda: request(server.url, "GET", "/rooms").json[0]["members"] == 2, what="two members")


def run_seed(server: ServerProcess, path: Path, seed: int) -> Counter[str]:
    rng = random.Random(seed)
    name = f"net-{seed}"
    with fault_proxy(server.port, seed) as proxy, ExitStack() as open_rooms:
        rooms = [
            open_rooms.enter_context(Room(name, user=f"member-{number}", url=proxy.url, keep=10_000))
            for number in range(SENDERS + READERS)
        ]
        for message in range(MESSAGES):
            for sender in rooms[:SENDERS]:
                sender.send(f"{message} of {sender.user}", wait=False)
            threading.Event().wait(rng.uniform(0, 0.2))  # so that faults occur between messages
        proxy.heal()
        expected = {f"{message} of {sender.user}" for message in range(MESSAGES) for sender in rooms[:SENDERS]}
        for room in rooms:
            try:
                eventually(lambda room=room: len(room.messages) >= len(expected) and not room.queued, TIMEOUT)
            except AssertionError as error:
                state = f"{len(room.messages)} of {len(expected)} messages, {room.queued} queued"
                error.add_note(f"seed {seed}: {room!r} is {room.status}, has {state}; {room.error!r}")
                raise
        entries = stored.entries(path, name)
        lists = [[(one.seq, one.cid) for one in room.messages] for room in rooms]
        texts = [one.text for one in rooms[0].messages]
    assert [index for index, one in enumerate(lists) if one != entries] == [], f"seed {seed}"
    assert (len(texts), {*texts}) == (len(expected), expected), f"seed {seed}"
    return proxy.faults
