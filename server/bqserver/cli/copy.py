"""``bqserver copy``: a log's file into a cluster, and a cluster's rooms into a file."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from traitlets import Bool, Dict, Unicode

import bqwidget
from bqserver.errors import ServerError

from .application import Command


class Copy(Command):
    """Copy the log FROM into TO, the one sqlite:PATH, the other nats://HOST[,HOST...][/STREAM], whichever way.

    Stop the servers of both first. A copy that was interrupted goes on when the same command is given again, and
    what arrived is compared with what was there. Clients read their rooms anew from a copy.
    """

    name = "bqserver copy"
    description = __doc__
    version = bqwidget.__version__
    examples = "bqserver copy sqlite:history.sqlite nats://n1,n2,n3/rooms"
    max_arguments = 2
    single = Bool(False, help="One NATS server will do, so one lost disk may lose messages.").tag(config=True)
    nats_creds = Unicode("", help="File with credentials for NATS (.creds).").tag(config=True)
    aliases = Dict({"nats-creds": "Copy.nats_creds"})
    flags = Dict({"single": ({"Copy": {"single": True}}, "One NATS server will do.")})

    def start(self) -> None:
        super().start()
        kinds = [word.partition(":")[0] for word in self.extra_args]
        if len(kinds) != self.max_arguments or {"sqlite"} == set(kinds) or "sqlite" not in kinds:
            self.exit_with_usage_error(
                "name two logs: sqlite:PATH and nats://HOST[,HOST...][/STREAM], FROM first"
            )
        try:
            from bqserver.transfer.copy import from_stream, to_stream  # noqa: PLC0415 - the extra "cluster"
        except ImportError:
            self.exit_with_error("this needs the package: pip install bqwidget[cluster]")
        source, target = self.extra_args
        began = time.monotonic()
        try:
            if kinds[0] == "sqlite":
                path = Path(source.partition(":")[2]).expanduser().resolve()
                copied = asyncio.run(
                    to_stream(
                        path,
                        target,
                        single=self.single,
                        credentials=self.nats_creds,
                        on_progress=_ProgressPrinter(),
                    )
                )
            else:
                path = Path(target.partition(":")[2]).expanduser().resolve()
                copied = asyncio.run(
                    from_stream(source, path, credentials=self.nats_creds, on_progress=_ProgressPrinter())
                )
        except ServerError as error:
            self.exit_with_error(error)
        print(
            f"copied and compared: {copied.rooms:,} rooms, {copied.entries:,} entries, "
            f"sha256 {copied.sha256[:12]}, {time.monotonic() - began:.1f} s"
        )


class _ProgressPrinter:
    """A line a second, on standard error."""

    def __init__(self) -> None:
        self._told = 0.0

    def __call__(self, done: int, count: int) -> None:
        now = time.monotonic()
        if now - self._told >= 1:
            self._told = now
            print(f"{done:,} of {count:,}", file=sys.stderr, flush=True)
