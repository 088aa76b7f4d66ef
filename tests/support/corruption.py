"""Harm that is done to a server's files behind its back."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from bqserver.testing import RunningServer


def lose_entries(server: RunningServer) -> None:
    """Somebody takes the table of entries away from the file it reads: its log, or its view of a cluster's."""
    app = server.app
    path = app.view if app.log_url.startswith("nats:") else app.log_url.partition(":")[2]
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("DROP TABLE entry")
