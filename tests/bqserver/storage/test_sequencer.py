"""The pure core of a log: what becomes of a draft, whatever came with it in its batch."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import msgspec
from bqserver.model import Outcome, Rejected, Stored, Submission
from bqserver.storage.sequencer import IdempotencyKey, Plan, Position, RoomHead, Target, make_entry, sequence
from hypothesis import given
from hypothesis import strategies as st
from support.submissions import submissions

from bqwidget.protocol import Ask, Change, Delete, Draft, Edit, Message, Part, React, Send, encode, fold

NOW = 1_700_000_000_000


class Shelf:
    """What a log keeps, in dicts."""

    def __init__(self) -> None:
        self.heads: dict[str, RoomHead] = {}
        self.cids: dict[IdempotencyKey, Stored] = {}
        self.targets: dict[tuple[str, int], Target] = {}
        self.entries: list[Stored] = []
        self.let_go = 0

    def head(self, room: str) -> RoomHead:
        return self.heads.setdefault(room, RoomHead(0, 0))

    def find_stored(self, keys: Iterable[IdempotencyKey]) -> dict[IdempotencyKey, Stored]:
        return {key: self.cids[key] for key in keys if key in self.cids}

    def target(self, room: str, seq: int) -> Target | None:
        return self.targets.get((room, seq))

    def trimmed(self, room: str) -> int:
        return self.let_go

    def add(self, batch: list[Submission], now: int = NOW) -> list[Outcome]:
        plan = sequence(batch, self, now)
        self.store(plan)
        return plan.outcomes

    def store(self, plan: Plan) -> None:
        for entry, (room, who, draft, *_), target in plan.rows:
            self.entries.append(entry)
            if draft.cid:
                self.cids[room, who, draft.cid] = entry
            if target is None:
                self.targets[room, entry.seq] = Target(who, entry.body)
        for place, body in plan.folded.items():
            self.targets[place] = self.targets[place]._replace(body=body)

    def reads(self, seq: int, room: str = "lobby") -> Message:
        return msgspec.json.decode(self.targets[room, seq].body, type=Message)


def by(who: str, draft: Draft, room: str = "lobby") -> Submission:
    return Submission(room, who, draft)


def hi(cid: str = "", text: str = "hi", user: str = "ada", room: str = "lobby") -> Submission:
    return by(user, Send(cid=cid, user=user, text=text), room)


def stored(outcome: Outcome) -> Stored:
    assert isinstance(outcome, Stored), outcome
    return outcome


# ---- places and times


def test_a_room_counts_from_one_and_each_entry_names_the_one_before():
    outcomes = Shelf().add([hi(), hi(), hi(room="other"), hi()])
    assert [(one.room, one.prev, one.seq) for one in map(stored, outcomes)] == [
        ("lobby", 0, 1),
        ("lobby", 1, 2),
        ("other", 0, 1),
        ("lobby", 2, 3),
    ]


def test_at_grows_strictly_within_a_room_even_where_the_clock_stands_or_goes_back():
    shelf = Shelf()
    for now in (NOW, NOW, NOW - 5_000, NOW + 10):
        shelf.add([hi(), hi(), hi(room="other")], now)
    for room in ("lobby", "other"):
        ats = [entry.at for entry in shelf.entries if entry.room == room]
        assert all(earlier < later for earlier, later in pairwise(ats))
    assert max(entry.at for entry in shelf.entries) <= NOW + 11


def test_an_entry_is_its_draft_and_its_place():
    ask = Ask(choices=("yes", "no"), from_="bob", expires=NOW)
    part = Part(mime="text/plain", sha256="ab", size=2, name="x.txt")
    draft = Send(cid="c", user="ada", text="well?", re=1, choice="left", ask=ask, parts=(part,))
    question = Send(cid="", user="bob", text="left or right?", ask=Ask(choices=("left", "right")))
    _, outcome = Shelf().add([by("bob", question), by("ada", draft)])
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


def test_without_a_cid_the_entry_has_none():
    [outcome] = Shelf().add([hi()])
    assert b"cid" not in stored(outcome).body


# ---- the same send again


def test_the_same_send_is_the_first_entry_again_in_a_later_batch_and_in_the_same():
    shelf = Shelf()
    first, again = shelf.add([hi("c"), hi("c")])
    [later] = shelf.add([hi("c")], NOW + 60_000)
    assert stored(first).dup is False
    assert again == later == stored(first)._replace(dup=True)
    assert len(shelf.entries) == 1


def test_another_body_under_a_used_cid_is_a_conflict_and_no_entry():
    shelf = Shelf()
    shelf.add([hi("c", "hi")])
    [other] = shelf.add([hi("c", "ho")])
    [kind] = shelf.add([by("ada", React(cid="c", user="ada", target=1, emoji="x"))])
    for refused in (other, kind):
        assert isinstance(refused, Rejected)
        assert (refused.code, refused.status) == ("conflict", 409)
    assert len(shelf.entries) == 1


def test_a_cid_belongs_to_its_room_and_its_principal():
    shelf = Shelf()
    shelf.add([hi("c"), hi("c", room="other"), hi("c", user="bob")])
    assert len(shelf.entries) == 3


def test_no_cid_is_never_the_same():
    shelf = Shelf()
    shelf.add([hi(), hi()])
    assert len(shelf.entries) == 2


# ---- changes


def test_a_change_is_an_entry_of_its_own_and_folds_into_its_message():
    shelf = Shelf()
    shelf.add([hi(text="helo")])
    [outcome] = shelf.add([by("ada", Edit(cid="e", user="ada", target=1, text="hello"))], NOW + 9)
    assert (stored(outcome).seq, stored(outcome).change) == (2, True)
    assert (shelf.reads(1).text, shelf.reads(1).edited) == ("hello", NOW + 9)


def test_changes_fold_in_order_within_one_batch():
    shelf = Shelf()
    shelf.add(
        [
            hi(text="1"),
            by("ada", Edit(cid="a", user="ada", target=1, text="2")),
            by("bob", React(cid="b", user="bob", target=1, emoji="👍")),
            by("ada", Edit(cid="c", user="ada", target=1, text="3")),
        ]
    )
    message = shelf.reads(1)
    assert (message.text, message.reactions) == ("3", {"👍": ("bob",)})


def test_only_its_author_edits_and_deletes_but_everyone_reacts():
    shelf = Shelf()
    shelf.add([hi(user="ada")])
    drafts = [
        Edit(cid="1", user="bob", target=1, text="mine"),
        Delete(cid="2", user="bob", target=1),
        React(cid="3", user="bob", target=1, emoji="👍"),
    ]
    edit, delete, react = shelf.add([by("bob", draft) for draft in drafts])
    assert isinstance(edit, Rejected)
    assert isinstance(delete, Rejected)
    assert (edit.code, delete.code, edit.status) == ("forbidden", "forbidden", 403)
    assert stored(react).seq == 2


def test_the_author_is_the_principal_and_not_the_name():
    shelf = Shelf()
    shelf.add([by("token-ada", Send(cid="", user="ada", text="hi"))])
    [refused] = shelf.add([by("token-eve", Delete(cid="d", user="ada", target=1))])
    assert isinstance(refused, Rejected)


def test_who_merely_says_to_be_a_verified_author_is_not():
    shelf = Shelf()
    shelf.add([hi()._replace(verified=True)])
    mine = by("ada", Edit(cid="1", user="ada", target=1, text="mine"))
    [refused] = shelf.add([mine])
    assert isinstance(refused, Rejected)
    assert refused.code == "forbidden"
    [edited] = shelf.add([mine._replace(verified=True)])
    assert stored(edited).change


def test_a_change_needs_a_message_of_its_room():
    shelf = Shelf()
    shelf.add([hi(), hi(room="other"), by("ada", React(cid="r", user="ada", target=1, emoji="x"))])
    for target, room in ((99, "lobby"), (0, "lobby"), (-1, "lobby"), (2, "lobby"), (2, "other"), (1, "new")):
        [refused] = shelf.add([by("ada", React(cid="n", user="ada", target=target, emoji="x"), room)])
        assert isinstance(refused, Rejected), (target, room)
        assert (refused.code, refused.status) == ("not_found", 404)


def test_a_refusal_takes_no_place():
    shelf = Shelf()
    outcomes = shelf.add([hi("c"), hi("c", "other"), by("ada", Delete(cid="d", user="ada", target=50)), hi()])
    assert [one.seq for one in outcomes if isinstance(one, Stored)] == [1, 2]


# ---- whatever the batches are


@given(st.lists(submissions(), max_size=40), st.lists(st.integers(1, 7), min_size=1))
def test_how_drafts_fall_into_batches_changes_nothing(drafts: list[Submission], sizes: list[int]):
    one_by_one, batched = Shelf(), Shelf()
    singly = [outcome for draft in drafts for outcome in one_by_one.add([draft])]
    together: list[Outcome] = []
    while len(together) < len(drafts):
        size = sizes[len(together) % len(sizes)]
        together += batched.add(drafts[len(together) : len(together) + size])
    assert together == singly
    assert batched.entries == one_by_one.entries
    assert batched.targets == one_by_one.targets


@given(st.lists(submissions(), max_size=40))
def test_what_a_message_reads_is_its_entry_and_every_later_change(drafts: list[Submission]):
    shelf = Shelf()
    shelf.add(drafts)
    folded: dict[tuple[str, int], Message] = {}
    for entry in shelf.entries:
        if entry.change:
            change = msgspec.json.decode(entry.body, type=Change)
            place = entry.room, change.target
            folded[place] = fold(folded[place], change)
        else:
            folded[entry.room, entry.seq] = msgspec.json.decode(entry.body, type=Message)
    assert {place: target.body for place, target in shelf.targets.items()} == {
        place: encode(message) for place, message in folded.items()
    }


@given(submissions(), st.integers(1, 9), st.integers(1, 9))
def test_a_draft_at_a_place_is_always_the_same_bytes(submission: Submission, seq: int, at: int):
    room, draft = submission.room, submission.draft
    assert encode(make_entry(draft, room, seq, at)) == encode(make_entry(draft, room, seq, at))


def test_what_is_about_something_that_was_let_go_stays_an_entry():
    shelf = Shelf()
    shelf.let_go = 5
    places = [Position(7, NOW), Position(9, NOW), Position(12, NOW)]
    batch = [
        by("ada", Edit(cid="e", user="ada", target=5, text="?")),
        by("bob", Send(cid="r", user="bob", text="a reply", re=3)),
        by("bob", Edit(cid="f", user="bob", target=6, text="never there")),
    ]
    plan = sequence(batch, shelf, positions=places)
    kept, reply, refused = plan.outcomes
    assert [one.seq for one in (kept, reply) if isinstance(one, Stored)] == [7, 9]
    assert isinstance(refused, Rejected)
    assert plan.folded == {}
