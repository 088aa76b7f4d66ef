"""A real nginx in the foreground, with all its files in one folder."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from support.eventually import eventually

CONFIG_TEMPLATE = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{servers}
}}
"""


@contextmanager
def nginx(servers: str, port: int, folder: Path, missing: Callable[[str], NoReturn]) -> Iterator[None]:
    """Run nginx with these ``server`` blocks; enters the block when it listens on ``port``."""
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    program = program or missing("nginx (apt-get install nginx-light)")
    config = folder / "nginx.conf"
    config.write_text(CONFIG_TEMPLATE.format(folder=folder, servers=servers))
    with (folder / "nginx.out").open("wb") as output:
        process = subprocess.Popen([program, "-c", str(config), "-p", str(folder)], stdout=output, stderr=output)

    def listens() -> bool:
        assert process.poll() is None, (folder / "nginx.out").read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        eventually(listens, what="nginx")
        yield
    finally:
        process.terminate()
        process.wait(20)
