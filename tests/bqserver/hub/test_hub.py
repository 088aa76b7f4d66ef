"""The fan-out itself: one commit and one write per peer and turn, order kept, only slow peers closed."""

from __future__ import annotations

import asyncio

import pytest
from bqserver.errors import QueueFull
from bqserver.hub.dispatch import submit
from bqserver.hub.hub import Hub
from bqserver.model import Stored
from bqserver.storage.memory import MemoryLog
from support.hub import draft, frames, joined, run, settle


def test_a_turn_is_one_append_and_one_write_per_peer():
    async def scenario():
        log = MemoryLog()
        appended = []
        append = log.append
        log.append = lambda batch: appended.append(len(batch)) or append(batch)
        hub = Hub(log)
        sender, *others = [await joined(hub) for _ in range(5)]
        for number in range(20):
            submit(hub, sender, draft(number))
        await settle()
        assert appended == [20]
        for peer in others:
            (data,) = peer.connection.writes
            assert [frame["entry"]["text"] for frame in frames(data)] == [str(n) for n in range(20)]
        (data,) = sender.connection.writes
        assert [frame["type"] for frame in frames(data)] == ["ack"] * 20 + ["message"] * 20

    run(scenario)


def test_every_peer_gets_the_same_bytes():
    async def scenario():
        hub = Hub(MemoryLog())
        sender, one, two = [await joined(hub) for _ in range(3)]
        submit(hub, sender, draft(1))
        await settle()
        assert one.connection.writes[0] is two.connection.writes[0]

    run(scenario)


def test_a_room_gets_only_its_own_messages():
    async def scenario():
        hub = Hub(MemoryLog())
        sender, other = await joined(hub, "lobby"), await joined(hub, "other")
        submit(hub, sender, draft(1))
        await settle()
        assert sender.connection.writes
        assert not other.connection.writes

    run(scenario)


def test_only_the_slow_peer_is_closed():
    async def scenario():
        hub = Hub(MemoryLog())
        sender, slow, quick = [await joined(hub) for _ in range(3)]
        slow.connection.full = True
        submit(hub, sender, draft(1))
        await settle()
        assert slow.connection.closed == 4008
        assert quick.connection.closed is None
        assert len(quick.connection.writes) == 1

    run(scenario)


def test_frames_held_back_during_a_replay_are_bounded():
    async def scenario():
        hub = Hub(MemoryLog(), buffer=1000)
        sender, replaying = await joined(hub), await joined(hub)
        replaying.live = False
        submit(hub, sender, draft(1, "x" * 100))
        await settle()
        assert replaying.connection.closed is None
        submit(hub, sender, draft(2, "x" * 1000))
        await settle()
        assert replaying.connection.closed == 4008
        assert not replaying._held

    run(scenario)


def test_an_entry_covered_by_the_replay_is_not_sent_again():
    """The log may return an entry to a reader just before the fan-out delivers it."""

    async def scenario():
        hub = Hub(MemoryLog())
        peer = await joined(hub)
        peer.skip_up_to = 2
        entries = [Stored("lobby", seq, seq - 1, seq, b'{"seq":%d}' % seq) for seq in (2, 3)]
        hub._on_entries(entries[:1])
        await settle()
        hub._on_entries(entries[1:])
        await settle()
        assert [frame["entry"]["seq"] for data in peer.connection.writes for frame in frames(data)] == [3]

    run(scenario)


def test_a_full_queue_is_an_overload_for_every_sender():
    async def scenario():
        log = MemoryLog()

        def full(batch):
            raise QueueFull(20_000)

        log.append = full
        hub = Hub(log)
        sender = await joined(hub)
        submit(hub, sender, draft(1))
        await settle()
        (error,) = [frame for data in sender.connection.writes for frame in frames(data)]
        assert (error["type"], error["code"], error["cid"]) == ("error", "overload", "c1")
        assert error["retry_ms"] == 1000

    run(scenario)


@pytest.mark.parametrize("count", [1, 40])
def test_a_heartbeat_pings_each_peer_once(count):
    async def scenario():
        hub = Hub(MemoryLog(), heartbeat=0.2)
        peers = [await joined(hub) for _ in range(count)]
        while not all(peer.connection.writes for peer in peers):
            await asyncio.sleep(0.01)
        assert {len(peer.connection.writes) for peer in peers} <= {1, 2}
        assert all(peer.connection.writes[0].startswith(b"\x89\x00") for peer in peers)

    run(scenario)


def test_a_hub_is_active_when_it_starts():
    """Loop time begins with the machine: a server without members ended at its first check of the idle timeout."""

    async def scenario():
        began = asyncio.get_running_loop().time()
        assert Hub(MemoryLog()).last_active_at >= began

    run(scenario)


def test_no_timer_runs_without_peers():
    async def scenario():
        hub = Hub(MemoryLog(), heartbeat=0.02)
        peer = await joined(hub)
        hub.leave(peer)
        while hub._heartbeat._timer is not None:
            await asyncio.sleep(0.01)
        assert not hub.rooms
        assert not hub.peers

    run(scenario)
