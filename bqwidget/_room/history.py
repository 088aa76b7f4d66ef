"""History: a room as data: older messages, search, attachments, a DataFrame, and a transcript."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from bqwidget._client.http_client import HttpClient
from bqwidget._client.message_list import PAGE_SIZE, Messages
from bqwidget.errors import BqwidgetError, ConnectionRefused
from bqwidget.protocol import SHA256, Message, Part

from .arguments import check_all, check_count, check_flag, check_text, seq_of, wrong_type, wrong_value
from .sending import SendMixin
from .transcript import Transcript

if TYPE_CHECKING:
    import pandas as pd

REQUEST_TIMEOUT = 30.0
"""Seconds for a request to the server, including the join."""

Result = TypeVar("Result")
_decode_messages = msgspec.json.Decoder(list[Message]).decode


class HistoryMixin(SendMixin):
    """Every method that asks the server raises ConnectionRefused or RoomClosed."""

    name: str

    def history(self, before: Message | int | None = None, limit: int = 50) -> Messages:
        """The last ``limit`` messages before ``before`` (a Message or a seq; None: the newest), oldest first.

        Raises ConnectionRefused, RoomClosed. Example: ``older = room.history(before=message, limit=50)``
        """
        seq = None if before is None else seq_of(before, "before", least=0)
        limit = check_count("limit", limit)
        return Messages(self._request(lambda http: _history(http, seq, limit)))

    def search(self, text: str, limit: int = 50) -> Messages:
        """The newest ``limit`` (at most 200) messages of the whole room that contain all words of ``text``, oldest first.

        Raises ConnectionRefused, RoomClosed. Example: ``found = room.search("loss nan")``
        """
        check_text("text", text, "'loss nan'")
        limit = check_count("limit", limit, least=1, most=PAGE_SIZE)
        return Messages(self._request(lambda http: _search(http, self.name, text, limit)))

    def part(self, part: Part | str) -> bytes:
        """The bytes of the attachment ``part``: a Part such as ``message.parts[0]``, or its sha256.

        Raises ConnectionRefused, RoomClosed. Example: ``data = room.part(message.parts[0])``
        """
        sha256 = part.sha256 if isinstance(part, Part) else part
        if not isinstance(sha256, str):
            raise wrong_type("part", "an attachment such as message.parts[0], or its sha256", part)
        if not SHA256.fullmatch(sha256):
            raise wrong_value(
                "part", part, "write an attachment such as message.parts[0], or its sha256: 64 hex digits"
            )
        return self._request(lambda http: http.download(sha256))

    def df(self, *, history: bool = False, limit: int | None = None) -> pd.DataFrame:
        """The kept messages as a pandas DataFrame, one row each, oldest first.

        ``history``: all messages that the server has. ``limit``: only the newest ones; they are fetched if they are
        not kept. Columns ``at``, ``edited`` and ``expired`` are times in UTC, ``re`` is the seq of the message that
        a reply or an answer refers to, ``choice`` the chosen answer, ``parts`` the names of the attachments.
        Raises BqwidgetError without pandas, ConnectionRefused, RoomClosed. Example: ``room.df(limit=500)``
        """
        history = check_flag("history", history)
        limit = None if limit is None else check_count("limit", limit)
        try:
            import pandas as pd  # noqa: PLC0415 - needed only for a DataFrame
        except ImportError:
            raise BqwidgetError("room.df() needs pandas: pip install pandas") from None
        rows = [_row(message) for message in self._all(limit, history=history)]
        frame = pd.DataFrame(rows, columns=_COLUMNS)
        for name in _TIMES:
            frame[name] = pd.to_datetime(frame[name].astype("Int64"), unit="ms", utc=True)
        for name in _SEQS:
            frame[name] = frame[name].astype("Int64")
        return frame

    def transcript(self, messages: Iterable[Message] | None = None) -> Transcript:
        """``messages`` (default: the kept ones) as static output of a cell; ``str`` of it is plain text.

        Messages of others are saved in the notebook file only by this call. Example: ``room.transcript()``
        """
        if messages is not None:
            messages = check_all("messages", messages, Message, "room.messages[-5:]")
        return Transcript(self.name, self.messages if messages is None else messages)

    def _all(self, limit: int | None, *, history: bool) -> list[Message]:
        kept: list[Message] = self.messages
        if limit is not None and limit <= len(kept):
            return kept[len(kept) - limit :]
        if limit is None and not history:
            return kept
        before = kept[0].seq if kept else None
        older: list[list[Message]] = []
        missing = None if limit is None else limit - len(kept)
        while missing is None or missing > 0:
            size = PAGE_SIZE if missing is None else min(PAGE_SIZE, missing)
            page = self.history(before, size)
            older.append(page)
            if len(page) < size:
                break
            before = page[0].seq
            missing = None if missing is None else missing - size
        return [*(message for page in reversed(older) for message in page), *kept]

    def _request(self, request: Callable[[HttpClient], Coroutine[Any, Any, Result]]) -> Result:
        future = self._connection.request(request)
        try:
            return future.result(REQUEST_TIMEOUT)
        except TimeoutError:
            reason = self._connection.error or "no answer"
            state = self._connection.session.state
            raise ConnectionRefused(f"room {self.name} is {state}: {reason}", url="") from None


_COLUMNS = (
    *("seq", "at", "user", "text", "re", "choice", "answer", "edited", "expired", "deleted"),
    *("reactions", "verified", "parts", "cid"),
)
_TIMES = ("at", "edited", "expired")
_SEQS = ("seq", "re", "answer")


def _row(message: Message) -> list[Any]:
    return [_names(message.parts) if name == "parts" else getattr(message, name) for name in _COLUMNS]


def _names(parts: Iterable[Part]) -> tuple[str, ...]:
    return tuple(part.name or part.mime for part in parts)


async def _search(http: HttpClient, room: str, text: str, limit: int) -> list[Message]:
    return _decode_messages(await http.get(f"rooms/{room}/search", q=text, limit=limit))


async def _history(http: HttpClient, before: int | None, limit: int) -> list[Message]:
    found: list[Message] = []
    while len(found) < limit:
        size = min(PAGE_SIZE, limit - len(found))
        page = await http.messages(before=before, limit=size)
        found = [*page, *found]
        if len(page) < size:
            break
        before = page[0].seq
    return found
