"""Who gets into the room: its page's address, the links that admit people, and a moderator's orders."""

from __future__ import annotations

from typing import Literal

import msgspec

from bqwidget._client.http_client import HttpClient
from bqwidget._client.message_list import PAGE_SIZE, Messages
from bqwidget.errors import ConnectionRefused
from bqwidget.protocol import MAX_INVITE_MINUTES, MAX_INVITE_USES, MAX_MUTE_MINUTES, Message, React

from .arguments import check_count, check_number, check_text
from .delivery import DELIVERY_TIMEOUT
from .history import REQUEST_TIMEOUT, Request
from .reading.verbs import ReadingMixin

PIN_EMOJI = "📌"
"""The reaction that a pin is for clients and servers that do not know pins."""


class AccessMixin(ReadingMixin):
    """A moderator's verbs raise ConnectionRefused (``forbidden``) for others."""

    @property
    def url(self) -> str:
        """The address of the room's page, for a browser. It never contains a secret.

        Raises ConnectionRefused, LocalServerError or RoomClosed if no server is found. Example: ``print(room.url)``
        """
        connection = self._connection
        connection.wait_until(lambda: connection.endpoint or connection.close_error, REQUEST_TIMEOUT)
        if connection.endpoint is None:
            raise connection.error or connection.close_error or ConnectionRefused("no server found", url="")
        return connection.endpoint.http_url(f"rooms/{self.name}")

    def invite(self, uses: int = 1, minutes: float = 10) -> str:
        """A link that admits ``uses`` people within ``minutes``: a secret to share only with them.

        Where people log in otherwise, as in Jupyter, the plain address of the page. Raises ConnectionRefused,
        RoomClosed. Example: ``print(room.invite(uses=3, minutes=60))``
        """
        return self.url + self._request(_invite_request(uses, minutes))

    async def ainvite(self, uses: int = 1, minutes: float = 10) -> str:
        """``invite`` for code that awaits. Example: ``print(await room.ainvite(uses=3))``"""
        fragment = await self._arequest(_invite_request(uses, minutes))
        return self.url + fragment  # known by now, so that this does not wait

    def mute(self, user: str, minutes: float | None = None) -> None:
        """Reject what ``user`` sends to this room, for ``minutes``, or until ``unmute``. Example: ``room.mute("bob", 10)``"""
        self._request(_order_request(self.name, "mute", user, minutes))

    async def amute(self, user: str, minutes: float | None = None) -> None:
        """``mute`` for code that awaits. Example: ``await room.amute("bob", minutes=10)``"""
        await self._arequest(_order_request(self.name, "mute", user, minutes))

    def unmute(self, user: str) -> None:
        """Accept messages of ``user`` again. Example: ``room.unmute("bob")``"""
        self._request(_order_request(self.name, "unmute", user))

    async def aunmute(self, user: str) -> None:
        """``unmute`` for code that awaits. Example: ``await room.aunmute("bob")``"""
        await self._arequest(_order_request(self.name, "unmute", user))

    def pin(
        self, message: Message | int, *, on: bool = True, timeout: float | None = DELIVERY_TIMEOUT
    ) -> Message | None:
        """Pin ``message`` (a Message or its seq) for all members, or unpin it with ``on=False``; for moderators.

        Returns and raises as ``edit``. Example: ``room.pin(message)``
        """
        return self._folded(message, self._deliver(self._pin_draft(message, on=on), timeout))

    async def apin(
        self,
        message: Message | int,
        *,
        on: bool = True,
        timeout: float | None = DELIVERY_TIMEOUT,  # noqa: ASYNC109 - raises DeliveryTimeout
    ) -> Message | None:
        """``pin`` for code that awaits. Example: ``await room.apin(message)``"""
        return self._folded(message, await self._adeliver(self._pin_draft(message, on=on), timeout))

    def pins(self) -> Messages:
        """The pinned messages, at most the newest 200, oldest first.

        Raises ConnectionRefused, RoomClosed. Example: ``for message in room.pins(): print(message.text)``
        """
        return self._request(_pins)

    async def apins(self) -> Messages:
        """``pins`` for code that awaits. Example: ``pinned = await room.apins()``"""
        return await self._arequest(_pins)

    def _pin_draft(self, message: Message | int, *, on: bool) -> React:
        return msgspec.structs.replace(self._react_draft(message, PIN_EMOJI, on=on), pin=True)

    def lock(self) -> None:
        """Close the room: only moderators may read it and write to it. Example: ``room.lock()``"""
        self._request(_order_request(self.name, "close"))

    async def alock(self) -> None:
        """``lock`` for code that awaits. Example: ``await room.alock()``"""
        await self._arequest(_order_request(self.name, "close"))

    def unlock(self) -> None:
        """Reopen the room for everyone with rights in it. Example: ``room.unlock()``"""
        self._request(_order_request(self.name, "reopen"))

    async def aunlock(self) -> None:
        """``unlock`` for code that awaits. Example: ``await room.aunlock()``"""
        await self._arequest(_order_request(self.name, "reopen"))


async def _pins(http: HttpClient) -> Messages:
    return Messages(await http.messages(pinned=True, limit=PAGE_SIZE))


def _invite_request(uses: int, minutes: float) -> Request[str]:
    """The end of the link; empty where people log in otherwise."""
    uses = check_count("uses", uses, least=1, most=MAX_INVITE_USES)
    minutes = check_number("minutes", minutes, "minutes", most=MAX_INVITE_MINUTES, positive=True)
    return lambda http: http.invite(uses, minutes)


def _order_request(
    room: str,
    do: Literal["mute", "unmute", "close", "reopen"],
    user: str | None = None,
    minutes: float | None = None,
) -> Request[None]:
    """A moderator's order; ``user`` for the first two, ``minutes`` for a mute."""
    body: dict[str, object] = {"do": do}
    if do in ("mute", "unmute"):
        check_text("user", user, "'bob'")
        body["user"] = user
    if minutes is not None:
        body["minutes"] = check_number("minutes", minutes, "minutes", most=MAX_MUTE_MINUTES, positive=True)

    async def request(http: HttpClient) -> None:
        await http.post(f"rooms/{room}/moderation", body)

    return request
