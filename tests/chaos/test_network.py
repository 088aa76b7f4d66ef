"""Bad networks: Rooms, as a notebook has them, on both ends of a proxy that resets, swallows, slices and delays.

Each seed is a room of its own with 4 senders and 4 readers; when the network heals, all have one list, and it is
the store's. Size 1: 3 seeds. Size 100: 300. A failure names its seed.
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

SEEDS = scaled(3, 300)
AT_ONCE = 3
SENDERS, READERS, MESSAGES = 4, 4, 15
HEARTBEAT = 0.5
"""Seconds: what went silent is given up after two of them."""
GIVE_UP = 2.0
PATIENCE = 60


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A join or a page that was swallowed is given up after seconds, so that a test takes no minutes."""
    monkeypatch.setattr(websocket_client, "OPEN_TIMEOUT", GIVE_UP)
    monkeypatch.setattr(http_client, "REQUEST_TIMEOUT", GIVE_UP)


@pytest.mark.timeout(seconds(90))
def test_one_list_everywhere_whatever_the_network_did(tmp_path: Path):
    path = tmp_path / "log.sqlite"
    faults: Counter[str] = Counter()
    with server_process(path, f"--heartbeat={HEARTBEAT}") as server:
        with ThreadPoolExecutor(AT_ONCE) as seeds:
            for met in seeds.map(lambda seed: play(server, path, seed), range(SEEDS)):
                faults += met
        assert server.complaints() == ""
    print(
        f"\nnetwork: {SEEDS} seeds, {SEEDS * SENDERS * MESSAGES:,} messages, all lists equal; met with {dict(faults)}"
    )
    assert {*faults} == {*FAULTS}
    assert stored.wrong(path) == []


def test_a_connection_that_dies_in_silence_is_noticed_at_both_ends(tmp_path: Path):
    with (
        server_process(tmp_path / "log.sqlite", f"--heartbeat={HEARTBEAT}") as server,
        fault_proxy(server.port, 0) as proxy,
    ):
        proxy.heal()
        with (
            Room("lobby", user="ada", url=proxy.url) as room,
            Room("lobby", user="bob", url=server.url) as other,
        ):
            room.wait_open(PATIENCE)
            proxy.silence()
            other.send("did you hear that?")
            room.wait_for(lambda message: message.text == "did you hear that?", after=0, timeout=PATIENCE)
            # The server has let go of ada's first connection too.
            eventually(
                lambda: request(server.url, "GET", "/rooms").json[0]["members"] == 2, what="two members"
            )


def play(server: ServerProcess, path: Path, seed: int) -> Counter[str]:
    chance = random.Random(seed)
    name = f"net-{seed}"
    with fault_proxy(server.port, seed) as proxy, ExitStack() as open_rooms:
        rooms = [
            open_rooms.enter_context(Room(name, user=f"member-{number}", url=proxy.url, keep=10_000))
            for number in range(SENDERS + READERS)
        ]
        for message in range(MESSAGES):
            for sender in rooms[:SENDERS]:
                sender.send(f"{message} of {sender.user}", wait=False)
            threading.Event().wait(chance.uniform(0, 0.2))  # so that faults fall into the middle of it
        proxy.heal()
        wanted = {f"{message} of {sender.user}" for message in range(MESSAGES) for sender in rooms[:SENDERS]}
        for room in rooms:
            try:
                eventually(lambda room=room: len(room.messages) >= len(wanted) and not room.queued, PATIENCE)
            except AssertionError as late:
                have = f"{len(room.messages)} of {len(wanted)} messages, {room.queued} queued"
                late.add_note(f"seed {seed}: {room!r} is {room.status}, has {have}; {room.error!r}")
                raise
        entries = stored.entries(path, name)
        lists = [[(one.seq, one.cid) for one in room.messages] for room in rooms]
        texts = [one.text for one in rooms[0].messages]
    assert [index for index, one in enumerate(lists) if one != entries] == [], f"seed {seed}"
    assert (len(texts), {*texts}) == (len(wanted), wanted), f"seed {seed}"
    return proxy.faults
