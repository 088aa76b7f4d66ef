"""The verbs of reading: how many messages are unread, and marking them as read."""

from __future__ import annotations

import msgspec

from bqwidget._client.http_client import HttpClient
from bqwidget._room.history import HistoryMixin, Request
from bqwidget.protocol import Message, is_empty


class ReadingMixin(HistoryMixin):
    """The server keeps how far a verified member has read, for all their windows and kernels. Others keep it here."""

    def __init__(self) -> None:
        super().__init__()
        self._marked: tuple[str, int] = "", 0
        """The epoch of a log, and the seq up to which this Room has marked its messages as read."""

    def mark_read(self, message: Message | int | None = None) -> None:
        """Mark all messages up to ``message`` (a Message or a seq; None: the newest) as read, in all windows.

        It never moves back. A member whose name is not verified marks them for this Room alone.
        Raises ConnectionRefused, RoomClosed. Example: ``room.mark_read()``
        """
        self._mark(self._request(self._mark_request(message)))

    async def amark_read(self, message: Message | int | None = None) -> None:
        """``mark_read`` for code that awaits. Example: ``await room.amark_read()``"""
        self._mark(await self._arequest(self._mark_request(message)))

    def _mark_request(self, message: Message | int | None) -> Request[int]:
        """The seq up to which the room is read afterwards."""
        given = None if message is None else self._seq_of(message)
        session, path = self._connection.session, f"rooms/{self.name}/read"

        async def request(http: HttpClient) -> int:
            newest = max((each.seq for each in session.messages.newest(1)), default=0)
            seq = newest if given is None else given
            if session.hello is None or session.hello.user is None:
                return seq
            return int(msgspec.json.decode(await http.post(path, {"seq": seq}))["seq"])

        return request

    def _mark(self, seq: int) -> None:
        hello = self._connection.session.hello
        if hello is not None:
            epoch, marked = self._marked
            self._marked = hello.epoch, max(seq, marked if epoch == hello.epoch else 0)
        self._mark_changed()

    def _count_unread(self) -> int:
        """Of the kept messages. Where the server keeps no position, those since the join count."""
        connection, session = self._connection, self._connection.session
        with connection.lock:
            if session.hello is None or session.joined_seq is None:
                return 0
            read = session.joined_seq if session.hello.read is None else session.hello.read
            epoch, marked = self._marked
            messages = session.messages.after(max(read, marked) if epoch == session.hello.epoch else read)
            return sum(
                not is_empty(message) and not message.live and not self._is_of_reader(message) for message in messages
            )

    def _is_of_reader(self, message: Message) -> bool:
        """Whether this member's code or windows sent it, or the server knows that it did. Others may have its name."""
        if self._is_own(message) or self._member.is_typed_here(message.cid):
            return True
        return bool(message.verified) and self._connection.session.is_from(message, self.user)
