"""The limits of chat.v1: fixed ones, and those that each server configures. Lengths are in characters."""

from __future__ import annotations

import re

from .base import Struct

SUBPROTOCOL = "chat.v1"
ROOM_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
MAX_CID = 64
MAX_EMOJI = 16
MAX_EMOJIS = 50
"""Different emoji on one message."""
MAX_REACTIONS = 1_000
"""Reactions on one message: pairs of an emoji and a name."""
MAX_VOTES = 1_000
"""Users who have voted in one poll."""
MAX_CHOICES = 50
MAX_CHOICE = 1_000
MAX_ASKED = 200
"""Users that one question may name as those who may answer."""
MAX_PARTS = 20
MAX_NAME = 255
"""Characters in an attachment's name."""
MAX_NOTEBOOK_PATH = 1_000
MAX_CELL_ID = 255
"""Characters; VS Code's ids are longer than the 64 of a notebook file."""
MAX_INVITE_USES = 100
MAX_INVITE_MINUTES = 7 * 24 * 60
MAX_MUTE_MINUTES = 100 * 366 * 24 * 60
MAX_STEPS = 50
"""Steps of one live message."""
MAX_STEP_TITLE = 200
MAX_STEP_TEXT = 4_000
MAX_ACTIVITY = 80
"""Characters in what a member says it is doing."""
MAX_COMMANDS = 200
MAX_COMMAND_NAME = 32
MAX_COMMAND_USAGE = 200
MAX_COMMAND_HELP = 200
MAX_TIME = 1 << 53
"""JavaScript's numbers are not exact above it."""
SHA256 = re.compile(r"[0-9a-f]{64}")
MAX_REPLAY = 500
"""With more missed entries, the server sends ``gap{reason: long}`` instead of replaying them."""


class Limits(Struct, frozen=True, omit_defaults=False):
    """What the server accepts, sent to every member in ``hello``."""

    text: int = 32_000
    """Characters (Unicode code points) in ``text``."""
    user: int = 64
    frame: int = 256 * 1024
    """Bytes in one frame or request body."""
    rate: int = 20
    """Messages per ``rate_ms`` and principal; 0: unlimited."""
    rate_ms: int = 10_000
    room: int = 64
    """Characters in a room's name."""
    buffer: int = 1024 * 1024
    """Bytes that may be buffered for a slow reader before its connection is closed (4008)."""
    part: int = 10 * 1024 * 1024
    """Bytes in one attachment; 0: the server accepts none."""
