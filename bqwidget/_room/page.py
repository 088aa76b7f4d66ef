"""The room's page: its address for browsers, and the links that admit people to it."""

from __future__ import annotations

import msgspec

from bqwidget._client.http_client import HttpClient
from bqwidget.errors import ConnectionRefused
from bqwidget.protocol import MAX_INVITE_MINUTES, MAX_INVITE_USES

from .arguments import check_count, check_number
from .history import REQUEST_TIMEOUT, Request
from .moderation import ModerationMixin


class PageMixin(ModerationMixin):
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


def _invite_request(uses: int, minutes: float) -> Request[str]:
    """The end of the link; empty where people log in otherwise."""
    uses = check_count("uses", uses, least=1, most=MAX_INVITE_USES)
    minutes = check_number("minutes", minutes, "minutes", most=MAX_INVITE_MINUTES, positive=True)

    async def request(http: HttpClient) -> str:
        try:
            body = await http.post("invites", {"uses": uses, "minutes": minutes})
        except ConnectionRefused as error:
            if error.code != "no_invites":
                raise
            return ""
        return f"#invite={msgspec.json.decode(body)['code']}"

    return request
