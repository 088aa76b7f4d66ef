"""Moderation: what a moderator of the room may do. Only servers with named members have moderators."""

from __future__ import annotations

from typing import Literal

from bqwidget._client.http_client import HttpClient

from .arguments import check_number, check_text
from .history import HistoryMixin, Request


class ModerationMixin(HistoryMixin):
    """Every verb raises ConnectionRefused (``forbidden``) for those who may not moderate the room, and RoomClosed."""

    def mute(self, user: str, minutes: float | None = None) -> None:
        """Reject what ``user`` sends to this room, for ``minutes``, or until ``unmute``. Example: ``room.mute("bob", 10)``"""
        self._request(self._order("mute", user, minutes))

    async def amute(self, user: str, minutes: float | None = None) -> None:
        """``mute`` for code that awaits. Example: ``await room.amute("bob", minutes=10)``"""
        await self._arequest(self._order("mute", user, minutes))

    def unmute(self, user: str) -> None:
        """Accept messages of ``user`` again. Example: ``room.unmute("bob")``"""
        self._request(self._order("unmute", user))

    async def aunmute(self, user: str) -> None:
        """``unmute`` for code that awaits. Example: ``await room.aunmute("bob")``"""
        await self._arequest(self._order("unmute", user))

    def lock(self) -> None:
        """Close the room: only moderators may read it and write to it. Example: ``room.lock()``"""
        self._request(self._order("close"))

    async def alock(self) -> None:
        """``lock`` for code that awaits. Example: ``await room.alock()``"""
        await self._arequest(self._order("close"))

    def unlock(self) -> None:
        """Reopen the room for everyone whom its rights admit. Example: ``room.unlock()``"""
        self._request(self._order("reopen"))

    async def aunlock(self) -> None:
        """``unlock`` for code that awaits. Example: ``await room.aunlock()``"""
        await self._arequest(self._order("reopen"))

    def _order(
        self, do: Literal["mute", "unmute", "close", "reopen"], user: str | None = None, minutes: float | None = None
    ) -> Request[None]:
        body: dict[str, object] = {"do": do}
        if do in ("mute", "unmute"):
            check_text("user", user, "'bob'")
            body["user"] = user
        if minutes is not None:
            body["minutes"] = check_number("minutes", minutes, "minutes", positive=True)
        path = f"rooms/{self.name}/moderation"

        async def request(http: HttpClient) -> None:
            await http.post(path, body)

        return request
