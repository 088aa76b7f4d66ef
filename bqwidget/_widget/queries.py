"""What a window asks the server through its kernel, which alone has a connection and a token."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from bqwidget._client.http_client import HttpClient

from .commands import Answer, HistoryCommand, LinkCommand, ModerateCommand, Query, SearchCommand


async def query(command: Query, room: str, http: HttpClient) -> Answer:
    match command:
        case HistoryCommand(before=before, after=after, around=around, at=at, pinned=pinned, limit=limit):
            return await http.messages(
                before=before, after=after, around=around, at=at, pinned=bool(pinned), limit=limit
            )
        case SearchCommand(q=words, limit=limit):
            return await http.search(words, limit)
        case LinkCommand():
            url = http.endpoint.http_url(f"rooms/{room}")
            return url + await http.invite(command.uses, command.minutes) if command.invite else url
        case ModerateCommand(order=order, user=user, minutes=minutes):
            path = f"rooms/{room}/moderation"
            if order is not None:
                await http.post(path, {"do": order, "user": user, "minutes": minutes})
            return cast(dict[str, Any], msgspec.json.decode(await http.get(path)))
