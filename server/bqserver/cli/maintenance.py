"""``bqserver backup``, ``restore``, ``check`` and ``purge``: commands on the file of a SQLite log."""

from __future__ import annotations

import asyncio
import contextlib
from itertools import chain, islice
from pathlib import Path

from traitlets import Bool, Dict, Unicode

from bqserver.config.paths import DataFile
from bqserver.errors import SettingError, StorageError
from bqserver.files import is_locked, user_path
from bqserver.storage.purge import purge, request_purge
from bqserver.storage.sqlite.attachments import attachments_path
from bqserver.storage.sqlite.backup import backup, restore
from bqserver.storage.sqlite.check import (
    Contents,
    count_attachments,
    count_contents,
    find_attachment_problems,
    find_problems,
)
from bqserver.storage.sqlite.log import SqliteLog
from bqserver.storage.sqlite.schema import connect
from bqwidget.protocol import printable

from .application import Command
from .settings import CLUSTER_SCHEMES

MAX_PRINTED_PROBLEMS = 20
"""Problems printed one by one; the others are counted."""


class LogCommand(Command):
    """A command on the file of ``--log``. Exit status: 0 done, 1 failed, 2 wrong usage."""

    log_url = DataFile(
        "history.sqlite",
        scheme="sqlite:",
        instead="local.sqlite",
        help="The log: sqlite:PATH. Default: the one in your data folder, as for the server.",
    ).tag(config=True)
    aliases = Dict({"log": "LogCommand.log_url"})
    arguments = "one file", "FILE"
    """What to give, in words and in the usage."""

    def start(self) -> None:
        super().start()
        if len(self.extra_args) != self.max_arguments:
            self.exit_with_usage_error(f"give {self.arguments[0]}: {self.name} {self.arguments[1]}")
        with self.reported_errors():
            self.run_on(self.log_url)

    def run_on(self, url: str) -> None:
        """Execute the command on the log. Raises SettingError and StorageError."""
        kind, _, path = url.partition(":")
        if kind != "sqlite" or not path:
            raise SettingError(f"--log={url} is not a file: give --log=sqlite:PATH")
        self.run(user_path(path))

    def run(self, log: Path) -> None:
        """Execute the command. Raises StorageError."""
        raise NotImplementedError


class Backup(LogCommand):
    """Copy the log to FILE, complete and consistent, whether its server runs or not."""

    name = "bqserver backup"
    examples = "bqserver backup ~/history-monday.sqlite"
    max_arguments = 1

    def run(self, log: Path) -> None:
        target = user_path(self.extra_args[0])
        found = backup(log, target)
        print(f"{log} is backed up in {target}: {_describe(found)}")
        if found.attachments:
            print(f"the attachments are in {attachments_path(target)}: keep both files together")


class Restore(LogCommand):
    """Replace the log by the backup FILE. Its server must be stopped; clients then reload their rooms."""

    name = "bqserver restore"
    examples = "bqserver restore ~/history-monday.sqlite"
    max_arguments = 1

    def run(self, log: Path) -> None:
        source = user_path(self.extra_args[0])
        found, former = restore(log, source)
        print(f"{log} was restored from {source}: {_describe(found)}")
        if former is not None:
            print(f"the former log was moved to {former}: delete it when you no longer need it")
        with contextlib.closing(connect(log, readonly=True)) as db:
            missing = sum(1 for _ in find_attachment_problems(db, attachments_path(log)))
        if missing:
            print(
                f"{missing:,} attachments are missing: put their file at {attachments_path(source)} and restore again"
            )


class Check(LogCommand):
    """Verify the log, whether its server runs or not: SQLite's own check, and the consistency of each room's entries."""

    name = "bqserver check"
    examples = "bqserver check --log=sqlite:~/history-monday.sqlite"

    def run(self, log: Path) -> None:
        with contextlib.closing(connect(log, readonly=True)) as db:
            found = chain(find_problems(db), find_attachment_problems(db, attachments_path(log)))
            printed = list(islice(found, MAX_PRINTED_PROBLEMS))
            if not printed:
                contents = count_contents(db)._replace(attachments=count_attachments(attachments_path(log)))
                print(f"{log} is good: {_describe(contents)}")
                return
            more = sum(1 for _ in found)
        for problem in printed:
            print(problem)
        rest = f" ({more:,} more problems)" if more else ""
        self.exit_with_error(
            f"{log} is damaged{rest}: stop its server and restore a backup with 'bqserver restore FILE'"
        )


class Purge(LogCommand):
    """Delete message SEQ of ROOM and remove its text and attachments from the files, whether the server runs or not."""

    name = "bqserver purge"
    examples = "bqserver purge lobby 1234"
    max_arguments = 2
    arguments = "a room and the seq of a message", "ROOM SEQ"

    single = Bool(False, help="With nats: accept a single NATS server.").tag(config=True)
    nats_creds = Unicode("", help="With nats: file with credentials (.creds).").tag(config=True)
    nats_ca = Unicode("", help="With nats over TLS: CA certificate (PEM). Default: the system's.").tag(config=True)
    aliases = Dict({"log": "LogCommand.log_url", "nats-creds": "Purge.nats_creds", "nats-ca": "Purge.nats_ca"})
    flags = Dict({"single": ({"Purge": {"single": True}}, "With nats: accept a single NATS server.")})

    def run_on(self, url: str) -> None:
        _, seq = self.extra_args
        if not (seq.isascii() and seq.isdigit()):
            raise SettingError(f"{printable(seq)} is not the seq of a message: give a number")
        if not url.startswith(CLUSTER_SCHEMES):
            if self.single or self.nats_creds or self.nats_ca:
                raise SettingError(
                    f"--single, --nats-creds and --nats-ca are for a cluster, and --log={url} is none: remove them"
                )
            super().run_on(url)
            return
        try:
            from bqserver.transfer.purge import purge_in_stream  # noqa: PLC0415 - the extra "cluster"
        except ImportError:
            raise SettingError("--log=nats://... needs a package: pip install nats-py[nkeys]") from None
        room, number = self.extra_args[0], int(seq)
        credentials = {"credentials": self.nats_creds, "ca": self.nats_ca}
        print(asyncio.run(purge_in_stream(url, room, number, single=self.single, **credentials)))

    def run(self, log: Path) -> None:
        room, seq = self.extra_args
        if not log.is_file():
            raise StorageError(f"{log} does not exist: give the file of the server with --log=sqlite:PATH")
        log = log.resolve()
        if is_locked(log):
            print(request_purge(log, room, int(seq)))
        else:
            print(asyncio.run(_purge_stopped(log, room, int(seq))))


async def _purge_stopped(path: Path, room: str, seq: int) -> str:
    log = SqliteLog(path)
    try:
        return await purge(log, room, seq)
    finally:
        await log.close()


def _describe(contents: Contents) -> str:
    rooms, entries, attachments = contents
    text = f"{rooms:,} {'room' if rooms == 1 else 'rooms'}, {entries:,} {'entry' if entries == 1 else 'entries'}"
    if attachments:
        text += f", {attachments:,} {'attachment' if attachments == 1 else 'attachments'}"
    return text
