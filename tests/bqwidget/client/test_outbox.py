"""The outbox: every draft gets one result, in order, under one cid."""

from __future__ import annotations

import pytest

from bqwidget._client.outbox import Outbox
from bqwidget.protocol import Ack, Change, Delete, Edit, Error, Expire, Message, React, Send, to_entry


def draft(cid):
    return Send(cid=cid, user="ada", text="hi")


def cids(drafts):
    return [one.cid for one in drafts]


def test_a_cid_is_queued_once():
    outbox = Outbox()
    outbox.put(draft("a"))
    outbox.put(draft("a"))
    assert (cids(outbox.take(0)), len(outbox), "a" in outbox, "b" in outbox) == (["a"], 1, True, False)


def test_a_late_ack_cancels_the_resend():
    outbox = Outbox()
    outbox.put(draft("a"))
    outbox.take(0)
    outbox.on_disconnect()
    assert outbox.on_ack(Ack(cid="a", seq=1, at=1, dup=False))
    assert outbox.take(1) == []
    assert len(outbox) == 1


def test_an_error_after_the_ack_is_ignored():
    outbox = Outbox()
    outbox.put(draft("a"))
    outbox.take(0)
    outbox.on_ack(Ack(cid="a", seq=1, at=1, dup=False))
    assert outbox.on_error(Error(code="conflict", message="", cid="a"), 0)
    assert outbox.results == []


def test_unknown_cids_are_ignored():
    outbox = Outbox()
    assert not outbox.on_ack(Ack(cid="x", seq=1, at=1, dup=False))
    assert not outbox.on_error(Error(code="rate", message="", cid="x"), 0)
    assert not outbox.on_error(Error(code="bad_json", message=""), 0)


def test_a_retry_delay_outlives_the_connection():
    outbox = Outbox()
    outbox.put(draft("a"))
    outbox.take(0)
    outbox.on_error(Error(code="rate", message="", cid="a", retry_ms=60_000), 0)
    assert (outbox.take(1), outbox.next_send_at()) == ([], 60)
    outbox.on_disconnect()
    assert (outbox.take(1), cids(outbox.take(60))) == ([], ["a"])


def test_after_a_refusal_the_window_starts_small():
    outbox = Outbox()
    for n in range(100):
        outbox.put(draft(f"{n}"))
    for cid in cids(outbox.take(0)):
        outbox.on_error(Error(code="rate", message="", cid=cid, retry_ms=1000), 0)
    counts, now = [], 1
    while drafts := outbox.take(now):
        counts.append(len(drafts))
        for one in drafts:
            outbox.delivered(one.cid, Message(seq=1, room="lobby", user="ada", text="hi", at=1))
    assert counts[:5] == [1, 2, 8, 64, 25]
    assert sum(counts) == 100


@pytest.mark.parametrize(
    ("made", "fields"),
    [
        (Edit(cid="c", user="ada", target=1, text="new"), {"kind": "edit", "text": "new"}),
        (Delete(cid="c", user="ada", target=1), {"kind": "delete"}),
        (
            React(cid="c", user="ada", target=1, emoji="👍", on=False),
            {"kind": "react", "emoji": "👍", "on": False},
        ),
        (Expire(cid="c", user="ada", target=1), {"kind": "expire"}),
    ],
)
def test_a_change_draft_becomes_a_change(made, fields):
    ack = Ack(cid="c", seq=5, at=50, dup=False)
    assert to_entry(made, room="lobby", seq=ack.seq, at=ack.at) == Change(
        seq=5, room="lobby", user="ada", at=50, target=1, cid="c", **fields
    )


def test_a_send_draft_becomes_a_message():
    ack = Ack(cid="c", seq=5, at=50, dup=False)
    made = Send(cid="c", user="ada", text="yes", re=1, choice="yes")
    assert to_entry(made, room="lobby", seq=ack.seq, at=ack.at) == Message(
        seq=5, room="lobby", user="ada", text="yes", at=50, cid="c", re=1, choice="yes"
    )
