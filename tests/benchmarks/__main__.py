"""Fan-out of bqserver beside other servers on the same work: ``python tests/benchmarks [-n 10,100,1000] [--pairs 3]``.

Each server runs pinned to one core, the load generator (``wsfan.c``, built on first use) on another. A message
leaves the window of 32 only when all N members have it, and every run checks that each member got each message
once and in one order. The rounds interleave the servers, so that a noisy minute hits them all; the table shows
medians, and the ratio to the recipe's own server on Bun, round by round, where npm can install it. That server
takes messages by POST only; the others get them by WebSocket, bqserver both ways. ``floor.c`` does as little as a
server can, with SQLite and without: what any server could reach on this machine, with this generator, lies below.

Needs Linux, a C compiler and ``taskset``; SQLite's header for the one floor. Nothing leaves the machine.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
MESSAGES = {10: 4000, 100: 1500, 1000: 200}
WINDOW = 32
BUN = "bun@1.4.5"


@dataclass(frozen=True)
class Peer:
    """A server to measure: its command, and the ways in which it takes messages."""

    name: str
    command: list[str]
    ways: tuple[str, ...]


def main() -> None:
    parser = argparse.ArgumentParser(description="Fan-out of bqserver beside other servers.")
    parser.add_argument("-n", default="10,100,1000", help="members in the room (default: %(default)s)")
    parser.add_argument("--pairs", type=int, default=3, help="rounds (default: %(default)s)")
    options = parser.parse_args()
    for tool in ("cc", "taskset"):
        if not shutil.which(tool):
            sys.exit(f"{tool} is needed to measure")
    with tempfile.TemporaryDirectory(prefix="bqwidget-bench-") as folder:
        work = Path(folder)
        generator = build(work, "wsfan") or sys.exit("the load generator can't be built")
        peers = list(servers(work))
        for n in map(int, options.n.split(",")):
            show(n, measure_all(peers, n, options.pairs, generator, work))


def servers(work: Path) -> Iterator[Peer]:
    python = sys.executable
    bqserver = [python, "-m", "bqserver", "--open"]
    yield Peer("bqserver, sqlite", [*bqserver, f"--log=sqlite:{work}/log-{{port}}.sqlite"], ("ws", "post"))
    yield Peer("bqserver, memory", [*bqserver, "--log=memory"], ("ws", "post"))
    if bun := install_bun(work):
        yield Peer("the recipe on Bun", [bun, "run", str(HERE / "recipe.ts")], ("post",))
    yield Peer("websockets.broadcast", [python, str(HERE / "peer_websockets.py")], ("ws",))
    yield Peer("naive Tornado", [python, str(HERE / "peer_tornado.py")], ("ws",))
    if floor := build(work, "floor", "-DSQLITE", "-lsqlite3"):
        yield Peer("the least, sqlite", [str(floor), "{port}", f"{work}/floor-{{port}}.sqlite"], ("ws",))
    if floor := build(work, "floor"):
        yield Peer("the least, memory", [str(floor), "{port}"], ("ws",))


def measure_all(
    peers: list[Peer], n: int, rounds: int, generator: Path, work: Path
) -> dict[tuple[str, str], list[dict[str, float]]]:
    rows: dict[tuple[str, str], list[dict[str, float]]] = {}
    for number in range(rounds):
        print(f"n={n}: round {number + 1} of {rounds}", file=sys.stderr)
        for peer in peers:
            for way in peer.ways:
                with running(peer, work) as (port, pid):
                    row = measure(generator, n, way, port, pid)
                rows.setdefault((peer.name, way), []).append(row)
    return rows


def show(n: int, rows: dict[tuple[str, str], list[dict[str, float]]]) -> None:
    bun = rows.get(("the recipe on Bun", "post"))
    print(
        f"\n{n} members\n\n| server | sent by | deliveries/s | over Bun | p50 | kB a member |\n|---|---|---|---|---|---|"
    )
    for (name, way), runs in rows.items():
        ratios = [ours["deliv_s"] / theirs["deliv_s"] for ours, theirs in zip(runs, bun or [], strict=False)]
        over = f"{statistics.median(ratios):.1f}x" if ratios else "-"
        median = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        print(
            f"| {name} | {way} | {median['deliv_s']:,.0f} | {over} "
            f"| {median['p50_us'] / 1000:.2f} ms | {median['rss_conn_kb']:.1f} |"
        )


def measure(generator: Path, n: int, way: str, port: int, pid: int) -> dict[str, float]:
    senders = 1 if way == "ws" else WINDOW
    command = [
        *("taskset", "-c", "1", str(generator), "--port", str(port), "--pid", str(pid), "-n", str(n)),
        *("-m", str(MESSAGES.get(n, 200)), "-w", str(WINDOW), "-c", str(senders), "--via", way),
        *("--gate", "all", "--timeout", "60"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"not clean (lost, doubled or reordered): {' '.join(command)}\n{done.stdout}{done.stderr}")
    row = dict(pair.split("=", 1) for pair in done.stdout.split())
    return {key: float(row[key]) for key in ("deliv_s", "p50_us", "rss_conn_kb")}


@contextmanager
def running(peer: Peer, work: Path) -> Iterator[tuple[int, int]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = [word.replace("{port}", str(port)) for word in peer.command]
    log = work / f"server-{port}.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            ["taskset", "-c", "0", *words],
            env={**os.environ, "PORT": str(port), "BQWIDGET_DATA_DIR": str(work)},
            stdout=output,
            stderr=output,
        )
    try:
        while process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                continue
        else:
            sys.exit(f"{peer.name} ended: {log.read_text()}")
        yield port, process.pid
    finally:
        process.terminate()
        process.wait()


def build(work: Path, name: str, *options: str) -> Path | None:
    """None, and why on standard error, where it can't be: a header is not there."""
    binary = work / "-".join([name, *options])
    command = ["cc", "-O2", "-o", str(binary), str(HERE / f"{name}.c"), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"measuring without {binary.name}:\n{done.stderr}", file=sys.stderr)
        return None
    return binary


def install_bun(work: Path) -> str | None:
    """Bun from the npm registry, in a folder of its own that goes with the run; None where it can't be had."""
    if not shutil.which("npm"):
        print("npm is not there: measuring without the recipe on Bun", file=sys.stderr)
        return None
    (work / "package.json").write_text("{}")
    done = subprocess.run(
        ["npm", "i", "--no-save", BUN], cwd=work, capture_output=True, text=True, check=False
    )
    binary = work / "node_modules" / ".bin" / "bun"
    if done.returncode or not binary.exists():
        print(f"{BUN} can't be installed: measuring without it\n{done.stderr}", file=sys.stderr)
        return None
    return str(binary.resolve())


if __name__ == "__main__":
    main()
