"""The message list: bounded, in order, and folded."""

from __future__ import annotations

import pytest

from bqwidget._client.message_list import MessageList, MessageSnapshot
from bqwidget.protocol import Ask, Change, Message


def message(seq, **more):
    return Message(seq=seq, room="lobby", user="ada", text=f"m{seq}", at=seq, **more)


def message_list(*seqs, keep=10):
    made = MessageList(keep)
    for seq in seqs:
        made.append(message(seq))
    return made


def seqs(messages):
    return [one.seq for one in messages]


def test_the_newest_messages_are_kept_and_the_gapless_range_is_known():
    kept = message_list(*range(1, 100), keep=3)
    assert (seqs(kept.snapshot()), kept.gapless_after, len(kept)) == ([97, 98, 99], 96, 3)


def test_only_kept_messages_are_found_and_folded():
    kept = message_list(2, 4, 8, 16, keep=3)
    edit = Change(seq=20, room="lobby", user="ada", at=20, kind="edit", target=8, text="new")
    assert kept.fold(edit).text == kept.find(8).text == "new"
    assert kept.fold(Change(seq=21, room="lobby", user="ada", at=21, kind="delete", target=2)) is None
    assert (kept.find(2), kept.find(5), kept.find(99)) == (None, None, None)


def test_messages_after_a_seq_and_the_newest_ones():
    kept = message_list(2, 4, 8)
    assert (seqs(kept.after(0)), seqs(kept.after(4)), seqs(kept.after(5)), kept.after(8)) == (
        [2, 4, 8],
        [8],
        [8],
        [],
    )
    assert (seqs(kept.newest(2)), seqs(kept.newest(9)), kept.newest(0)) == ([4, 8], [2, 4, 8], [])


def test_load_replaces_the_list():
    kept = message_list(1, 2, 3)
    kept.load([message(7), message(9)], gapless_after=6)
    assert (seqs(kept.snapshot()), kept.gapless_after) == ([7, 9], 6)


def test_the_first_answer_marks_its_question():
    kept = message_list()
    kept.append(message(1, ask=Ask(choices=("yes", "no"))))
    for seq, choice in ((2, "perhaps"), (3, "yes"), (4, "no")):
        kept.append(message(seq, re=1, choice=choice))
    assert kept.find(1).answer == 3


def test_a_snapshot_does_not_change():
    kept = message_list(1, 2)
    snapshot = kept.snapshot()
    kept.append(message(3))
    assert seqs(snapshot) == [1, 2]
    assert isinstance(snapshot, list)
    part = snapshot[:1]
    part.append(message(3))
    assert seqs(part) == [1, 3]


@pytest.mark.parametrize(
    "change",
    [
        lambda snapshot: snapshot.append(message(3)),
        lambda snapshot: snapshot.extend([]),
        lambda snapshot: snapshot.clear(),
        lambda snapshot: snapshot.__setitem__(0, message(3)),
        lambda snapshot: snapshot.__delitem__(0),
        lambda snapshot: snapshot.__iadd__([]),
    ],
)
def test_changing_a_snapshot_is_an_error_with_the_remedy(change):
    with pytest.raises(TypeError, match=r"room\.send"):
        change(MessageSnapshot([message(1)]))
