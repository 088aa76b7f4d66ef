"""``room.poll``: asks all members, and each has one vote."""

from __future__ import annotations

import time
from collections.abc import Iterable

from bqwidget import dispatch
from bqwidget._room.arguments import check_all, check_flag, check_text, check_timeout, wrong_value
from bqwidget.protocol import Ask

from .asking import SETTLE_TIMEOUT, QuestionMixin, check_choices
from .poll import Poll


class PollMixin(QuestionMixin):
    def poll(
        self,
        text: str,
        choices: Iterable[str],
        *,
        timeout: float | None = None,
        from_: str | Iterable[str] | None = None,
        wait: bool = True,
    ) -> Poll:
        """Ask all members ``text``, block until the poll has ended, and return it with its votes.

        ``choices``: distinct texts, shown as buttons. Every member has one vote, of which the last counts. It ends after
        ``timeout`` seconds (None: not by time), by ``poll.close()``, or when all in ``from_`` have voted: a user, or a
        list of users, who alone may vote then. ``wait=False``: return the open Poll at once. An interrupt ends the poll
        too. The callbacks of all rooms run meanwhile. Raises MessageRefused, DeliveryTimeout, RoomClosed.
        Example: ``room.poll("Which?", ["a", "b"], timeout=60, from_=["bob"]).votes``
        """
        return dispatch.wait(self.apoll(text, choices, timeout=timeout, from_=from_, wait=wait))

    async def apoll(
        self,
        text: str,
        choices: Iterable[str],
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - ends the poll for others too
        from_: str | Iterable[str] | None = None,
        wait: bool = True,
    ) -> Poll:
        """``poll`` for code that awaits. Example: ``poll = await room.apoll("Which?", ["a", "b"], from_=["bob"])``"""
        timeout, wait = check_timeout(timeout), check_flag("wait", wait)
        deadline = None if timeout is None else time.monotonic() + timeout
        expires = None if timeout is None else self._connection.server_time_ms() + int(timeout * 1000)
        ask = Ask(choices=_checked_choices(choices), from_=_checked_users(from_), expires=expires, poll=True)
        draft = self._draft(text, ask=ask)
        poll = Poll(self, draft, await self._post_question(draft, timeout), deadline)
        if wait:
            await self._wait_for_end(poll, deadline)
        return poll

    async def _wait_for_end(self, poll: Poll, deadline: float | None) -> None:
        connection = self._connection
        limit = None if deadline is None else max(0.0, deadline - time.monotonic()) + SETTLE_TIMEOUT
        try:
            await self._until(lambda: not poll.is_open or connection.session.state == "closed", limit)
            if poll.is_open and connection.close_error is not None:
                raise connection.close_error
        except BaseException:  # an interrupt, a cancellation, a closed room
            self._submit(self._expire_draft(poll.message), own=True)
            raise


def _checked_choices(choices: Iterable[str]) -> tuple[str, ...]:
    checked = check_choices(choices)
    if checked is None:
        raise wrong_value("choices", choices, "write a list of texts such as ['yes', 'no']")
    return checked


def _checked_users(users: str | Iterable[str] | None) -> tuple[str, ...] | None:
    if users is None:
        return None
    listed = (
        (users,) if isinstance(users, str) else check_all("from_", users, str, "['ann', 'bob'], the names of members")
    )
    if not listed:
        raise wrong_value("from_", listed, "write the names of members, or omit it to let everyone vote")
    return tuple(check_text("from_", user, "'bob', the name of a member") for user in dict.fromkeys(listed))
