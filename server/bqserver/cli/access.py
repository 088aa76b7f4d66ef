"""``bqserver rights accept`` and ``bqserver moderation accept``: deliberate removal of rights and of moderation.

A server keeps the last good state of these files when they are lost, emptied or cut off.
"""

from __future__ import annotations

from pathlib import Path

from traitlets import Dict, Unicode, default

import bqwidget
from bqserver.auth.access_file import accept
from bqserver.auth.file_watcher import RIGHTS
from bqserver.auth.moderation import MODERATION, moderation_path
from bqserver.config.paths import data_dir
from bqserver.storage.sqlite.lock import HistoryLock

from .application import Command
from .maintenance import LogCommand


class AcceptRights(Command):
    """Let the file of rights be as it is now. Needed after deleting, emptying or cutting it off at the end.

    A running server follows within a second.
    """

    name = "bqserver rights accept"
    description = __doc__
    version = bqwidget.__version__
    rights = Unicode(help="File of rights in rooms. Default: rights.toml in your data folder.").tag(config=True)
    aliases = Dict({"rights": "AcceptRights.rights"})
    flags = Dict({})

    @default("rights")
    def _default_rights(self) -> str:
        return str(data_dir() / "rights.toml")

    def start(self) -> None:
        super().start()
        with self.reported_errors():
            print(accept(Path(self.rights).expanduser(), RIGHTS, spare_folder=data_dir()))


class AcceptModeration(LogCommand):
    """Let the file of closed rooms and mutes (next to the log) be as it is now, as after deleting it.

    The server must be stopped.
    """

    name = "bqserver moderation accept"
    description = __doc__

    def run(self, log: Path) -> None:
        lock = HistoryLock(log.resolve())
        try:
            print(accept(moderation_path(log), MODERATION))
        finally:
            lock.release()


class _Group(Command):
    """A command with subcommands."""

    version = bqwidget.__version__

    def start(self) -> None:
        if self.subapp is None:
            self.exit_with_usage_error("give a command: accept")
        super().start()


class Rights(_Group):
    """The rights of members in rooms, which are edited in a file."""

    name = "bqserver rights"
    description = __doc__
    subcommands = Dict({"accept": (AcceptRights, "Let the file be as it is, also if it is missing.")})


class Moderation(_Group):
    """Closed rooms and mutes, which moderators set in their rooms."""

    name = "bqserver moderation"
    description = __doc__
    subcommands = Dict({"accept": (AcceptModeration, "Let the file be as it is, also if it is missing.")})
