"""Jupyter's front door beside the local server itself: ``python tests/benchmarks/front_door.py [-n 100] [-w 32] [--rounds 10]``.

A Jupyter server starts a local server; the load generator (``wsfan.c``) then joins both in turns, ``-n`` members with
``-w`` messages in flight, and checks that each member got each message once and in order. Prints medians: deliveries a
second, p50 in ms and the processor time of both servers for each delivery; and the ratios per round. Nothing is pinned
to a core. With ``-w 1`` p50 is the latency.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
START_TIMEOUT = 60


def main() -> None:
    parser = argparse.ArgumentParser(description="The front door beside the server itself.")
    parser.add_argument("-n", type=int, default=100, help="members in the room (default: %(default)s)")
    parser.add_argument("-w", type=int, default=32, help="messages in flight (default: %(default)s)")
    parser.add_argument("-m", type=int, default=1500, help="messages in a round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=10, help="(default: %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bqwidget-door-") as folder:
        home = Path(folder)
        generator = home / "wsfan"
        subprocess.run(["cc", "-O2", "-o", str(generator), str(HERE / "wsfan.c")], check=True)
        with jupyter(home) as servers:
            rows: dict[str, list[dict[str, float]]] = {"direct": [], "door": []}
            for number in range(options.rounds + 1):
                for name in ("direct", "door") if number % 2 else ("door", "direct"):
                    to = servers[name == "door"]
                    row = measure(str(generator), options, to, servers, f"{name}-{number}")
                    if number:  # the first warms up
                        rows[name].append(row)
    for name, runs in rows.items():
        print(f"{name:7}", *(f"{key} {statistics.median(run[key] for run in runs):,.2f}" for key in runs[0]), sep="  ")
    for key in ("deliveries/s", "p50 ms"):
        ratios = [one[key] / other[key] for one, other in zip(rows["door"], rows["direct"], strict=True)]
        print(f"{key}: the door over direct {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


Server = tuple[str, str, str, psutil.Process]
"""Port, path of its base, token, process."""


@contextmanager
def jupyter(home: Path) -> Iterator[tuple[Server, Server]]:
    """The local server, and the Jupyter server that has started it."""
    token = secrets.token_hex(16)
    folders = {
        "BQWIDGET_DATA_DIR": "data", "BQWIDGET_RUNTIME_DIR": "run", "JUPYTER_RUNTIME_DIR": "jupyter-run",
        "JUPYTER_DATA_DIR": "jupyter-data", "JUPYTER_CONFIG_DIR": "jupyter-config", "HOME": "",
    }  # fmt: skip
    environ = {name: value for name, value in os.environ.items() if not name.startswith("BQ")}
    environ |= {name: str(home / folder) for name, folder in folders.items()} | {"JUPYTER_TOKEN": token}
    environ["JUPYTER_CONFIG_PATH"] = str(ROOT / "server")
    command = [sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root", "--ServerApp.port=0"]
    with (home / "jupyter.log").open("wb") as log:
        process = subprocess.Popen(command, env=environ, cwd=home, stdout=log, stderr=log)
    try:
        files = home / "jupyter-run" / f"jpserver-{process.pid}.json", home / "run" / "server.json"
        deadline = time.monotonic() + START_TIMEOUT
        while not all(file.exists() for file in files):
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit((home / "jupyter.log").read_text())
            time.sleep(0.1)
        outer, inner = (json.loads(file.read_text()) for file in files)
        door = str(outer["port"]), "/bqserver", token, psutil.Process(process.pid)
        local = inner["url"].rpartition(":")[2], "", inner["token"], psutil.Process(inner["pid"])
        yield local, door
        local[3].terminate()
    finally:
        process.terminate()
        process.wait()


def measure(
    generator: str, options: argparse.Namespace, to: Server, servers: tuple[Server, Server], room: str
) -> dict[str, float]:
    port, base, token, _ = to
    command = [
        *(generator, "--port", port, "--path", f"{base}/rooms/{room}", "--token", token),
        *("-n", str(options.n), "-m", str(options.m), "-w", str(options.w), "--pid", str(servers[0][3].pid)),
        *("--via", "ws", "--gate", "all"),
    ]
    before = [cpu(one) for one in servers]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"messages were lost, duplicated or reordered: {' '.join(command)}\n{done.stdout}{done.stderr}")
    row = dict(pair.split("=", 1) for pair in done.stdout.split())
    used = [(cpu(one) - start) / options.n / options.m for one, start in zip(servers, before, strict=True)]
    return {
        "deliveries/s": float(row["deliv_s"]),
        "p50 ms": float(row["p50_us"]) / 1000,
        "us of the server": used[0] * 1e6,
        "us of Jupyter": used[1] * 1e6,
    }


def cpu(server: Server) -> float:
    times = server[3].cpu_times()
    return times.user + times.system


if __name__ == "__main__":
    main()
