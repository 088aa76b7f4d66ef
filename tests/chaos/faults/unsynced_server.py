"""bqserver with synchronous=NORMAL, which loses acknowledged messages: only for test_power_cut.py, which must detect it."""

from __future__ import annotations

from bqserver.app import ChatServer
from bqserver.storage.interface import MessageLog
from bqserver.storage.sqlite.log import SqliteLog


class UnsyncedServer(ChatServer):
    def make_log(self) -> MessageLog:
        return SqliteLog(self.log_url.removeprefix("sqlite:"), synchronous="NORMAL")


if __name__ == "__main__":
    UnsyncedServer.launch_instance()
