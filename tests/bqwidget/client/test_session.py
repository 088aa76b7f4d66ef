"""The session, frame by frame: no sockets, no clock, no sleeping."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from support.client.any_network import EXAMPLES, AnyNetwork, draft, hello, joined, live, message, seqs, session

from bqwidget.protocol import (
    Ack,
    Change,
    ChangeFrame,
    Command,
    Error,
    Gap,
    Hello,
    Limits,
    Member,
    Message,
    MessageFrame,
    Ping,
    Presence,
    Resume,
    Synced,
    fold,
)
from bqwidget.session import MAX_HELD_FRAMES, Session

# ---- joining ----


def test_the_first_join_has_no_cursor_and_loads_the_list_by_pages():
    one = session(keep=250)
    assert one.resume_query() == {}
    assert one.receive([hello(300), live(301, 300), Synced(seq=301)], 0) == []
    assert (one.wanted_page.kind, one.wanted_page.seq, one.wanted_page.limit) == ("messages", 301, 200)
    assert one.receive_page(one.wanted_page, [message(seq) for seq in range(101, 301)], 0) == []
    assert (one.wanted_page.seq, one.wanted_page.limit) == (101, 50)
    assert one.state == "connecting"
    accepted = one.receive_page(one.wanted_page, [message(seq) for seq in range(51, 101)], 0)
    assert [type(frame) for frame in accepted] == [Hello, MessageFrame]
    assert seqs(one) == list(range(52, 302))
    assert one.state == "open"
    assert one.joined_seq == 300
    assert one.wanted_page is None


def test_a_snapshot_is_empty_until_the_list_is_loaded():
    """A window that opens meanwhile would show an empty room: for it the hello, which follows, is not new then."""
    one = session()
    one.receive([hello(3)], 0)
    assert one.snapshot(200, 0) == []
    assert one.receive_page(one.wanted_page, [message(seq) for seq in (1, 2, 3)], 0) == [hello(3)]
    assert [frame.entry.seq for frame in one.snapshot(200, 0) if isinstance(frame, MessageFrame)] == [1, 2, 3]


def test_an_empty_room_opens_empty():
    one = joined()
    assert (one.last_seq, seqs(one), one.messages.gapless_after) == (0, [], 0)
    one.receive([live(1, 0)], 0)
    assert seqs(one) == [1]


def test_frames_before_hello_are_ignored():
    one = session()
    assert one.receive([live(1, 0), Synced(seq=1), Gap(from_=0, to=9, reason="long")], 0) == []
    assert (one.last_seq, one.wanted_page, one.outgoing(0)) == (0, None, [])


def test_a_load_continues_after_a_reconnect():
    one = session()
    one.receive([hello(300)], 0)
    one.receive_page(one.wanted_page, [message(seq) for seq in range(101, 301)], 0)
    wanted = one.wanted_page
    one.on_disconnect(1)
    assert one.resume_query() == {"after": "300", "epoch": "e1"}
    one.receive([hello(301, resumed=True), live(301, 300), Synced(seq=301)], 2)
    assert one.wanted_page is wanted
    one.receive_page(one.wanted_page, [message(seq) for seq in range(1, 101)], 2)
    assert seqs(one) == list(range(1, 302))
    assert one.state == "open"


def test_changes_received_while_loading_are_folded_once():
    edited = Change(seq=11, room="lobby", user="ada", at=11, kind="edit", target=10, text="one")
    again = Change(seq=12, room="lobby", user="ada", at=12, kind="edit", target=10, text="two")
    one = session()
    one.receive([hello(10), ChangeFrame(entry=edited, prev=10), ChangeFrame(entry=again, prev=11)], 0)
    one.receive_page(one.wanted_page, [fold(fold(message(10), edited), again)], 0)
    assert one.messages.snapshot() == [fold(fold(message(10), edited), again)]


# ---- the client rule ----


def test_duplicate_entries_are_dropped():
    one = joined(1, 2)
    assert one.receive([live(2, 1), live(1, 0)], 0) == []
    assert seqs(one) == [1, 2]


def test_a_missing_entry_is_requested_once():
    one = joined(1, 2)
    assert one.receive([live(5, 4), live(6, 5)], 0) == []
    assert one.outgoing(0) == [Resume(after=2, epoch="e1")]
    assert one.outgoing(0) == []
    one.receive([live(4, 2), live(5, 4), live(6, 5), Synced(seq=6)], 0)
    assert seqs(one) == [1, 2, 4, 5, 6]
    assert one.outgoing(0) == []


def test_a_lost_resume_is_sent_again():
    one = joined(1)
    one.receive([live(3, 2)], 0)
    one.outgoing(0)
    one.receive([Synced(seq=3)], 0.5)
    assert one.outgoing(0.5) == []
    one.receive([Synced(seq=3)], 2)
    assert one.outgoing(2) == [Resume(after=1, epoch="e1")]


def test_synced_reveals_lost_entries():
    one = joined(1)
    one.receive([Synced(seq=2)], 0)
    assert one.outgoing(0) == [Resume(after=1, epoch="e1")]


def test_an_entry_without_prev_is_next():
    one = joined(1)
    one.receive([MessageFrame(entry=message(7))], 0)
    assert seqs(one) == [1, 7]


def test_a_cursor_between_two_entries_misses_nothing():
    one = joined(1)
    one.receive([Gap(from_=1, to=5, reason="trimmed")], 0)
    one.receive_page(one.wanted_page, [], 0)
    assert one.last_seq == 5
    one.receive([live(9, 3)], 0)
    assert seqs(one) == [1, 9]


def test_changes_fold_and_count_as_entries():
    one = joined(1, 2)
    change = Change(seq=3, room="lobby", user="ada", at=3, kind="edit", target=1, text="new")
    one.receive([ChangeFrame(entry=change, prev=2), live(4, 3)], 0)
    assert [m.text for m in one.messages.snapshot()] == ["new", "m2", "m4"]
    assert one.messages.snapshot()[0].edited == 3
    assert one.last_seq == 4


# ---- gaps ----


def test_a_gap_is_filled_by_pages_while_live_frames_are_held():
    one = joined(1)
    one.receive([Gap(from_=1, to=401, reason="long"), live(402, 401), Synced(seq=402)], 0)
    assert (one.wanted_page.kind, one.wanted_page.seq) == ("log", 1)
    first = one.wanted_page
    one.receive_page(first, [message(seq) for seq in range(2, 202)], 0)
    assert one.receive_page(first, [message(seq) for seq in range(2, 202)], 0) == []
    assert one.wanted_page.seq == 201
    one.receive_page(one.wanted_page, [message(seq) for seq in range(202, 402)], 0)
    assert one.wanted_page is None
    assert seqs(one) == list(range(1, 403))
    assert one.outgoing(0) == []


def test_a_gap_below_the_cursor_is_ignored():
    one = joined(1, 2, 3)
    one.receive([Gap(from_=1, to=3, reason="slow")], 0)
    assert one.wanted_page is None


def test_a_gap_request_ends_with_its_connection():
    one = joined(1)
    one.receive([Gap(from_=1, to=5, reason="long")], 0)
    one.on_disconnect(0)
    assert one.wanted_page is None
    assert one.resume_query() == {"after": "1", "epoch": "e1"}


def test_held_frames_are_bounded_and_requested_again():
    one = joined(1)
    one.receive([Gap(from_=1, to=2, reason="long")], 0)
    one.receive([live(seq, seq - 1) for seq in range(3, MAX_HELD_FRAMES + 10)], 0)
    one.receive_page(one.wanted_page, [message(2)], 0)
    assert one.last_seq == MAX_HELD_FRAMES + 2
    one.receive([live(MAX_HELD_FRAMES + 10, MAX_HELD_FRAMES + 9)], 0)
    assert one.outgoing(0) == [Resume(after=MAX_HELD_FRAMES + 2, epoch="e1")]


@pytest.mark.parametrize("frame", [hello(2, "e2"), Gap(from_=0, to=2, reason="epoch")])
def test_a_new_epoch_reloads(frame):
    one = joined(1, 2, 3)
    one.receive([frame], 0)
    assert (one.wanted_page.kind, one.wanted_page.seq) == ("messages", 3)
    other = [message(1, "other"), message(2, "world")]
    accepted = one.receive_page(one.wanted_page, other, 0)
    assert isinstance(accepted[0], Hello)
    assert one.messages.snapshot() == other
    assert one.joined_seq == 2


def test_a_page_requested_before_a_reload_is_ignored():
    one = session()
    one.receive([hello(3)], 0)
    old = one.wanted_page
    one.receive([hello(1, "e2")], 0)
    assert one.receive_page(old, [message(1), message(2), message(3)], 0) == []
    one.receive_page(one.wanted_page, [message(1, "other")], 0)
    assert one.messages.snapshot() == [message(1, "other")]


def test_held_frames_are_dropped_with_their_connection():
    one = joined(1)
    one.receive([Gap(from_=1, to=5, reason="long"), live(6, 5)], 0)
    one.on_disconnect(0)
    one.receive([hello(1), Gap(from_=1, to=2, reason="long")], 1)
    one.receive_page(one.wanted_page, [message(2)], 1)
    assert (seqs(one), one.last_seq, one.outgoing(1)) == ([1, 2], 2, [])


# ---- status and backoff ----


def test_the_state_follows_the_connection():
    one = session()
    assert (one.state, one.attempts) == ("connecting", 0)
    one.on_disconnect(0)
    assert (one.state, one.attempts) == ("connecting", 1)
    one.receive([hello()], 1)
    one.receive_page(one.wanted_page, [], 1)
    one.receive([Synced(seq=0)], 1)
    assert (one.state, one.attempts) == ("open", 0)
    one.on_disconnect(2)
    assert (one.state, one.attempts) == ("reconnecting", 1)
    one.receive([hello()], 3)
    assert one.state == "reconnecting"
    one.receive([Synced(seq=0)], 3)
    assert (one.state, one.attempts) == ("open", 0)
    one.close()
    assert one.state == "closed"


def test_backoff_grows_with_full_jitter_to_its_cap():
    one = session(rand=lambda: 1.0)
    assert [one.on_disconnect(0) for _ in range(8)] == [0.25, 0.5, 1, 2, 4, 8, 10, 10]
    none = session(rand=lambda: 0.0)
    assert [none.on_disconnect(0) for _ in range(3)] == [0, 0, 0]
    assert none.on_disconnect(0, retry_ms=1500) == 1.5


def test_only_a_stable_connection_resets_the_backoff():
    one = session(rand=lambda: 1.0)
    for _ in range(3):
        one.on_disconnect(0)
    one.receive([hello()], 10)
    assert one.on_disconnect(11) == 2
    one.receive([hello()], 20)
    assert one.on_disconnect(30) == 0.25


def test_members_come_and_go():
    one = joined()
    presence = Presence(members=())
    assert one.receive([presence], 0) == [presence]


def test_members_keep_their_commands_where_a_frame_leaves_them_out():
    one = joined()
    bot = Member(user="bot", kind="agent", commands=(Command(name="mean"),))
    one.receive([Presence(members=(bot, Member(user="bot")))], 0)
    brief = tuple(Member(user="bot", kind=kind, typing=True) for kind in ("agent", "kernel", "person"))
    one.receive([Presence(members=brief, same_commands=True)], 0)
    assert [member.commands for member in one.members] == [bot.commands, (), ()]
    assert all(member.typing for member in one.members)
    one.receive([Presence(members=brief)], 0)
    assert [member.commands for member in one.members] == [(), (), ()]


# ---- sends ----


def test_a_draft_is_delivered_by_its_entry():
    one = joined(1)
    one.outbox.put(draft("c1"))
    assert one.outgoing(0) == [draft("c1")]
    assert one.outgoing(0) == []
    ack = Ack(cid="c1", seq=2, at=2000, dup=False)
    assert one.receive([ack], 0) == [ack]
    assert one.outbox.results == []
    one.receive([live(2, 1, cid="c1")], 0)
    [(cid, delivery)] = one.outbox.results
    assert (cid, delivery.seq, delivery.entry) == ("c1", 2, message(2, cid="c1"))
    assert len(one.outbox) == 0


def test_another_members_entry_with_the_same_cid_delivers_nothing():
    one = joined(1)
    one.outbox.put(draft("c1"))
    theirs = Message(seq=2, room="lobby", user="eve", text="not yours", at=2000, cid="c1")
    one.receive([MessageFrame(entry=theirs, prev=1)], 0)
    assert (one.outbox.results, one.outgoing(0)) == ([], [draft("c1")])


def test_an_entry_under_the_verified_name_is_own():
    one = session()
    one.receive([msgspec.structs.replace(hello(), user="ada lovelace")], 0)
    one.receive_page(one.wanted_page, [], 0)
    one.outbox.put(draft("c1"))
    ours = Message(seq=1, room="lobby", user="ada lovelace", text="hi", at=1000, cid="c1")
    one.receive([MessageFrame(entry=ours, prev=0)], 0)
    assert [cid for cid, _ in one.outbox.results] == ["c1"]


def test_nothing_is_sent_before_hello_and_everything_again_after_a_loss():
    one = session()
    one.outbox.put(draft("c1"))
    one.outbox.put(draft("c2"))
    assert one.outgoing(0) == []
    one.receive([hello()], 0)
    assert one.outgoing(0) == [draft("c1"), draft("c2")]
    one.on_disconnect(0)
    one.outbox.put(draft("c3"))
    assert one.outgoing(0) == []
    one.receive([hello()], 1)
    assert [frame.cid for frame in one.outgoing(1)] == ["c1", "c2", "c3"]


def test_an_acknowledged_draft_is_not_sent_again_but_waits_for_its_entry():
    one = joined(1)
    one.outbox.put(draft("c1"))
    one.outgoing(0)
    one.receive([Ack(cid="c1", seq=2, at=2000, dup=False)], 0)
    one.on_disconnect(0)
    one.receive([hello(2)], 1)
    assert one.outgoing(1) == []
    one.receive([live(2, 1, cid="c1")], 1)
    assert [cid for cid, _ in one.outbox.results] == ["c1"]


def test_a_duplicate_ack_delivers_an_earlier_entry():
    one = joined(1)
    one.outbox.put(draft("c1", "m1"))
    one.outgoing(0)
    one.receive([Ack(cid="c1", seq=1, at=1000, dup=True)], 0)
    [(_, delivery)] = one.outbox.results
    assert (delivery.dup, delivery.entry) == (True, message(1))


def test_a_new_epoch_delivers_drafts_acknowledged_in_the_old_one():
    one = joined(1)
    one.outbox.put(draft("c1"))
    one.outgoing(0)
    one.receive([Ack(cid="c1", seq=5, at=5000, dup=False), hello(9, "e2")], 0)
    one.receive_page(one.wanted_page, [], 0)
    [(_, delivery)] = one.outbox.results
    assert (delivery.entry.seq, delivery.entry.text, delivery.entry.at) == (5, "hi", 5000)


def test_a_refused_draft_ends_with_the_error():
    one = joined()
    one.outbox.put(draft("c1"))
    one.outgoing(0)
    error = Error(code="too_long", message="text has 9 characters", cid="c1")
    assert one.receive([error], 0) == [error]
    assert one.outbox.results == [("c1", error)]


def test_rate_limited_drafts_are_sent_again_in_order():
    one = joined()
    for cid in ("c1", "c2", "c3"):
        one.outbox.put(draft(cid))
    one.outgoing(0)
    one.receive([Error(code="rate", message="slow down", cid=c, retry_ms=2000) for c in ("c1", "c2")], 0)
    assert one.outbox.results == []
    one.outbox.put(draft("c4"))
    one.receive([live(1, 0, cid="c3")], 1)
    assert one.outgoing(1) == []
    assert one.next_send_at() == 2
    assert [frame.cid for frame in one.outgoing(2)] == ["c1", "c2"]
    one.receive([live(2, 1, cid="c1")], 2)
    assert [frame.cid for frame in one.outgoing(2)] == ["c4"]


def test_an_unanswered_draft_is_sent_again_with_its_cid():
    one = joined()
    one.outbox.put(draft("c1"))
    one.outgoing(0)
    assert one.next_send_at() == 10
    assert one.outgoing(9) == []
    assert one.outgoing(10) == [draft("c1")]


def test_the_number_of_drafts_in_flight_is_bounded():
    one = joined()
    for n in range(200):
        one.outbox.put(draft(f"c{n}"))
    assert len(one.outgoing(0)) == 64
    one.receive([live(n + 1, n, cid=f"c{n}") for n in range(10)], 0)
    assert [frame.cid for frame in one.outgoing(0)] == [f"c{n}" for n in range(64, 74)]


def test_a_rate_limit_reduces_the_drafts_in_flight():
    one = session()
    one.receive([Hello(room="lobby", epoch="e", seq=0, oldest=0, resumed=False, limits=Limits(), heartbeat_ms=1)], 0)
    for n in range(50):
        one.outbox.put(draft(f"c{n}"))
    assert len(one.outgoing(0)) == 10


def test_closing_returns_the_queued_cids():
    one = joined()
    one.outbox.put(draft("c1"))
    assert one.close() == ["c1"]
    assert len(one.outbox) == 0


# ---- any network, any server ----


AnyNetwork.TestCase.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=40,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestAnywhere = AnyNetwork.TestCase


def test_a_session_never_sends_pings():
    """The connection sends the heartbeat; the session sends only its control frames and drafts."""
    one = joined(1)
    assert not [frame for frame in one.outgoing(1000) if isinstance(frame, Ping)]


def test_the_servers_clock_advances_and_the_local_one_is_the_fallback():
    one = Session("lobby", keep=10, random=random.random)
    assert one.server_time_ms(5.0, 777) == 777
    one.receive([msgspec.structs.replace(hello(), now=1_000_000)], 10.0)
    assert one.server_time_ms(12.5, 777) == 1_002_500
    one.receive([hello()], 20.0)
    assert one.server_time_ms(21.0, 777) == 777


def test_a_snapshot_of_a_room_that_was_empty_says_where_it_starts():
    """Otherwise a window would look for earlier messages; but not where `keep` dropped some."""

    def oldest(one):
        return one.snapshot(200, 0)[0].oldest

    new = joined()
    assert oldest(new) == 0
    new.receive([live(1, 0), live(2, 1)], 0)
    assert oldest(new) == 1
    short = joined(keep=1)
    short.receive([live(1, 0), live(2, 1)], 0)
    assert oldest(short) == 0
