"""``bqserver backup``, ``restore`` and ``check``: what an operator does with a log's file."""

from __future__ import annotations

import contextlib
from itertools import chain, islice
from pathlib import Path

from traitlets import Dict, Unicode, default

import bqwidget
from bqserver.config.paths import data_dir
from bqserver.errors import ServerError
from bqserver.storage.sqlite.attachments import attachments_path
from bqserver.storage.sqlite.backup import backup, restore
from bqserver.storage.sqlite.check import (
    Contents,
    count_attachments,
    count_contents,
    find_attachment_problems,
    find_problems,
)
from bqserver.storage.sqlite.schema import connect

from .application import Command

MAX_PRINTED_PROBLEMS = 20
"""Problems that are told one by one."""


class LogCommand(Command):
    """A command about the file of ``--log``; ``run`` does it. The exit codes: 0 done, 1 it can't be, 2 bad usage."""

    version = bqwidget.__version__
    log_url = Unicode(
        "", help="The log it is about: sqlite:PATH. Default: the one in your data folder, as for the server."
    ).tag(config=True)
    aliases = Dict({"log": "LogCommand.log_url"})
    flags = Dict({})

    @default("log_url")
    def _default_log(self) -> str:
        return f"sqlite:{data_dir() / 'history.sqlite'}"

    def start(self) -> None:
        super().start()
        if len(self.extra_args) != self.max_arguments:
            self.exit_with_usage_error(f"name a file: {self.name} FILE")
        kind, _, path = self.log_url.partition(":")
        if kind != "sqlite" or not path:
            self.exit_with_usage_error(f"--log={self.log_url} is no file: give --log=sqlite:PATH")
        try:
            self.run(Path(path).expanduser())
        except ServerError as error:
            self.exit_with_error(error)

    def run(self, log: Path) -> None:
        """Raises StorageError."""
        raise NotImplementedError


class Backup(LogCommand):
    """Copy the log to FILE, complete and consistent, while its server runs or not."""

    name = "bqserver backup"
    description = __doc__
    examples = "bqserver backup ~/history-monday.sqlite"
    max_arguments = 1

    def run(self, log: Path) -> None:
        target = Path(self.extra_args[0]).expanduser()
        found = backup(log, target)
        print(f"{log} is backed up in {target}: {_count(found)}")
        if found.attachments:
            print(f"the attachments are in {attachments_path(target)}: keep both files together")


class Restore(LogCommand):
    """Put the backup FILE in the log's place. Its server must be stopped; clients then read their rooms anew."""

    name = "bqserver restore"
    description = __doc__
    examples = "bqserver restore ~/history-monday.sqlite"
    max_arguments = 1

    def run(self, log: Path) -> None:
        source = Path(self.extra_args[0]).expanduser()
        found, former = restore(log, source)
        print(f"{log} now holds what {source} does: {_count(found)}")
        if former is not None:
            print(f"the former log is kept in {former}: delete it when you are sure")
        with contextlib.closing(connect(log, readonly=True)) as db:
            missing = sum(1 for _ in find_attachment_problems(db, attachments_path(log)))
        if missing:
            print(
                f"{missing:,} attachments are missing: they belong in {attachments_path(source)}; "
                "put it there and restore again"
            )


class Check(LogCommand):
    """Verify the log, while its server runs or not: SQLite's own check, and what a room's entries promise."""

    name = "bqserver check"
    description = __doc__
    examples = "bqserver check --log=sqlite:~/history-monday.sqlite"

    def run(self, log: Path) -> None:
        with contextlib.closing(connect(log, readonly=True)) as db:
            wrong = chain(find_problems(db), find_attachment_problems(db, attachments_path(log)))
            told = list(islice(wrong, MAX_PRINTED_PROBLEMS))
            if not told:
                found = count_contents(db)._replace(attachments=count_attachments(attachments_path(log)))
                print(f"{log} is good: {_count(found)}")
                return
            more = sum(1 for _ in wrong)
        for problem in told:
            print(problem)
        rest = f" (and {more:,} more)" if more else ""
        self.exit_with_error(
            f"{log} is damaged{rest}: stop its server and restore a backup with 'bqserver restore FILE'"
        )


def _count(found: Contents) -> str:
    rooms, entries, parts = found
    told = (
        f"{rooms:,} {'room' if rooms == 1 else 'rooms'}, {entries:,} {'entry' if entries == 1 else 'entries'}"
    )
    return f"{told}, {parts:,} {'attachment' if parts == 1 else 'attachments'}" if parts else told
