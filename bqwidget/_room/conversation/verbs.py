"""``room.conversation``: the room's messages for a language model."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple

from bqwidget._client.http_client import HttpClient, is_permanent
from bqwidget._room.arguments import check_count, wrong_type, wrong_value
from bqwidget._room.callbacks.loop_guard import current_message, is_sent_by_code
from bqwidget._room.history import HistoryMixin
from bqwidget.errors import BqwidgetError, ConnectionRefused
from bqwidget.protocol import Message, Part

from .formats import FORMATS, Format
from .turns import select, to_turns, wanted_pictures, within


class _Plan(NamedTuple):
    """``messages`` in ``format``. ``missing``: the pictures that must be fetched first."""

    format: Format
    messages: list[Message]
    pictures: list[Part]
    missing: list[str]


class ConversationMixin(HistoryMixin):
    def __init__(self) -> None:
        super().__init__()
        self._pictures: dict[str, bytes] = {}
        """Those of the last conversation, by their sha256."""

    def conversation(
        self,
        format: Format = "openai",  # noqa: A002 - what users call it
        last: int = 50,
        *,
        upto: Message | int | None = None,
        max_chars: int | None = None,
        pictures: int = 5,
    ) -> list[Any]:
        """The newest kept messages for a language model, oldest first, as the messages of its API.

        ``format``: ``"openai"`` (the ``messages`` of a chat completion), ``"anthropic"``, or ``"pydantic_ai"`` (a
        ``message_history``). ``last``: how many messages at most, ``max_chars``: how many characters; the newest one is
        always included. ``upto``: the last message, a Message or its seq; None: the newest, or in a handler the message
        that it handles, so that each of several questions at once is answered on its own.

        What code sends under this member's name is the assistant's; with several people, each of theirs begins with
        "name: ". What other programs send is left out: answers of callbacks, streamed messages, progress, questions, and
        all that agents write. So are deleted messages, and those that are still being written. The newest ``pictures``
        of people are fetched and included; other attachments are named in the text. Without new pictures, nothing is
        waited for.

        Raises BqwidgetError without pydantic-ai for its format, ConnectionRefused, RoomClosed. Example::

            messages = [{"role": "system", "content": "Be brief."}, *room.conversation("openai", last=20)]
        """
        plan = self._plan_conversation(format, last, upto, max_chars, pictures)
        fetched = self._request(partial(_fetch, digests=plan.missing)) if plan.missing else {}
        return self._convert(plan, fetched)

    async def aconversation(
        self,
        format: Format = "openai",  # noqa: A002 - what users call it
        last: int = 50,
        *,
        upto: Message | int | None = None,
        max_chars: int | None = None,
        pictures: int = 5,
    ) -> list[Any]:
        """``conversation`` for code that awaits. Example: ``messages = await room.aconversation("anthropic")``"""
        plan = self._plan_conversation(format, last, upto, max_chars, pictures)
        fetched = await self._arequest(partial(_fetch, digests=plan.missing)) if plan.missing else {}
        return self._convert(plan, fetched)

    def _plan_conversation(
        self,
        format: object,  # noqa: A002
        last: int,
        upto: Message | int | None,
        max_chars: int | None,
        pictures: int,
    ) -> _Plan:
        if not isinstance(format, str):
            raise wrong_type("format", "text such as 'openai'", format)
        known: Format | None = next((name for name in FORMATS if name == format), None)
        if known is None:
            raise wrong_value("format", format, f"write {', '.join(map(repr, FORMATS))}")
        if known == "pydantic_ai":
            _pydantic_ai_messages([])  # without it, nothing is fetched
        last = check_count("last", last, least=1)
        max_chars = None if max_chars is None else check_count("max_chars", max_chars, least=1)
        limit = check_count("pictures", pictures)
        handled = current_message()
        if upto is None and handled is not None and handled.room == self.name:
            upto = handled
        seq = None if upto is None else self._seq_of(upto, "upto")
        messages = within(select(self.messages, self._is_assistant, seq), last, max_chars)
        wanted = wanted_pictures(messages, self._is_assistant, limit)
        missing = {part.sha256 for part in wanted} - self._pictures.keys()
        return _Plan(known, messages, wanted, sorted(missing))

    def _convert(self, plan: _Plan, fetched: dict[str, bytes]) -> list[Any]:
        known = {**self._pictures, **fetched}
        self._pictures = {part.sha256: known[part.sha256] for part in plan.pictures if part.sha256 in known}
        messages = FORMATS[plan.format](to_turns(plan.messages, self._is_assistant, self._pictures))
        return _pydantic_ai_messages(messages) if plan.format == "pydantic_ai" else list(messages)

    def _is_assistant(self, message: Message) -> bool:
        """Sent by code under this member's name, also by an earlier kernel. What people type in a window is not."""
        return is_sent_by_code(message.cid) and self._connection.session.is_from(message, self.user)


async def _fetch(http: HttpClient, *, digests: Sequence[str]) -> dict[str, bytes]:
    """The attachments by their sha256, without those that the server no longer has."""

    async def fetch(digest: str) -> bytes | None:
        try:
            return await http.download(digest)
        except ConnectionRefused as error:
            if is_permanent(error):
                return None
            raise

    found = await asyncio.gather(*map(fetch, digests))
    return {digest: data for digest, data in zip(digests, found, strict=True) if data is not None}


def _pydantic_ai_messages(messages: list[Any]) -> list[Any]:
    try:
        adapter = import_module("pydantic_ai.messages").ModelMessagesTypeAdapter
    except ImportError:
        raise BqwidgetError("this format needs pydantic-ai: pip install pydantic-ai-slim") from None
    return list(adapter.validate_python(messages))
