"""Messages as data for a model: JSON, pictures, tables, within a budget."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterable
from typing import Any

import msgspec
from mcp_types import CallToolResult, ContentBlock, ImageContent, TextContent

from bqwidget.errors import BqwidgetError
from bqwidget.protocol import IMAGES, TABLE, Message, Part, Table
from bqwidget.room import Room

MAX_CHARACTERS = 40_000
"""Characters of text in one result; the first message is always whole."""
MAX_PICTURES = 4
MAX_PICTURE_BYTES = 1024 * 1024
MAX_TABLE_ROWS = 50
SHOWN_PICTURE_TYPES = IMAGES - {"image/svg+xml"}
"""Models read bitmaps."""

_decode_table = msgspec.json.Decoder(Table).decode


def describe(message: Message) -> dict[str, Any]:
    """``message`` as a tool returns it: ``{seq, user, verified, at, text, ...}``, ``at`` in ISO 8601, UTC."""
    described: dict[str, Any] = {
        "seq": message.seq,
        "user": message.user,
        "verified": message.verified,
        "at": message.time.isoformat(timespec="milliseconds"),
        "text": message.text,
    }
    if message.re is not None:
        described["re"] = message.re
    if message.choice is not None:
        described["choice"] = message.choice
    if message.ask is not None:
        described["question"] = {
            "choices": list(message.ask.choices or ()),
            "only_from": list(message.ask.asked),
            "answer": message.answer,
            "expired": message.expired is not None,
        }
    if message.live:
        described["unfinished"] = True
    if message.deleted:
        described["deleted"] = True
    if message.parts:
        described["parts"] = [
            {"mime": part.mime, "name": part.name or part.mime, "bytes": part.size} for part in message.parts
        ]
    return described


def page(messages: Iterable[Message]) -> tuple[list[Message], bool]:
    """The first of ``messages`` within MAX_CHARACTERS, and whether there are more; at least one, if there is one."""
    taken: list[Message] = []
    characters = 0
    for message in messages:
        characters += len(message.text)
        if taken and characters > MAX_CHARACTERS:
            return taken, True
        taken.append(message)
    return taken, False


def result(data: dict[str, Any], blocks: Iterable[ContentBlock] = ()) -> CallToolResult:
    """A tool's result: ``data`` as structured content and as JSON text, then ``blocks``."""
    text = TextContent(type="text", text=msgspec.json.encode(data).decode())
    return CallToolResult(content=[text, *blocks], structured_content=data)


def failure(error: BqwidgetError) -> CallToolResult:
    """The result of a tool that could not do it: the sentence that says why."""
    code = getattr(error, "code", None)
    text = f"{error} ({code})" if code else str(error)
    return CallToolResult(content=[TextContent(type="text", text=text)], is_error=True)


async def attachments(room: Room, messages: Iterable[Message]) -> list[ContentBlock]:
    """The tables and pictures of ``messages``, each after a line of JSON that says whose it is; large ones are named only."""
    blocks: list[ContentBlock] = []
    pictures = 0
    for message in messages:
        for part in message.parts:
            is_picture = part.mime in SHOWN_PICTURE_TYPES
            if not is_picture and part.mime != TABLE:
                continue
            described: dict[str, Any] = {"part_of": message.seq, "name": part.name or part.mime}
            if part.size > MAX_PICTURE_BYTES or (is_picture and pictures >= MAX_PICTURES):
                described["left_out"] = f"{part.size:,} bytes: read message {message.seq} alone, or look in the room"
                blocks.append(_json(described))
                continue
            data = await _download(room, part)
            if is_picture:
                pictures += 1
                blocks += [
                    _json(described),
                    ImageContent(type="image", data=base64.b64encode(data).decode(), mime_type=part.mime),
                ]
            else:
                table = _decode_table(data)
                described.update(columns=table.columns, rows=table.rows[:MAX_TABLE_ROWS], total_rows=table.total_rows)
                blocks.append(_json(described))
    return blocks


async def _download(room: Room, part: Part) -> bytes:
    return await asyncio.to_thread(room.part, part)


def _json(data: dict[str, Any]) -> TextContent:
    return TextContent(type="text", text=msgspec.json.encode(data).decode())
