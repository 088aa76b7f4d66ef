"""What a window asks the server through its kernel, which alone has a connection and a token."""

from __future__ import annotations

from bqwidget._client.http_client import HttpClient
from bqwidget.protocol import Message

from .commands import HistoryCommand, Query, SearchCommand

INVITE_MINUTES = 60
"""How long the link from the window's "Share" admits one person."""


async def query(command: Query, room: str, http: HttpClient) -> list[Message] | str:
    match command:
        case HistoryCommand(before=before, after=after, around=around, at=at, limit=limit):
            return await http.messages(before=before, after=after, around=around, at=at, limit=limit)
        case SearchCommand(q=words, limit=limit):
            return await http.search(words, limit)
        case _:
            url = http.endpoint.http_url(f"rooms/{room}")
            return url + await http.invite(1, INVITE_MINUTES) if command.invite else url
