"""Outcomes: the errors of drafts and of uploads, as the threads that wait for them get them."""

from __future__ import annotations

from concurrent.futures import Future

import pytest

from bqwidget._client.outbox import Delivery
from bqwidget._client.outcomes import resolve, to_refusal
from bqwidget.errors import ConnectionRefused, MessageRefused
from bqwidget.protocol import Error


def test_a_refused_upload_says_when_it_may_be_repeated() -> None:
    error = to_refusal(ConnectionRefused("full", url="http://127.0.0.1", status=507, code="full", retry_after=3.0))
    assert isinstance(error, MessageRefused)
    assert (error.code, error.status, error.retry_after) == ("full", 507, 3.0)


def test_a_refused_draft_raises_the_server_s_reason() -> None:
    waiting: Future[Delivery] = Future()
    resolve(waiting, Error(code="muted", message="a moderator has muted ada", cid="c1"))
    with pytest.raises(MessageRefused, match="muted ada") as refused:
        waiting.result(0)
    assert refused.value.code == "muted"
