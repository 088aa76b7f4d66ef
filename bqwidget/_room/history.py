"""History: a room as data: older messages, search, attachments, a DataFrame, and a transcript."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from bqwidget._client.http_client import HttpClient
from bqwidget._client.message_list import PAGE_SIZE, Messages
from bqwidget.errors import BqwidgetError
from bqwidget.protocol import SHA256, Message, Part

from .arguments import check_all, check_count, check_flag, check_text, wrong_type, wrong_value
from .sending import SendMixin
from .transcript import Transcript

if TYPE_CHECKING:
    import pandas as pd

REQUEST_TIMEOUT = 30.0
"""Seconds that a request waits for the room to open; the request itself has the limits of the HttpClient."""

Result = TypeVar("Result")
Request = Callable[[HttpClient], Coroutine[Any, Any, Result]]


class HistoryMixin(SendMixin):
    """Every method that asks the server raises ConnectionRefused or RoomClosed."""

    def history(self, before: Message | int | None = None, limit: int = 50) -> Messages:
        """The last ``limit`` messages before ``before`` (a Message or a seq; None: the newest), oldest first.

        Raises ConnectionRefused, RoomClosed. Example: ``older = room.history(before=message, limit=50)``
        """
        return self._request(self._history_request(before, limit))

    async def ahistory(self, before: Message | int | None = None, limit: int = 50) -> Messages:
        """``history`` for code that awaits. Example: ``older = await room.ahistory(before=message)``"""
        return await self._arequest(self._history_request(before, limit))

    def search(self, text: str, limit: int = 50) -> Messages:
        """The newest ``limit`` (at most 200) messages of the whole room that contain all words of ``text``, oldest first.

        Raises ConnectionRefused, RoomClosed. Example: ``found = room.search("loss nan")``
        """
        return self._request(_search_request(text, limit))

    async def asearch(self, text: str, limit: int = 50) -> Messages:
        """``search`` for code that awaits. Example: ``found = await room.asearch("loss nan")``"""
        return await self._arequest(_search_request(text, limit))

    def get(self, seq: int) -> Message | None:
        """Message ``seq`` as it reads now; None if the room has none of that number.

        Raises ConnectionRefused, RoomClosed. Example: ``question = room.get(41)``
        """
        return self._request(partial(_get, seq=self._seq_of(seq, "seq")))

    async def aget(self, seq: int) -> Message | None:
        """``get`` for code that awaits. Example: ``question = await room.aget(41)``"""
        return await self._arequest(partial(_get, seq=self._seq_of(seq, "seq")))

    def thread(self, message: Message | int) -> Messages:
        """``message`` (a Message or a seq) and the replies to it, oldest first. It reads all that came after it.

        Raises ConnectionRefused, RoomClosed. Example: ``answers = room.thread(message)[1:]``
        """
        return self._request(partial(_thread, seq=self._seq_of(message)))

    async def athread(self, message: Message | int) -> Messages:
        """``thread`` for code that awaits. Example: ``answers = await room.athread(message)``"""
        return await self._arequest(partial(_thread, seq=self._seq_of(message)))

    def part(self, part: Part | str) -> bytes:
        """The bytes of the attachment ``part``: a Part such as ``message.parts[0]``, or its sha256.

        Raises ConnectionRefused, RoomClosed. Example: ``data = room.part(message.parts[0])``
        """
        return self._request(_part_request(part))

    async def apart(self, part: Part | str) -> bytes:
        """``part`` for code that awaits. Example: ``data = await room.apart(message.parts[0])``"""
        return await self._arequest(_part_request(part))

    def df(self, *, history: bool = False, limit: int | None = None) -> pd.DataFrame:
        """The kept messages as a pandas DataFrame, one row each, oldest first.

        ``history``: all messages that the server has. ``limit``: only the newest ones; they are fetched if they are
        not kept. Columns ``at``, ``edited`` and ``expired`` are times in UTC, ``re`` is the seq of the message that
        a reply or an answer refers to, ``choice`` the chosen answer, ``parts`` the names of the attachments.
        Raises BqwidgetError without pandas, ConnectionRefused, RoomClosed. Example: ``room.df(limit=500)``
        """
        kept, request = self._newest(history, limit)
        return _frame([*(self._request(request) if request else ()), *kept])

    async def adf(self, *, history: bool = False, limit: int | None = None) -> pd.DataFrame:
        """``df`` for code that awaits. Example: ``frame = await room.adf(history=True)``"""
        kept, request = self._newest(history, limit)
        return _frame([*(await self._arequest(request) if request else ()), *kept])

    def transcript(self, messages: Iterable[Message] | None = None) -> Transcript:
        """``messages`` (default: the kept ones) as static output of a cell; ``str`` of it is plain text.

        Messages of others are saved in the notebook file only by this call. Example: ``room.transcript()``
        """
        if messages is not None:
            messages = check_all("messages", messages, Message, "room.messages[-5:]")
        return Transcript(self.name, self.messages if messages is None else messages)

    def _history_request(self, before: Message | int | None, limit: int) -> Request[Messages]:
        seq = None if before is None else self._seq_of(before, "before", least=0)
        return partial(_history, before=seq, limit=check_count("limit", limit))

    def _newest(self, history: object, limit: int | None) -> tuple[list[Message], Request[Messages] | None]:
        """The kept messages, or the newest ``limit`` of them, and the request for the older ones that belong to them."""
        history = check_flag("history", history)
        limit = None if limit is None else check_count("limit", limit)
        import_pandas()  # without it, nothing is fetched
        kept: list[Message] = self.messages
        if limit is not None and limit <= len(kept):
            return kept[len(kept) - limit :], None
        if limit is None and not history:
            return kept, None
        before = kept[0].seq if kept else None
        return kept, partial(_history, before=before, limit=None if limit is None else limit - len(kept))

    def _request(self, request: Request[Result]) -> Result:
        return self._connection.request(request, REQUEST_TIMEOUT).result()

    async def _arequest(self, request: Request[Result]) -> Result:
        return await asyncio.wrap_future(self._connection.request(request, REQUEST_TIMEOUT))


_COLUMNS = (
    *("seq", "at", "user", "text", "re", "choice", "answer", "edited", "expired", "deleted"),
    *("reactions", "verified", "parts", "cid"),
)
_TIMES = ("at", "edited", "expired")
_SEQS = ("seq", "re", "answer")


def import_pandas() -> Any:
    try:
        import pandas as pd  # noqa: PLC0415 - needed only for a DataFrame
    except ImportError:
        raise BqwidgetError("room.df() needs pandas: pip install pandas") from None
    return pd


def _frame(messages: Iterable[Message]) -> pd.DataFrame:
    pd = import_pandas()
    frame: Any = pd.DataFrame([_row(message) for message in messages], columns=_COLUMNS)
    for name in _TIMES:
        # float64 is exact for milliseconds; pandas 2's way from Int64 warns with NumPy 2.5
        frame[name] = pd.to_datetime(frame[name].astype("float64"), unit="ms", utc=True)
    for name in _SEQS:
        frame[name] = frame[name].astype("Int64")
    return frame


def _row(message: Message) -> list[Any]:
    return [_names(message.parts) if name == "parts" else getattr(message, name) for name in _COLUMNS]


def _names(parts: Iterable[Part]) -> tuple[str, ...]:
    return tuple(part.name or part.mime for part in parts)


def _search_request(text: str, limit: int) -> Request[Messages]:
    check_text("text", text, "'loss nan'")
    return partial(_search, text=text, limit=check_count("limit", limit, least=1, most=PAGE_SIZE))


def _part_request(part: Part | str) -> Request[bytes]:
    sha256 = part.sha256 if isinstance(part, Part) else part
    if not isinstance(sha256, str):
        raise wrong_type("part", "an attachment such as message.parts[0], or its sha256", part)
    if not SHA256.fullmatch(sha256):
        raise wrong_value("part", part, "write an attachment such as message.parts[0], or its sha256: 64 hex digits")
    return lambda http: http.download(sha256)


async def _search(http: HttpClient, *, text: str, limit: int) -> Messages:
    return Messages(await http.search(text, limit))


async def _get(http: HttpClient, *, seq: int) -> Message | None:
    found = await http.messages(around=seq, limit=1)
    return next((message for message in found if message.seq == seq), None)


async def _thread(http: HttpClient, *, seq: int) -> Messages:
    found = Messages(message for message in await http.messages(around=seq, limit=1) if message.seq == seq)
    while page := await http.messages(after=seq, limit=PAGE_SIZE):
        found += [message for message in page if found and message.re == found[0].seq]
        seq = page[-1].seq
    return found


async def _history(http: HttpClient, *, before: int | None, limit: int | None) -> Messages:
    """The last ``limit`` messages below ``before``, or all of them, in pages."""
    pages: list[list[Message]] = []
    while limit is None or limit > 0:
        size = PAGE_SIZE if limit is None else min(PAGE_SIZE, limit)
        page = await http.messages(before=before, limit=size)
        pages.append(page)
        if len(page) < size:
            break
        before = page[0].seq
        limit = None if limit is None else limit - size
    return Messages(message for page in reversed(pages) for message in page)
