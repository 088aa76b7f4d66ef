"""``bqserver copy``: copy a SQLite log into a cluster, or a cluster's log into a SQLite file."""

from __future__ import annotations

import asyncio
import sys
import time

from traitlets import Bool, Dict, Unicode

from bqserver.files import user_path

from .application import Command


class Copy(Command):
    """Copy the log FROM to TO: one is sqlite:PATH, the other nats://HOST[,HOST...][/STREAM].

    Stop the servers of both logs first. Repeat the command to continue an interrupted copy. The copy is compared
    with the original at the end. Clients reload their rooms from a copy.
    """

    name = "bqserver copy"
    examples = "bqserver copy sqlite:history.sqlite nats://n1,n2,n3/rooms"
    max_arguments = 2
    single = Bool(False, help="Accept a single NATS server: losing its disk loses messages.").tag(config=True)
    nats_creds = Unicode("", help="File with credentials for NATS (.creds).").tag(config=True)
    aliases = Dict({"nats-creds": "Copy.nats_creds"})
    flags = Dict({"single": ({"Copy": {"single": True}}, "Accept a single NATS server.")})

    def start(self) -> None:
        super().start()
        kinds = [word.partition(":")[0] for word in self.extra_args]
        if len(kinds) != self.max_arguments or {"sqlite"} == set(kinds) or "sqlite" not in kinds:
            self.exit_with_usage_error(
                "give two logs, FROM and TO: one is sqlite:PATH, the other nats://HOST[,HOST...][/STREAM]"
            )
        try:
            from bqserver.transfer.copy import from_stream, to_stream  # noqa: PLC0415 - the extra "cluster"
        except ImportError:
            self.exit_with_error("this command needs a package: pip install nats-py[nkeys]")
        source, target = self.extra_args
        started_at, progress = time.monotonic(), _ProgressPrinter()
        with self.reported_errors():
            if kinds[0] == "sqlite":
                path = user_path(source.partition(":")[2]).resolve()
                copying = to_stream(path, target, single=self.single, credentials=self.nats_creds, on_progress=progress)
            else:
                path = user_path(target.partition(":")[2]).resolve()
                copying = from_stream(source, path, credentials=self.nats_creds, on_progress=progress)
            copied = asyncio.run(copying)
        print(
            f"copied and compared: {copied.rooms:,} rooms, {copied.entries:,} entries, "
            f"sha256 {copied.sha256[:12]}, {time.monotonic() - started_at:.1f} s"
        )


class _ProgressPrinter:
    """Prints at most one line per second on standard error."""

    def __init__(self) -> None:
        self._printed_at = 0.0

    def __call__(self, done: int, count: int) -> None:
        now = time.monotonic()
        if now - self._printed_at >= 1:
            self._printed_at = now
            print(f"{done:,} of {count:,}", file=sys.stderr, flush=True)
