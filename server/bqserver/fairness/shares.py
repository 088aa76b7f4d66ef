"""What the members of one server share."""

from __future__ import annotations

from .budget import Budget
from .fair_queue import FairQueue

MAX_HELD_BYTES = 64 * 1024 * 1024
"""Bytes in memory of bodies on their way in, and as many each of answers and of attachments on their way out."""


class Shares:
    """One for a server process. ``max_attachment``: bytes of the longest attachment."""

    def __init__(self, max_attachment: int) -> None:
        max_bytes = max(MAX_HELD_BYTES, 2 * max_attachment)
        self.incoming = Budget(max_bytes)
        self.outgoing = Budget(max_bytes)
        self.attachments = Budget(max_bytes)  # apart: pictures that wait must not cut off a page or its script
        self.reads = FairQueue(slots=16, slots_each=2, max_waiting=1_000, waiting_each=200)
        self.searches = FairQueue(slots=6, slots_each=2, max_waiting=1_000, waiting_each=200)
        self.uploads = FairQueue(slots=4, slots_each=1, max_waiting=1_000, waiting_each=200)
        # The answer is sent in the turn. A browser repeats no picture, and a class behind one address asks for hundreds.
        self.downloads = FairQueue(slots=64, slots_each=8, max_waiting=2_000, waiting_each=500)
