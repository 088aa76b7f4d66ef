"""The cluster in server/README.md: three NATS servers over TLS run the printed configuration."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
from contextlib import ExitStack
from pathlib import Path

from bqserver.app import ChatServer
from bqserver.errors import StorageError
from bqserver.storage.nats.log import open_log
from support.certificate import self_signed
from support.paths import ROOT
from support.ports import free_ports

GUIDE = (ROOT / "server" / "README.md").read_text()
BLOCKS = dict(re.findall(r"^```(\w+)\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE))


def test_a_node_accepts_the_three_servers(nats_server: str, tmp_path: Path, missing):
    cert, key = self_signed(tmp_path, missing)
    numbers = iter(free_ports(9))
    ports = [(client, monitor, route) for client, monitor, route in zip(numbers, numbers, numbers, strict=True)]
    environ = {**os.environ, "BQSERVER_PASSWORD": "open-sesame", "OPERATOR_PASSWORD": "x"}
    with ExitStack() as stack:
        for number, (client, monitor, route) in enumerate(ports, 1):
            config = BLOCKS["conf"].replace("server_name: n1", f"server_name: n{number}")
            for peer, (_, _, other) in enumerate(ports, 1):
                config = config.replace(f"//n{peer}:6222", f"//localhost:{other}")
            for printed, here in {
                "0.0.0.0:4222": f"127.0.0.1:{client}",
                "127.0.0.1:8222": f"127.0.0.1:{monitor}",
                "0.0.0.0:6222": f"127.0.0.1:{route}",
                "/etc/nats/server.pem": str(cert),
                "/etc/nats/server.key": str(key),
                "/etc/nats/ca.pem": str(cert),
                "/var/lib/nats": str(tmp_path / f"n{number}"),
            }.items():
                assert printed in config
                config = config.replace(printed, here)
            file = tmp_path / f"n{number}.conf"
            file.write_text(config)
            server = subprocess.Popen([nats_server, "-c", file], env=environ, stderr=subprocess.DEVNULL)
            stack.callback(server.wait)
            stack.callback(server.kill)
        hosts = ",".join(f"localhost:{client}" for client, _, _ in ports)
        monitors = [f"http://127.0.0.1:{monitor}" for _, monitor, _ in ports]

        async def connect_and_list() -> None:
            url = f"tls://bqserver:open-sesame@{hosts}"
            log = await open_when_ready(url, tmp_path / "view.sqlite", ca=str(cert), monitors=monitors)
            assert (await log.rooms()) == []
            await log.close()

        asyncio.run(connect_and_list())


async def open_when_ready(url: str, view: Path, **more: object):
    """Repeated while the servers' monitoring does not answer: they have just been started."""
    async with asyncio.timeout(100):
        while True:
            try:
                return await open_log(url, view, **more)
            except StorageError as error:
                if "does not answer" not in str(error):
                    raise
                await asyncio.sleep(0.1)


def test_the_printed_settings_are_those_of_the_server(tmp_path: Path):
    file = tmp_path / "config.py"
    file.write_text(BLOCKS["python"])
    app = ChatServer()
    app.initialize([f"--config={file}"])
    assert (app.log_url, app.nats_ca) == ("tls://bqserver:PASSWORD@n1,n2,n3", "/etc/nats/ca.pem")
    assert (app.token_file, app.named_tokens) == ("/etc/bqserver/token", "/etc/bqserver/tokens.json")
