"""Formats: turns as the messages of OpenAI's, Anthropic's and pydantic-ai's APIs, as JSON types. Pure.

With several people, each of their texts begins with "name: "; each message stays a part of its own, so that no text can
add a line in the name of someone else.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Sequence
from itertools import dropwhile, groupby
from typing import Any, Literal

from .turns import Turn

Format = Literal["openai", "anthropic", "pydantic_ai"]

_NOT_IN_NAMES = re.compile(r"[\s<|\\/>]+")
"""What OpenAI's ``name`` must not contain."""
MAX_OPENAI_NAME = 64


def to_openai(turns: Sequence[Turn]) -> list[dict[str, Any]]:
    """The ``messages`` of a chat completion. With several people, ``name`` is set too."""
    several = has_several_people(turns)
    messages: list[dict[str, Any]] = []
    for turn in turns:
        text = text_of(turn, several=several)
        if turn.own:
            messages.append({"role": "assistant", "content": text})
            continue
        message: dict[str, Any] = {"role": "user", "content": text}
        if turn.pictures:
            parts: list[Any] = [{"type": "text", "text": text}] if text else []
            for picture in turn.pictures:
                url = f"data:{picture.mime};base64,{b64encode(picture.data).decode()}"
                parts.append({"type": "image_url", "image_url": {"url": url}})
            message["content"] = parts
        if several and (name := _NOT_IN_NAMES.sub("_", turn.user)[:MAX_OPENAI_NAME]):
            message["name"] = name
        messages.append(message)
    return messages


def to_anthropic(turns: Sequence[Turn]) -> list[dict[str, Any]]:
    """The ``messages`` of Anthropic's API, where users and the assistant take turns, and a user begins."""
    several = has_several_people(turns)
    messages: list[dict[str, Any]] = []
    for own, group in _alternating(turns):
        blocks: list[dict[str, Any]] = []
        for turn in group:
            if text := text_of(turn, several=several):
                blocks.append({"type": "text", "text": text})
            for picture in turn.pictures:
                source = {"type": "base64", "media_type": picture.mime, "data": b64encode(picture.data).decode()}
                blocks.append({"type": "image", "source": source})
        is_plain = len(blocks) == 1 and blocks[0]["type"] == "text"
        messages.append({"role": "assistant" if own else "user", "content": blocks[0]["text"] if is_plain else blocks})
    return messages


def to_pydantic_ai(turns: Sequence[Turn]) -> list[dict[str, Any]]:
    """A ``message_history``, as pydantic-ai's ``ModelMessagesTypeAdapter`` reads it. A user begins, as some models need."""
    several = has_several_people(turns)
    messages: list[dict[str, Any]] = []
    for own, group in _alternating(turns):
        parts: list[dict[str, Any]]
        if own:
            parts = [{"part_kind": "text", "content": turn.text} for turn in group]
        else:
            parts = [
                {"part_kind": "user-prompt", "content": _pydantic_ai_content(turn, several=several)} for turn in group
            ]
        messages.append({"kind": "response" if own else "request", "parts": parts})
    return messages


FORMATS: dict[Format, Callable[[Sequence[Turn]], list[dict[str, Any]]]] = {
    "openai": to_openai,
    "anthropic": to_anthropic,
    "pydantic_ai": to_pydantic_ai,
}


def has_several_people(turns: Sequence[Turn]) -> bool:
    return len({turn.user for turn in turns if not turn.own}) > 1


def text_of(turn: Turn, *, several: bool) -> str:
    if turn.own or not several:
        return turn.text
    return f"{' '.join(turn.user.split())}: {turn.text}".rstrip()


def _alternating(turns: Sequence[Turn]) -> list[tuple[bool, list[Turn]]]:
    """Groups of consecutive turns of one role, from the first of a person on."""
    from_other = dropwhile(lambda turn: turn.own, turns)
    return [(own, list(group)) for own, group in groupby(from_other, key=lambda turn: turn.own)]


def _pydantic_ai_content(turn: Turn, *, several: bool) -> str | list[Any]:
    text = text_of(turn, several=several)
    if not turn.pictures:
        return text
    images = [
        {"kind": "binary", "media_type": picture.mime, "data": b64encode(picture.data).decode()}
        for picture in turn.pictures
    ]
    return [text, *images] if text else [*images]
