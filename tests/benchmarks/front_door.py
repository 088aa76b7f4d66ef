"""The way through Jupyter's front door against the direct one: ``front_door.py [-n 100] [-w 32] [-m 1500] [--rounds 10]``.

A Jupyter server starts a local server; the load generator (``wsfan.c``) then joins both in turns, ``-n`` members with
``-w`` messages in flight, and checks that each member got each message once and in order. Prints medians: deliveries a
second, p50 in ms and the processor time of both servers for each delivery; and the ratios per round. Nothing is pinned
to a core. With ``-w 1`` p50 is the latency.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import psutil

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1])]

from support.jupyter_server import jupyter_server  # noqa: E402

FOLDERS = {
    "BQWIDGET_DATA_DIR": "data",
    "BQWIDGET_RUNTIME_DIR": "runtime",
    "JUPYTER_CONFIG_DIR": "jupyter-config",
    "JUPYTER_DATA_DIR": "jupyter-data",
    "JUPYTER_RUNTIME_DIR": "jupyter-runtime",
    "HOME": "",
}
LOCAL, DOOR = "direct", "door"


class Server(NamedTuple):
    """Where the generator joins (port, path of its base, token), and the process that serves it."""

    port: str
    base: str
    token: str
    process: psutil.Process

    def processor_time(self) -> float:
        times = self.process.cpu_times()
        return times.user + times.system


def main() -> None:
    parser = argparse.ArgumentParser(description="Jupyter's front door against the local server itself.")
    parser.add_argument("-n", type=int, default=100, help="members in the room (default: %(default)s)")
    parser.add_argument("-w", type=int, default=32, help="messages in flight (default: %(default)s)")
    parser.add_argument("-m", type=int, default=1500, help="messages in a round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=10, help="(default: %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bqwidget-door-") as folder:
        home = Path(folder)
        generator = home / "wsfan"
        subprocess.run(["cc", "-O2", "-o", str(generator), str(HERE / "wsfan.c")], check=True)
        environ = {name: value for name, value in os.environ.items() if not name.startswith("BQ")}
        environ |= {name: str(home / one) for name, one in FOLDERS.items()}
        with jupyter_server(home, environ) as jupyter:
            local = json.loads((home / "runtime" / "server.json").read_text())
            servers = {
                LOCAL: Server(local["url"].rpartition(":")[2], "", local["token"], psutil.Process(local["pid"])),
                DOOR: Server(
                    jupyter.origin.rpartition(":")[2], jupyter.rooms, jupyter.token, psutil.Process(jupyter.process.pid)
                ),
            }
            rows: dict[str, list[dict[str, float]]] = {LOCAL: [], DOOR: []}
            for number in range(options.rounds + 1):
                for name in (LOCAL, DOOR) if number % 2 else (DOOR, LOCAL):
                    row = measure(generator, options, servers[name], servers, f"{name}-{number}")
                    if number:  # the first warms up
                        rows[name].append(row)
            servers[LOCAL].process.terminate()
    for name, runs in rows.items():
        print(f"{name:7}", *(f"{key} {statistics.median(run[key] for run in runs):,.2f}" for key in runs[0]), sep="  ")
    for key in ("deliveries/s", "p50 ms"):
        ratios = [one[key] / other[key] for one, other in zip(rows[DOOR], rows[LOCAL], strict=True)]
        print(f"{key}: the door over direct {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


def measure(
    generator: Path, options: argparse.Namespace, to: Server, servers: dict[str, Server], room: str
) -> dict[str, float]:
    command = [
        *(str(generator), "--port", to.port, "--path", f"{to.base}/rooms/{room}", "--token", to.token),
        *("-n", str(options.n), "-m", str(options.m), "-w", str(options.w), "--pid", str(servers[LOCAL].process.pid)),
        *("--via", "ws", "--gate", "all"),
    ]
    before = {name: one.processor_time() for name, one in servers.items()}
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"messages were lost, duplicated or reordered: {' '.join(command)}\n{done.stdout}{done.stderr}")
    row = dict(pair.split("=", 1) for pair in done.stdout.split())
    used = {name: (one.processor_time() - before[name]) / options.n / options.m for name, one in servers.items()}
    return {
        "deliveries/s": float(row["deliv_s"]),
        "p50 ms": float(row["p50_us"]) / 1000,
        "us of the server": used[LOCAL] * 1e6,
        "us of Jupyter": used[DOOR] * 1e6,
    }


if __name__ == "__main__":
    main()
