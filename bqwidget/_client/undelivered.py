"""Report of what a closed room did not deliver."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress

from bqwidget.protocol import Send, printable
from bqwidget.session import Session

MAX_TEXTS, MAX_TEXT_LENGTH = 5, 60


def report_undelivered(session: Session, cids: Sequence[str], reason: Exception) -> None:
    """Print the messages that are lost: code may not look at the outcome of ``wait=False``, and a script just ends."""
    if not cids:
        return
    drafts = [session.outbox.find(cid) for cid in cids[:MAX_TEXTS]]
    texts = [printable(draft.text[:MAX_TEXT_LENGTH]) for draft in drafts if isinstance(draft, Send)]
    count = "1 message or change was" if len(cids) == 1 else f"{len(cids)} messages or changes were"
    known = f": {', '.join([*texts, *(['...'] if len(cids) > len(texts) else [])])}" if texts else ""
    with suppress(OSError, ValueError):  # stderr may be closed
        print(  # noqa: T201 - the last chance to tell
            f"bqwidget: {count} not delivered to room {session.room} ({reason}){known}", file=sys.stderr, flush=True
        )
