"""A cluster that is shot at under load: leaders killed and frozen, the quorum lost, nodes killed.

Three NATS servers, two bqservers, senders and readers on both. Nothing acknowledged is lost or doubled, and both
nodes and all readers have one order. Size 1: one fault of each kind. Size 100: 100 leader kills, 50 freezes of
5 s, 20 losses of quorum, 20 bqserver kills; half an hour or so.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.nats_cluster import NatsCluster, NatsServer, nats_cluster

from .link import get
from .members import Reader, Sender
from .process import ServerProcess, server_process
from .sizes import SIZE, scaled, seconds

KILLS, FREEZES, LOSSES, NODE_KILLS = scaled(1, 100), scaled(1, 50), scaled(1, 20), scaled(1, 20)
FROZEN = 5.0 if SIZE > 1 else 4.0
DOWN = 2.5
"""Seconds without a quorum."""
ACKS = scaled(200, 500)
"""Acknowledged through each node after one fault, before the next."""
SENDERS, READERS = 2, 1
"""On each node."""
WINDOW = 16
MOST_PAUSE = 8.0 if SIZE >= 100 else 20.0  # a busy CI machine elects late
"""Seconds, the p95 of all faults. NATS elects a leader 4 to 9 s after a kill, by lot: of two survivors, one in
twenty-five takes longer than 8. What a node adds to that was 45 ms (p50), 200 at the most.
"""


class Battlefield:
    """The servers, their members, and what was acknowledged when."""

    def __init__(self, cluster: NatsCluster, stream: str, nodes: list[ServerProcess]) -> None:
        self.cluster, self.stream, self.nodes = cluster, stream, nodes
        self.senders = [
            Sender(node.url, "lobby", f"s{place}-{number}", window=WINDOW, told=self._told(place))
            for place, node in enumerate(nodes)
            for number in range(SENDERS)
        ]
        self.readers = [Reader(node.url, "lobby") for node in nodes for _ in range(READERS)]
        self.acks = [0 for _ in nodes]
        self.longest = 0.0
        self._acked_at = 0.0
        self._more = asyncio.Event()

    def _told(self, place: int) -> Callable[[str], None]:
        def told(_: str) -> None:
            now = asyncio.get_running_loop().time()
            self.longest = max(self.longest, now - self._acked_at) if self._acked_at else 0.0
            self._acked_at = now
            self.acks[place] += 1
            self._more.set()

        return told

    async def go_on(self) -> None:
        """Until every node has acknowledged ``ACKS`` more."""
        wanted = [acks + ACKS for acks in self.acks]
        while any(acks < enough for acks, enough in zip(self.acks, wanted, strict=True)):
            self._more.clear()
            await self._more.wait()

    async def suffer(self, fault: Callable[[Battlefield], Awaitable[None]]) -> float:
        """The longest time without any acknowledgement, from the fault until all is as before."""
        self.longest = 0.0
        await fault(self)
        await self.go_on()
        return self.longest

    async def leader(self) -> NatsServer:
        return await asyncio.to_thread(self.cluster.leader, self.stream)

    async def back(self, *servers: NatsServer) -> None:
        for server in servers:
            server.start()
        for server in servers:
            await asyncio.to_thread(server.wait)


async def kill_the_leader(field: Battlefield) -> None:
    leader = await field.leader()
    leader.kill()
    await field.go_on()  # with two of three
    await field.back(leader)


async def freeze_the_leader(field: Battlefield) -> None:
    leader = await field.leader()
    leader.pause()
    await asyncio.sleep(FROZEN)
    leader.resume()


async def lose_the_quorum(field: Battlefield) -> None:
    gone = random.sample(field.cluster.servers, 2)
    for server in gone:
        server.kill()
    before = list(field.acks)
    await asyncio.sleep(DOWN)
    # What was on its way may have been stored before; nothing that was sent later can be, or acknowledged.
    late = [now - then for now, then in zip(field.acks, before, strict=True)]
    assert max(late) <= SENDERS * WINDOW
    await field.back(*gone)


async def kill_a_node(field: Battlefield) -> None:
    node = random.choice(field.nodes)
    node.kill()
    await asyncio.to_thread(node.start)


@pytest.fixture
def field(nats_server: str, tmp_path: Path) -> Iterator[Callable[[], Battlefield]]:
    with nats_cluster(nats_server, tmp_path / "nats", 3) as cluster, ExitStack() as stack:
        log = cluster.log("chaos")
        nodes = [stack.enter_context(server_process(log)) for _ in range(2)]
        yield lambda: Battlefield(cluster, "chaos", nodes)


@pytest.mark.timeout(seconds(120))
def test_nothing_acknowledged_is_lost_or_doubled_in_one_order_everywhere(field: Callable[[], Battlefield]):
    faults = [
        *[kill_the_leader] * KILLS,
        *[freeze_the_leader] * FREEZES,
        *[lose_the_quorum] * LOSSES,
        *[kill_a_node] * NODE_KILLS,
    ]
    random.shuffle(faults)
    asyncio.run(battle(field, faults))


async def battle(
    field: Callable[[], Battlefield], faults: list[Callable[[Battlefield], Awaitable[None]]]
) -> None:
    ground = field()
    senders, readers = ground.senders, ground.readers
    running = [asyncio.create_task(member.run()) for member in (*senders, *readers)]
    await ground.go_on()
    pauses: dict[str, list[float]] = {}
    for fault in faults:
        pauses.setdefault(fault.__name__, []).append(await ground.suffer(fault))
    for sender in senders:
        sender.finish()
    await asyncio.gather(*[sender.idle.wait() for sender in senders])
    newest = max(seq for sender in senders for seq in sender.acked.values())
    late = [Reader(node.url, "lobby") for node in ground.nodes]  # they have everything to catch up with
    running += [asyncio.create_task(reader.run()) for reader in late]
    await asyncio.gather(*[reader.reach(newest) for reader in (*readers, *late)])
    kept = [await entries(node) for node in ground.nodes]
    for member in (*senders, *readers, *late):
        member.stop()
    await asyncio.gather(*running)

    acked = {cid: seq for sender in senders for cid, seq in sender.acked.items()}
    assert [line for sender in senders for line in sender.contradictions] == []
    assert kept[0] == kept[1]  # one order on all nodes
    where = {cid: seq for seq, cid in kept[0]}
    assert [cid for cid, seq in acked.items() if where.get(cid) != seq] == []  # none lost
    assert len(where) == len(kept[0]) == len(acked)  # none doubled, and none that its sender doesn't know of
    for reader in (*readers, *late):
        assert reader.entries == kept[0]
        assert "epoch" not in reader.gaps
    told = ", ".join(
        f"{len(each)} x {name} (pause p95 {p95(each):.1f} s, longest {max(each):.1f} s)"
        for name, each in pauses.items()
    )
    every = p95([pause for each in pauses.values() for pause in each])
    print(f"\ncluster: {told}; p95 of all {every:.2f} s; {len(acked):,} acknowledged, 0 lost, 0 doubled")
    assert every <= MOST_PAUSE


def p95(pauses: list[float]) -> float:
    """Nearest rank: nineteen in twenty are not longer."""
    return sorted(pauses)[math.ceil(0.95 * len(pauses)) - 1]


async def entries(node: ServerProcess) -> list[tuple[int, str | None]]:
    """(seq, cid) of everything that a node serves."""
    found: list[tuple[int, str | None]] = []
    while page := await get(node.url, f"/rooms/lobby/log?after={found[-1][0] if found else 0}&limit=200"):
        found += [(entry["seq"], entry.get("cid")) for entry in page]
    return found
