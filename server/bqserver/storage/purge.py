"""Purging a message: it is deleted, and nothing of its content is left in the files when that is reported.

``bqserver purge`` talks to the server that has the log's file open through a request file next to it. A user who may write
in that folder can read the log anyway.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from pathlib import Path
from typing import Protocol

import msgspec

from bqserver.errors import AccessFileError, StorageError
from bqserver.files import open_private, read_private, write_private
from bqserver.model import Rejected, Submission
from bqwidget.protocol import Delete, Message, Struct

from .interface import MessageLog
from .redaction import decode_change, decode_message

MODERATOR = "moderator"
"""The name in the entry that deletes the message."""
POLL_INTERVAL = 1.0
"""Seconds between two looks for a request."""
ANSWER_TIMEOUT = 120.0
"""Seconds that the command waits for the server."""

_log = logging.getLogger("bqserver.log")


class PurgeableLog(MessageLog, Protocol):
    async def compact(self) -> None:
        """Remove what was deleted from all files now. Raises StorageError."""


class _Request(Struct, frozen=True):
    """``answer``: what the server has done, or why not (``failed``); None: not yet."""

    room: str
    seq: int
    answer: str | None = None
    failed: bool = False


async def purge(log: PurgeableLog, room: str, seq: int) -> str:
    """Delete message ``seq`` (of a change: its target) and its attachments. Returns what was done, as a sentence.

    Attachments stay where another message references them. Raises StorageError.
    """
    message = await find_message(log, room, seq)
    if not message.deleted:
        delete = Delete(cid="", user=MODERATOR, target=message.seq)
        [outcome] = await log.append([Submission(room, MODERATOR, delete, verified=True, moderator=True)])
        if isinstance(outcome, Rejected):
            raise StorageError(outcome.message)
    await log.compact()
    return f"message {message.seq} of room {room} is deleted, and removed from the files"


async def find_message(log: MessageLog, room: str, seq: int) -> Message:
    """Message ``seq`` as it reads now; of a change, its target. Raises StorageError if the room has none."""
    found = await log.entries(room, after=seq - 1, upto=seq, limit=1)
    if not found:
        raise StorageError(f"room {room} has no message {seq}")
    target = decode_change(found[0].body).target if found[0].change else seq
    messages = await log.messages(room, limit=1, before=target + 1)
    message = decode_message(messages[-1]) if messages else None
    if message is None or message.seq != target:
        raise StorageError(f"room {room} has no message {target} any more")
    return message


def request_path(log: Path) -> Path:
    return log.with_name(f"{log.name}-purge")


def request_purge(log: Path, room: str, seq: int) -> str:
    """``purge`` by the server that has the file ``log`` open; waits for it. Raises StorageError and AccessFileError."""
    path = request_path(log)
    try:
        os.close(open_private(path, os.O_WRONLY | os.O_EXCL))
    except FileExistsError:
        raise StorageError(f"another purge is running: wait for it, or delete {path} if there is none") from None
    except OSError as error:
        raise StorageError(f"{path} can't be written: {error.strerror}") from error
    try:
        write_private(path, msgspec.json.encode(_Request(room=room, seq=seq)))
        end = time.monotonic() + ANSWER_TIMEOUT
        while time.monotonic() < end:
            request = _read(path)
            if request is not None and request.answer is not None:
                if request.failed:
                    raise StorageError(request.answer)
                return request.answer
            time.sleep(POLL_INTERVAL / 10)
    finally:
        path.unlink(missing_ok=True)
    raise StorageError(
        f"the server that uses {log} does not answer: is it of an earlier version? Restart it, or stop it"
    )


async def serve_requests(log: PurgeableLog, path: Path) -> None:
    """Purge what ``request_purge`` asks for. Runs until cancelled."""
    while True:
        with contextlib.suppress(AccessFileError):  # written by another user, or not complete yet
            request = _read(path)
            if request is not None and request.answer is None:
                answer = await _answer(log, request)
                if _read(path) is not None:  # the command still waits
                    write_private(path, msgspec.json.encode(answer))
        await asyncio.sleep(POLL_INTERVAL)


async def _answer(log: PurgeableLog, request: _Request) -> _Request:
    try:
        done, failed = await purge(log, request.room, request.seq), False
    except StorageError as error:
        done, failed = str(error), True
    except Exception:  # noqa: BLE001 - the command must not wait in vain, and later requests are served
        _log.exception("an internal error while purging")
        done, failed = "an internal error of the server: see its log", True
    return msgspec.structs.replace(request, answer=done, failed=failed)


def _read(path: Path) -> _Request | None:
    data = read_private(path)
    try:
        return None if data is None else msgspec.json.decode(data, type=_Request)
    except msgspec.DecodeError:
        return None  # not complete yet
