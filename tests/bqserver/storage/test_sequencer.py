"""The pure sequencer: the outcome of each draft, however drafts are batched."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import msgspec
import pytest
from bqserver.model import Outcome, Rejected, Stored, Submission
from bqserver.storage.sequencer import IdempotencyKey, Plan, Position, RoomHead, Target, sequence
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from support.submissions import submissions

from bqwidget.protocol import Ask, Change, Delete, Draft, Edit, Message, Part, React, Send, Vote, encode, fold

NOW = 1_700_000_000_000


class DictState:
    """LogState in dicts."""

    def __init__(self) -> None:
        self.heads: dict[str, RoomHead] = {}
        self.cids: dict[IdempotencyKey, Stored] = {}
        self.targets: dict[tuple[str, int], Target] = {}
        self.entries: list[Stored] = []
        self.trimmed_upto = 0

    def head(self, room: str) -> RoomHead:
        return self.heads.setdefault(room, RoomHead(0, 0))

    def find_stored(self, keys: Iterable[IdempotencyKey]) -> dict[IdempotencyKey, Stored]:
        return {key: self.cids[key] for key in keys if key in self.cids}

    def target(self, room: str, seq: int) -> Target | None:
        return self.targets.get((room, seq))

    def texts(self, room: str, seq: int) -> dict[int, bytes]:
        return {
            entry.seq: entry.body
            for entry in self.entries
            if entry.room == room and (entry.seq == seq if not entry.change else _edits(entry, seq))
        }

    def additions(self, room: str, seq: int) -> dict[int, bytes]:
        return {one.seq: one.body for one in self.entries if one.room == room and one.change and _votes(one, seq)}

    def trimmed(self, room: str) -> int:
        return self.trimmed_upto

    def add(self, batch: list[Submission], now: int = NOW) -> list[Outcome]:
        plan = sequence(batch, self, now)
        self.store(plan)
        return plan.outcomes

    def store(self, plan: Plan) -> None:
        for row in plan.rows:
            entry, submission, target = row.entry, row.submission, row.target
            room, who, draft = submission.room, submission.principal, submission.draft
            self.entries.append(entry)
            if draft.cid:
                self.cids[room, who, draft.cid] = entry
            if target is None:
                self.targets[room, entry.seq] = Target(who, entry.body)
        for key, body in plan.folded.items():
            self.targets[key] = replace(self.targets[key], body=body)
        for place, entry in enumerate(self.entries):
            body = plan.redacted.get((entry.room, entry.seq), entry.body)
            self.entries[place] = replace(entry, body=body)
        self.cids = {
            key: next(one for one in self.entries if (one.room, one.seq) == (entry.room, entry.seq))
            for key, entry in self.cids.items()
        }

    def message(self, seq: int, room: str = "lobby") -> Message:
        return msgspec.json.decode(self.targets[room, seq].body, type=Message)


def _edits(entry: Stored, seq: int) -> bool:
    change = msgspec.json.decode(entry.body, type=Change)
    return change.target == seq and change.text is not None


def _votes(entry: Stored, seq: int) -> bool:
    change = msgspec.json.decode(entry.body, type=Change)
    return change.target == seq and change.choice is not None


def by(who: str, draft: Draft, room: str = "lobby") -> Submission:
    return Submission(room, who, draft)


def hi(cid: str = "", text: str = "hi", user: str = "ada", room: str = "lobby") -> Submission:
    return by(user, Send(cid=cid, user=user, text=text), room)


def stored(outcome: Outcome) -> Stored:
    assert isinstance(outcome, Stored), outcome
    return outcome


# ---- seqs and times


def test_seqs_start_at_1_in_each_room_and_prev_is_the_seq_before():
    outcomes = DictState().add([hi(), hi(), hi(room="other"), hi()])
    assert [(one.room, one.prev, one.seq) for one in map(stored, outcomes)] == [
        ("lobby", 0, 1),
        ("lobby", 1, 2),
        ("other", 0, 1),
        ("lobby", 2, 3),
    ]


def test_a_message_of_an_agent_says_so_and_one_that_an_earlier_release_stored_is_still_its_duplicate():
    state = DictState()
    by_agent = replace(hi("a"), author_kind="agent")
    [first] = state.add([by_agent])
    assert msgspec.json.decode(stored(first).body)["author_kind"] == "agent"
    [earlier] = state.add([hi("b")])  # as an earlier release stored it
    assert "author_kind" not in msgspec.json.decode(stored(earlier).body)
    for repeated in state.add([by_agent, replace(hi("b"), author_kind="agent")]):
        assert stored(repeated).dup


def test_at_increases_strictly_in_a_room_even_if_the_clock_goes_back():
    state = DictState()
    for now in (NOW, NOW, NOW - 5_000, NOW + 10):
        state.add([hi(), hi(), hi(room="other")], now)
    for room in ("lobby", "other"):
        ats = [entry.at for entry in state.entries if entry.room == room]
        assert all(earlier < later for earlier, later in pairwise(ats))
    assert max(entry.at for entry in state.entries) <= NOW + 11


def test_an_entry_has_all_fields_of_its_draft():
    ask = Ask(choices=("yes", "no"), from_="bob", expires=NOW)
    part = Part(mime="text/plain", sha256="ab", size=2, name="x.txt")
    draft = Send(cid="c", user="ada", text="well?", re=1, choice="left", ask=ask, parts=(part,))
    question = Send(cid="", user="bob", text="left or right?", ask=Ask(choices=("left", "right")))
    _, outcome = DictState().add([by("bob", question), by("ada", draft)])
    entry = msgspec.json.decode(stored(outcome).body, type=Message)
    assert entry == Message(
        seq=2,
        room="lobby",
        at=NOW + 1,
        user="ada",
        text="well?",
        cid="c",
        re=1,
        choice="left",
        ask=ask,
        parts=(part,),
    )


def test_an_entry_without_cid_has_no_cid_field():
    [outcome] = DictState().add([hi()])
    assert b"cid" not in stored(outcome).body


# ---- duplicates


def test_a_repeated_draft_resolves_to_the_first_entry_in_the_same_and_a_later_batch():
    state = DictState()
    first, repeated = state.add([hi("c"), hi("c")])
    [later] = state.add([hi("c")], NOW + 60_000)
    assert stored(first).dup is False
    assert repeated == later == replace(stored(first), dup=True)
    assert len(state.entries) == 1


def test_another_draft_under_a_used_cid_is_a_conflict():
    state = DictState()
    state.add([hi("c", "hi")])
    [other] = state.add([hi("c", "ho")])
    [kind] = state.add([by("ada", React(cid="c", user="ada", target=1, emoji="x"))])
    for rejected in (other, kind):
        assert isinstance(rejected, Rejected)
        assert (rejected.code, rejected.status) == ("conflict", 409)
    assert len(state.entries) == 1


def test_a_cid_is_unique_per_room_and_principal():
    state = DictState()
    state.add([hi("c"), hi("c", room="other"), hi("c", user="bob")])
    assert len(state.entries) == 3


def test_drafts_without_cid_are_never_duplicates():
    state = DictState()
    state.add([hi(), hi()])
    assert len(state.entries) == 2


# ---- changes


def test_a_change_is_an_entry_and_is_folded_into_its_message():
    state = DictState()
    state.add([hi(text="helo")])
    [outcome] = state.add([by("ada", Edit(cid="e", user="ada", target=1, text="hello"))], NOW + 9)
    assert (stored(outcome).seq, stored(outcome).change) == (2, True)
    assert (state.message(1).text, state.message(1).edited) == ("hello", NOW + 9)


def test_changes_in_one_batch_are_folded_in_order():
    state = DictState()
    state.add(
        [
            hi(text="1"),
            by("ada", Edit(cid="a", user="ada", target=1, text="2")),
            by("bob", React(cid="b", user="bob", target=1, emoji="👍")),
            by("ada", Edit(cid="c", user="ada", target=1, text="3")),
        ]
    )
    message = state.message(1)
    assert (message.text, message.reactions) == ("3", {"👍": ("bob",)})


def test_only_the_author_edits_and_deletes_and_everyone_reacts():
    state = DictState()
    state.add([hi(user="ada")])
    drafts = [
        Edit(cid="1", user="bob", target=1, text="mine"),
        Delete(cid="2", user="bob", target=1),
        React(cid="3", user="bob", target=1, emoji="👍"),
    ]
    edit, delete, react = state.add([by("bob", draft) for draft in drafts])
    assert isinstance(edit, Rejected)
    assert isinstance(delete, Rejected)
    assert (edit.code, delete.code, edit.status) == ("forbidden", "forbidden", 403)
    assert stored(react).seq == 2


def test_the_author_is_identified_by_principal_and_not_by_name():
    state = DictState()
    state.add([by("token-ada", Send(cid="", user="ada", text="hi"))])
    [rejected] = state.add([by("token-eve", Delete(cid="d", user="ada", target=1))])
    assert isinstance(rejected, Rejected)


def test_an_unverified_sender_with_the_name_of_a_verified_author_is_rejected():
    state = DictState()
    state.add([replace(hi(), verified=True)])
    mine = by("ada", Edit(cid="1", user="ada", target=1, text="mine"))
    [rejected] = state.add([mine])
    assert isinstance(rejected, Rejected)
    assert rejected.code == "forbidden"
    [edited] = state.add([replace(mine, verified=True)])
    assert stored(edited).change


def test_a_change_needs_a_message_in_its_room():
    state = DictState()
    state.add([hi(), hi(room="other"), by("ada", React(cid="r", user="ada", target=1, emoji="x"))])
    for target, room in ((99, "lobby"), (0, "lobby"), (-1, "lobby"), (2, "lobby"), (2, "other"), (1, "new")):
        [rejected] = state.add([by("ada", React(cid="n", user="ada", target=target, emoji="x"), room)])
        assert isinstance(rejected, Rejected), (target, room)
        assert (rejected.code, rejected.status) == ("not_found", 404)


def test_a_rejection_uses_no_seq():
    state = DictState()
    outcomes = state.add([hi("c"), hi("c", "other"), by("ada", Delete(cid="d", user="ada", target=50)), hi()])
    assert [one.seq for one in outcomes if isinstance(one, Stored)] == [1, 2]


def test_the_choices_of_a_deleted_poll_are_removed_from_votes_of_the_same_batch():
    asked = Send(cid="", user="ada", text="Which?", ask=Ask(choices=("left", "right"), poll=True))
    drafts = [Vote(cid="", user="ada", target=1, choice="left"), Delete(cid="", user="ada", target=1)]
    state = DictState()
    state.add([by("ada", draft) for draft in (asked, *drafts)])
    assert len(state.entries) == 3
    assert not [entry.body for entry in state.entries if b"left" in entry.body]


# ---- properties


@pytest.mark.slow("tries random drafts")
@given(st.lists(submissions(), max_size=40), st.lists(st.integers(1, 7), min_size=1))
def test_results_do_not_depend_on_how_drafts_are_batched(drafts: list[Submission], sizes: list[int]):
    one_by_one, batched = DictState(), DictState()
    singly = [outcome for draft in drafts for outcome in one_by_one.add([draft])]
    together: list[Outcome] = []
    while len(together) < len(drafts):
        size = sizes[len(together) % len(sizes)]
        together += batched.add(drafts[len(together) : len(together) + size])
    assert together == singly
    assert batched.entries == one_by_one.entries
    assert batched.targets == one_by_one.targets


@pytest.mark.slow("tries random drafts")
@given(st.lists(submissions(), max_size=40))
def test_a_folded_message_is_its_entry_with_all_later_changes(drafts: list[Submission]):
    state = DictState()
    state.add(drafts)
    folded: dict[tuple[str, int], Message] = {}
    for entry in state.entries:
        if entry.change:
            change = msgspec.json.decode(entry.body, type=Change)
            key = entry.room, change.target
            folded[key] = fold(folded[key], change)
        else:
            folded[entry.room, entry.seq] = msgspec.json.decode(entry.body, type=Message)
    assert {key: target.body for key, target in state.targets.items()} == {
        key: encode(message) for key, message in folded.items()
    }


def test_an_entry_that_refers_to_a_trimmed_one_is_kept():
    state = DictState()
    state.trimmed_upto = 5
    positions = [Position(7, NOW), Position(9, NOW), Position(12, NOW)]
    batch = [
        by("ada", Edit(cid="e", user="ada", target=5, text="?")),
        by("bob", Send(cid="r", user="bob", text="a reply", re=3)),
        by("bob", Edit(cid="f", user="bob", target=6, text="never there")),
    ]
    plan = sequence(batch, state, positions=positions)
    edit, reply, rejected = plan.outcomes
    assert [one.seq for one in (edit, reply) if isinstance(one, Stored)] == [7, 9]
    assert isinstance(rejected, Rejected)
    assert plan.folded == {}
