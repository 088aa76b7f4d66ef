"""bqserver with synchronous=NORMAL: what test_power_cut.py must catch. Nobody should run it for anything else."""

from __future__ import annotations

from bqserver.app import ChatServer
from bqserver.storage.interface import MessageLog
from bqserver.storage.sqlite.log import SqliteLog


class CarelessServer(ChatServer):
    def make_log(self) -> MessageLog:
        return SqliteLog(self.log_url.removeprefix("sqlite:"), synchronous="NORMAL")


if __name__ == "__main__":
    CarelessServer.launch_instance()
