"""Fan-out of bqserver and other servers under the same load: ``python tests/benchmarks [-n 10,100,1000] [--pairs 3]``.

Each server runs pinned to one core, the load generator (``wsfan.c``, built on first use) on another. At most 32
messages are in flight, each until all N members have it, and every run checks that each member got each message
once and in one order. The rounds interleave the servers, so that other load affects them all; the table shows
medians, and the ratio per round to the recipe's own server on Bun if npm can install it. That server accepts
messages by POST only; the others get them by WebSocket, bqserver both ways. ``floor.c`` is a minimal server, with
SQLite and without: an upper bound for any server on this machine with this generator.

Needs Linux, a C compiler and ``taskset``; SQLite's header for one minimal server. Nothing leaves the machine.
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
MESSAGES_BY_MEMBERS = {10: 4000, 100: 1500, 1000: 200}
MAX_IN_FLIGHT = 32
BUN_PACKAGE = "bun@1.4.5"
RECIPE = "the recipe on Bun"


@dataclass(frozen=True)
class Peer:
    """A server to measure: its command, and how it accepts messages (``ws``, ``post``)."""

    name: str
    command: list[str]
    accepts: tuple[str, ...]


def main() -> None:
    parser = argparse.ArgumentParser(description="Fan-out of bqserver and other servers.")
    parser.add_argument("-n", default="10,100,1000", help="members in the room (default: %(default)s)")
    parser.add_argument("--pairs", type=int, default=3, help="rounds (default: %(default)s)")
    options = parser.parse_args()
    for tool in ("cc", "taskset"):
        if not shutil.which(tool):
            sys.exit(f"the benchmark needs {tool}: install it")
    with tempfile.TemporaryDirectory(prefix="bqwidget-bench-") as folder:
        work = Path(folder)
        generator = build(work, "wsfan") or sys.exit("the load generator wsfan.c can't be compiled: see above")
        peers = list(servers(work))
        for n in map(int, options.n.split(",")):
            show(n, measure_all(peers, n, options.pairs, generator, work))


def servers(work: Path) -> Iterator[Peer]:
    python = sys.executable
    bqserver = [python, "-m", "bqserver", "--open"]
    yield Peer("bqserver, sqlite", [*bqserver, f"--log=sqlite:{work}/log-{{port}}.sqlite"], ("ws", "post"))
    yield Peer("bqserver, memory", [*bqserver, "--log=memory"], ("ws", "post"))
    if bun := install_bun(work):
        yield Peer(RECIPE, [bun, "run", str(HERE / "recipe.ts")], ("post",))
    yield Peer("websockets.broadcast", [python, str(HERE / "peer_websockets.py")], ("ws",))
    yield Peer("naive Tornado", [python, str(HERE / "peer_tornado.py")], ("ws",))
    if floor := build(work, "floor", "-DSQLITE", "-lsqlite3"):
        yield Peer("minimal C server, sqlite", [str(floor), "{port}", f"{work}/floor-{{port}}.sqlite"], ("ws",))
    if floor := build(work, "floor"):
        yield Peer("minimal C server, memory", [str(floor), "{port}"], ("ws",))


def measure_all(
    peers: list[Peer], n: int, rounds: int, generator: Path, work: Path
) -> dict[tuple[str, str], list[dict[str, float]]]:
    rows: dict[tuple[str, str], list[dict[str, float]]] = {}
    for number in range(rounds):
        print(f"n={n}: round {number + 1} of {rounds}", file=sys.stderr)
        for peer in peers:
            for via in peer.accepts:
                with running(peer, work) as (port, pid):
                    row = measure(generator, n, via, port, pid)
                rows.setdefault((peer.name, via), []).append(row)
    return rows


def show(n: int, rows: dict[tuple[str, str], list[dict[str, float]]]) -> None:
    bun = rows.get((RECIPE, "post"))
    print(
        f"\n{n} members\n\n| server | sent by | deliveries/s | relative to Bun | p50 | kB per member |\n|---|---|---|---|---|---|"
    )
    for (name, via), runs in rows.items():
        ratios = [ours["deliv_s"] / theirs["deliv_s"] for ours, theirs in zip(runs, bun or [], strict=False)]
        over = f"{statistics.median(ratios):.1f}x" if ratios else "-"
        median = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        print(
            f"| {name} | {via} | {median['deliv_s']:,.0f} | {over} "
            f"| {median['p50_us'] / 1000:.2f} ms | {median['rss_conn_kb']:.1f} |"
        )


def measure(generator: Path, n: int, via: str, port: int, pid: int) -> dict[str, float]:
    senders = 1 if via == "ws" else MAX_IN_FLIGHT
    command = [
        *("taskset", "-c", "1", str(generator), "--port", str(port), "--pid", str(pid), "-n", str(n)),
        *("-m", str(MESSAGES_BY_MEMBERS.get(n, 200)), "-w", str(MAX_IN_FLIGHT), "-c", str(senders)),
        *("--via", via),
        *("--gate", "all", "--timeout", "60"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"messages were lost, duplicated or reordered: {' '.join(command)}\n{done.stdout}{done.stderr}")
    row = dict(pair.split("=", 1) for pair in done.stdout.split())
    return {key: float(row[key]) for key in ("deliv_s", "p50_us", "rss_conn_kb")}


@contextmanager
def running(peer: Peer, work: Path) -> Iterator[tuple[int, int]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [argument.replace("{port}", str(port)) for argument in peer.command]
    log = work / f"server-{port}.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            ["taskset", "-c", "0", *command],
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
            sys.exit(f"{peer.name} exited: {log.read_text()}")
        yield port, process.pid
    finally:
        process.terminate()
        process.wait()


def build(work: Path, name: str, *options: str) -> Path | None:
    """Compile ``name``.c. Returns None, with the reason on standard error, if that fails, such as without a header."""
    binary = work / "-".join([name, *options])
    command = ["cc", "-O2", "-o", str(binary), str(HERE / f"{name}.c"), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"measuring without {binary.name}:\n{done.stderr}", file=sys.stderr)
        return None
    return binary


def install_bun(work: Path) -> str | None:
    """Install Bun from the npm registry in ``work``, which is deleted after the run. Returns None if that fails."""
    if not shutil.which("npm"):
        print("npm is not installed: measuring without the recipe on Bun", file=sys.stderr)
        return None
    (work / "package.json").write_text("{}")
    done = subprocess.run(["npm", "i", "--no-save", BUN_PACKAGE], cwd=work, capture_output=True, text=True, check=False)
    binary = work / "node_modules" / ".bin" / "bun"
    if done.returncode or not binary.exists():
        print(f"{BUN_PACKAGE} can't be installed: measuring without it\n{done.stderr}", file=sys.stderr)
        return None
    return str(binary.resolve())


if __name__ == "__main__":
    main()
