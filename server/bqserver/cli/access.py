"""``bqserver rights accept`` and ``bqserver moderation accept``: deliberate removal of rights and of moderation.

A server keeps the last good state of these files when they are lost, emptied or cut off.
"""

from __future__ import annotations

from pathlib import Path

from traitlets import Dict

from bqserver.auth.access_file import accept
from bqserver.auth.file_watcher import RIGHTS
from bqserver.auth.moderation import MODERATION, moderation_path
from bqserver.config.paths import DataFile, data_dir
from bqserver.storage.sqlite.lock import HistoryLock

from .application import Command, CommandGroup
from .maintenance import LogCommand


class AcceptRights(Command):
    """Let the file of rights be as it is now. Needed after deleting, emptying or cutting it off at the end.

    A running server follows within a second.
    """

    name = "bqserver rights accept"
    rights = DataFile("rights.toml", help="File of rights in rooms. Default: rights.toml in your data folder.").tag(
        config=True
    )
    aliases = Dict({"rights": "AcceptRights.rights"})

    def start(self) -> None:
        super().start()
        with self.reported_errors():
            print(accept(Path(self.rights).expanduser(), RIGHTS, spare_folder=data_dir()))


class AcceptModeration(LogCommand):
    """Let the file of closed rooms and mutes (next to the log) be as it is now, as after deleting it.

    The server must be stopped.
    """

    name = "bqserver moderation accept"

    def run(self, log: Path) -> None:
        lock = HistoryLock(log.resolve())
        try:
            print(accept(moderation_path(log), MODERATION))
        finally:
            lock.release()


class Rights(CommandGroup):
    """The rights of members in rooms, which are edited in a file."""

    name = "bqserver rights"
    usage = "accept"
    subcommands = Dict({"accept": (AcceptRights, "Let the file be as it is, also if it is missing.")})


class Moderation(CommandGroup):
    """Closed rooms and mutes, which moderators set in their rooms."""

    name = "bqserver moderation"
    usage = "accept"
    subcommands = Dict({"accept": (AcceptModeration, "Let the file be as it is, also if it is missing.")})
