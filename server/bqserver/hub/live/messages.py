"""The live messages of all rooms: members get their pieces at once, and the log gets them joined.

A piece is sent to the members that follow live messages: at once if the piece before it is 120 ms old, else joined with
what follows, until that is worth a frame. The log gets what it lacks at most once in 2 s, and at the end. Of a text that
is replaced instead of extended only the newest state counts, and the log gets it at most once in 30 s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from msgspec.structs import replace

from bqserver.hub.cluster import LiveRelay
from bqserver.hub.frames import append_frame
from bqserver.hub.orphans import Orphans
from bqserver.hub.room import ActiveRoom
from bqserver.model import LiveRow, Outcome, Rejected, Stored, Submission
from bqserver.storage.redaction import decode_change, decode_message
from bqserver.storage.sequencer import apply_entry
from bqserver.websocket.framing import text_frame
from bqwidget.protocol import Append, AppendFrame, Change, End, StopFrame, encode

from .content import Content, difference
from .message import LiveMessage
from .quota import LiveQuota
from .saving import GONE_CODES, Saver, Submit
from .variants import LIVE_FIELD, Variant, changing, opening


class LiveMessages:
    """The live messages, by room and seq (``rooms``). ``submit`` appends to the log; ``active``: the rooms that have
    members here.

    ``orphans`` ends the message of an author that is gone; ``grace``: seconds after a restart until that, at least.
    ``relay``: to the other nodes, if there are any.
    """

    def __init__(self, submit: Submit, active: Mapping[str, ActiveRoom], orphans: Orphans, grace: float) -> None:
        self.relay: LiveRelay | None = None
        self._submit = submit
        self._active = active
        self._orphans = orphans
        self._grace = grace
        self.rooms: dict[str, dict[int, LiveMessage]] = {}
        self.quota = LiveQuota(self._is_live)
        self._saver = Saver(submit, self._send, self._forget)
        self._loop = asyncio.get_running_loop()

    def find(self, room: str, seq: int) -> LiveMessage | None:
        """The live message ``seq``; None if there is none, or its end was submitted."""
        live = self.rooms.get(room, {}).get(seq)
        return None if live is None or live.ending else live

    def load(self, rows: Iterable[LiveRow]) -> None:
        """Continue the messages that an earlier process has left. Their authors have two graces to come back."""
        for room, seq, author, body in rows:
            live = LiveMessage(decode_message(body), self._loop.time())
            self.rooms.setdefault(room, {})[seq] = live
            live.rewritten = True
            self._set_author(live, author, 2 * self._grace)

    # ---- what the log has stored

    def on_entry(self, entry: Stored) -> Variant | None:
        """Apply an entry of the log. Returns what members are sent in its place; None: the entry itself."""
        lives = self.rooms.get(entry.room)
        if not entry.change:
            if LIVE_FIELD in entry.body:
                self._open(entry)
                return opening(entry)
            if lives and b'"re":' in entry.body:
                reply = decode_message(entry.body)
                if reply.re is not None and (asked := lives.get(reply.re)) is not None:
                    asked.message = apply_entry(asked.message, reply)
            return None
        if not lives:
            return None
        change = decode_change(entry.body)
        live = lives.get(change.target)
        if live is None:
            return None
        live.message = apply_entry(live.message, change)
        if not live.message.live:
            self._forget(live)
        sent = len(live.sent.text) if self._was_sent(live, change) else None
        return changing(entry, change, live.message, sent)

    def _open(self, entry: Stored) -> None:
        live = LiveMessage(decode_message(entry.body), self._loop.time())
        self.rooms.setdefault(entry.room, {})[entry.seq] = live
        if entry.author is not None:
            self._set_author(live, entry.author, self._grace)
        self._loop.call_soon(self._ask, live)  # its first pieces may have come before it

    def _was_sent(self, live: LiveMessage, change: Change) -> bool:
        """Whether the members that follow live messages were sent the text of ``change``."""
        saved = live.saved
        if self.relay is None or live.written_here or live.sent.text.startswith(saved.text):
            return True
        self._ask(live)
        if change.replace:
            return True  # it may be older than what they have: the answer decides
        live.newest = live.sent = saved
        return False

    # ---- other nodes

    def show(self, live: LiveMessage, content: Content) -> None:
        """Send the members here what another node has passed on."""
        live.rewritten = live.rewritten or not content.text.startswith(live.newest.text)
        live.newest, live.written_here = content, False
        self._send(live, relay=False)

    def ask_all(self) -> None:
        """Ask for the texts that other nodes have: this one may have missed pieces."""
        for live in [live for lives in self.rooms.values() for live in lives.values()]:
            self._ask(live)

    def _ask(self, live: LiveMessage) -> None:
        room, seq = live.message.room, live.message.seq
        if self.relay is not None and self.find(room, seq) is live and not live.written_here:
            self.relay.ask(room, seq)

    # ---- what its author writes

    def append(self, live: LiveMessage, piece: Append) -> None:
        """Pass on a piece, which begins within the text or at its end, and save it later."""
        newest = live.newest.after(piece)
        if newest == live.newest:
            return
        live.rewritten = live.rewritten or not newest.text.startswith(live.newest.text)
        live.newest, live.written_here = newest, True
        self._send_when_due(live)
        self._saver.later(live)

    def _send_when_due(self, live: LiveMessage) -> None:
        due = live.send_due()
        if self._loop.time() >= due:
            self._send(live)
        elif live.send_timer is None or live.send_timer.when() > due:
            if live.send_timer is not None:
                live.send_timer.cancel()
            live.send_timer = self._loop.call_at(due, self._send, live)

    def finish(self, live: LiveMessage, end: Submission, on_outcome: Callable[[Outcome], None]) -> None:
        """Submit the end of a message, after the rest of its text."""
        live.ending = True
        self._send(live)
        if live.saving is not None:
            live.saving.add_done_callback(lambda _: self._submit_end(live, end, on_outcome))
        else:
            self._submit_end(live, end, on_outcome)

    # ---- for members

    def send_pending(self, room: str) -> None:
        """Pass on all pieces now: who joins next is sent the newest texts, and what follows them."""
        for live in self.rooms.get(room, {}).values():
            self._send(live)
        if (active := self._active.get(room)) is not None:
            active.flush_live()

    def tails(self, room: str) -> list[bytes]:
        """The frames with what the log does not have yet, for a member that has all its entries."""
        found = [(live, live.tail()) for live in self.rooms.get(room, {}).values()]
        return [append_frame(live.frame(piece)) for live, piece in found if piece is not None]

    def newest(self, room: str, bodies: list[bytes]) -> list[bytes]:
        """Folded messages of the log, with the newest texts."""
        lives = self.rooms.get(room)
        return [self._newest(lives, body) if LIVE_FIELD in body else body for body in bodies] if lives else bodies

    def _newest(self, lives: dict[int, LiveMessage], body: bytes) -> bytes:
        message = decode_message(body)
        live = lives.get(message.seq)
        if live is None:
            return body
        return encode(replace(message, text=live.newest.text, progress=live.newest.progress))

    # ---- the end

    async def save_all(self) -> None:
        """Give the log what it does not have, and wait until it is stored."""
        await self._saver.save_all(
            [live for lives in self.rooms.values() for live in lives.values() if not live.ending]
        )

    def _submit_end(self, live: LiveMessage, end: Submission, on_outcome: Callable[[Outcome], None]) -> None:
        draft, rest = end.draft, live.append_draft()
        replaced = isinstance(draft, End) and draft.text is not None
        submit_end = partial(self._submit, end, partial(self._on_ended, live, on_outcome))
        if rest is None or (replaced and rest.progress is None):
            submit_end()
        elif self.relay is None:
            self._submit(live.submission(rest), lambda _: None)
            submit_end()  # in one commit: the end is not stored without the text
        else:
            self._submit(live.submission(rest), lambda _: submit_end())  # a stream may get them in any order

    def _on_ended(self, live: LiveMessage, on_outcome: Callable[[Outcome], None], outcome: Outcome) -> None:
        if isinstance(outcome, Rejected):
            live.ending = False
            if outcome.code in GONE_CODES:
                self._forget(live)
            elif live.author is not None:
                self._set_author(live, live.author, self._grace)  # who may have gone meanwhile
                self._saver.later(live)
        on_outcome(outcome)

    # ----

    def publish(self, room: str, frame: AppendFrame | StopFrame) -> None:
        """Send a frame that is no entry of the log to the members here that follow live messages."""
        if (active := self._active.get(room)) is not None:
            active.write_live(text_frame(encode(frame)))

    def stop(self, room: str, request: StopFrame) -> None:
        """Tell the members of all nodes that a live message should stop."""
        self.publish(room, request)
        if self.relay is not None:
            self.relay.send(room, request)

    def _send(self, live: LiveMessage, *, relay: bool = True) -> None:
        if live.send_timer is not None:
            live.send_timer.cancel()
            live.send_timer = None
        piece = difference(live.sent, live.newest)
        if piece is not None:
            before, live.sent, live.sent_at = live.sent.text, live.newest, self._loop.time()
            self.publish(live.message.room, live.frame(piece))
            if relay and self.relay is not None:
                self.relay.send(live.message.room, live.frame(piece), before)

    def _is_live(self, room: str, seq: int) -> bool:
        return seq in self.rooms.get(room, {})

    def _set_author(self, live: LiveMessage, author: str, grace: float) -> None:
        live.author = author
        self._orphans.writes(author, live.message.room, live.message.seq, partial(self._lose, live), grace)

    def _lose(self, live: LiveMessage, on_outcome: Callable[[Outcome], None]) -> None:
        """The author is gone. ``on_outcome`` repeats this if the end can't be stored now."""
        message = live.message
        if self.find(message.room, message.seq) is not live:
            return
        if live.author is not None and self._orphans.is_connected(
            live.author
        ):  # since this was tried for the first time
            self._set_author(live, live.author, self._grace)
        else:
            end = End(cid="", target=message.seq, end="lost", user=message.user)
            self.finish(live, live.submission(end), on_outcome)

    def _forget(self, live: LiveMessage) -> None:
        live.cancel_timers()
        room, seq = live.message.room, live.message.seq
        self.quota.release(room, seq)
        lives = self.rooms.get(room, {})
        if lives.pop(seq, None) is not None and not lives:
            del self.rooms[room]
        if live.author is not None:
            self._orphans.has_written(live.author, room, seq)
