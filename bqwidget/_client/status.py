"""Status: the state of a room, as a window gets it."""

from __future__ import annotations

from typing import Literal

from bqwidget.protocol import Struct

State = Literal["connecting", "open", "reconnecting", "closed"]


class StatusError(Struct, frozen=True, omit_defaults=False):
    code: str
    message: str


class Status(Struct, frozen=True, tag_field="type", tag="status", omit_defaults=False):
    """The state of the room. ``retry_at``: the time of the next join, ``now``: this computer's clock, both in
    milliseconds since the epoch.
    """

    status: State
    error: StatusError | None = None
    retry_at: int | None = None
    queued: int = 0
    now: int = 0
