"""chat.v1: golden frames, which the TypeScript tests read too, and invalid data."""

from __future__ import annotations

import contextlib
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.paths import TESTS

from bqwidget import protocol
from bqwidget.errors import ProtocolError
from bqwidget.protocol import (
    Ask,
    Change,
    Echo,
    Edit,
    Error,
    Hello,
    Limits,
    Message,
    Part,
    Post,
    React,
    Send,
    answered,
    check,
    check_room,
    cid_of,
    decode_client,
    decode_post,
    decode_server,
    encode,
    fold,
    printable,
)

GOLDEN = json.loads((TESTS / "frames.json").read_text())
UNKNOWN_FIELDS = {"mood", "nested", "weather", "extra", "since"}


def golden(direction):
    found = [pytest.param(frame["json"], id=frame["name"]) for frame in GOLDEN if frame["direction"] == direction]
    assert found
    return found


def decode_entry(data):
    return msgspec.convert(data, Change if "kind" in data else Message)


def known(data, frame):
    """``data`` without the fields that this version does not know."""
    names = msgspec.structs.fields(type(frame))
    return {key: value for key, value in data.items() if key in {field.encode_name for field in names}}


@pytest.mark.parametrize("data", golden("entry"))
def test_entries_round_trip(data):
    entry = decode_entry(data)
    assert json.loads(encode(entry)) == known(data, entry)


FOLDING = json.loads((TESTS / "folding.json").read_text())


@pytest.mark.parametrize("case", [pytest.param(case, id=case["name"]) for case in FOLDING])
def test_changes_are_folded_alike_in_both_languages(case):
    message, changes = decode_entry(case["message"]), [decode_entry(change) for change in case["changes"]]
    for change in changes:
        message = fold(message, change)
        assert fold(message, change) == message  # again: no further effect
    assert json.loads(encode(message)) == case["folded"]


@pytest.mark.parametrize("data", golden("server"))
def test_server_frames_round_trip(data):
    frame = decode_server(json.dumps(data))
    if frame is None:
        assert data["type"] == "weather"
        return
    again = decode_server(encode(frame))
    assert again == frame
    assert again.__struct_config__.tag == data["type"]
    assert (
        json.loads(encode(frame)).items() >= {key: data[key] for key in ("seq", "cid", "code") if key in data}.items()
    )


@pytest.mark.parametrize("data", golden("client"))
def test_client_frames_round_trip(data):
    frame = decode_client(json.dumps(data))
    if isinstance(frame, Echo):
        assert frame.message == data
        return
    assert json.loads(encode(frame)) == {key: value for key, value in data.items() if key not in UNKNOWN_FIELDS}


def test_every_frame_type_has_a_golden_example():
    """Every frame type must be in the file that both languages are tested with."""
    golden_types = {frame["json"].get("type") for frame in GOLDEN}
    unions = (*protocol.ServerFrame.__args__, *protocol.ClientFrame.__args__)
    new = {"chat.expire", "chat.busy"}  # sent by kernels only, so the view has no counterpart
    assert {frame.__struct_config__.tag for frame in unions} - new <= golden_types


# ---- invalid frames ----


@pytest.mark.parametrize("data", ["", "hi", "{", '{"type"', "\x00", b"\xff\xfe", "[" * 100_000])
def test_data_that_is_not_json_is_echoed_by_servers_and_refused_by_clients(data):
    assert isinstance(decode_client(data), Echo)
    with pytest.raises(ProtocolError) as raised:
        decode_server(data)
    assert raised.value.code == "bad_json"


@pytest.mark.parametrize("data", ["1", "null", "[]", "{}", '"chat.send"', '{"type": 1}', '{"type": "wave"}'])
def test_any_other_json_is_echoed(data):
    assert decode_client(data) == Echo(message=json.loads(data))


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"type": "chat.send", "cid": "c", "user": "ada"}, "text"),
        ({"type": "chat.send", "cid": "c", "user": "ada", "text": 1}, "text"),
        (
            {"type": "chat.send", "cid": "c", "user": "ada", "text": "?", "ask": {"choices": [1]}},
            "ask.choices[0]",
        ),
        ({"type": "chat.edit", "cid": "c", "user": "ada", "target": "1", "text": "x"}, "target"),
        ({"type": "chat.react", "cid": "c", "user": "ada", "target": 1}, "emoji"),
    ],
)
def test_a_wrong_field_is_named(data, field):
    with pytest.raises(ProtocolError, match=field.partition("[")[0]) as raised:
        decode_client(json.dumps(data))
    assert (raised.value.code, raised.value.field.replace("[...]", "[0]")) == ("bad_field", field)


@pytest.mark.parametrize("cid", ["1", "\\ud83d"])
def test_a_lone_surrogate_from_a_browser_is_refused(cid):
    data = f'{{"type": "chat.send", "cid": "{cid}", "user": "ada", "text": "half a \\ud83d"}}'
    with pytest.raises(ProtocolError) as raised:
        decode_client(data)
    assert (raised.value.code, cid_of(data)) == ("bad_json", "1" if cid == "1" else None)
    other = '{"type": "mood", "text": "half a \\ud83d"}'
    assert decode_client(other) == Echo(message=other)


def test_unknown_frames_of_a_newer_server_are_ignored():
    assert decode_server('{"type": "weather", "sky": "clear"}') is None
    assert decode_server('{"type": "synced", "seq": 3, "mood": "calm"}').seq == 3


@pytest.mark.slow("tries random input")
@given(st.binary(max_size=60) | st.text(max_size=60))
def test_no_input_breaks_the_decoders(data):
    decode_client(data)
    with contextlib.suppress(ProtocolError):
        decode_server(data)


@given(st.text(max_size=60), st.text(max_size=60), st.integers(0, 2**53))
def test_any_text_round_trips(user, text, seq):
    message = Message(seq=seq, room="lobby", user=user, text=text, at=1)
    try:
        encoded = encode(message)
    except UnicodeEncodeError:  # a lone surrogate is not valid text
        return
    assert decode_entry(json.loads(encoded)) == message


# ---- limits ----


def post(**fields):
    return Post(**{"user": "ada", "text": "hi", **fields})


@pytest.mark.parametrize(
    "draft",
    [
        post(text="x" * 32_000),
        post(text="é" * 32_000),
        post(user="u" * 64, cid="c" * 64),
        post(text="", parts=(Part(mime="image/png", sha256="0" * 64, size=1),)),
        React(cid="c", user="ada", target=1, emoji="👍🏽"),
    ],
)
def test_valid_drafts_pass(draft):
    check(draft, Limits())


@pytest.mark.parametrize(
    ("draft", "code", "field"),
    [
        (post(text=""), "empty", "text"),
        (post(text=" \n"), "empty", "text"),
        (post(user=" "), "empty", "user"),
        (post(cid=""), "empty", "cid"),
        (post(text="x" * 32_001), "too_long", "text"),
        (Edit(cid="c", user="ada", target=1, text="x", will="x" * 32_001), "too_long", "will"),
        (post(user="u" * 65), "too_long", "user"),
        (post(cid="c" * 65), "too_long", "cid"),
        (post(choice="x" * 32_001), "too_long", "choice"),
        (Edit(cid="c", user="ada", target=1, text=""), "empty", "text"),
        (React(cid="c", user="ada", target=1, emoji="x" * 17), "too_long", "emoji"),
    ],
)
def test_an_invalid_field_is_named_with_its_limit(draft, code, field):
    with pytest.raises(ProtocolError, match=field) as raised:
        check(draft, Limits())
    assert (raised.value.code, raised.value.field) == (code, field)


@pytest.mark.parametrize("name", ["lobby", "a", "A-b_9", "x" * 64])
def test_room_names(name):
    assert check_room(name) == name


@pytest.mark.parametrize("name", ["", "x" * 65, "a b", "a/b", "../x", "é", "a\n", "<b>"])
def test_invalid_room_names(name):
    with pytest.raises(ProtocolError, match="A-Z a-z 0-9") as raised:
        check_room(name)
    assert raised.value.code == "bad_room"


def test_a_post_is_json_with_user_and_text():
    assert decode_post(b'{"user": "ada", "text": "hi", "mood": 1}') == post()
    with pytest.raises(ProtocolError, match="text"):
        decode_post(b'{"user": "ada"}')
    for body in (b"user=ada&text=hi", b'{"user": "ada", "text": "\xff"}'):
        with pytest.raises(ProtocolError, match="JSON") as raised:
            decode_post(body)
        assert raised.value.code == "bad_json"


# ---- folding ----


def message(**fields):
    return Message(**{"seq": 1, "room": "lobby", "user": "ada", "text": "hi", "at": 10, **fields})


def change(kind, at=20, **fields):
    return Change(**{"seq": at, "room": "lobby", "user": "ada", "at": at, "kind": kind, "target": 1, **fields})


def test_an_edit_replaces_the_text():
    assert fold(message(), change("edit", text="new")) == message(text="new", edited=20)


def test_a_deleted_message_stays_empty():
    deleted = fold(message(reactions={"👍": ("ada",)}), change("delete"))
    assert deleted == message(text="", deleted=True, edited=20)
    assert fold(deleted, change("edit", 30, text="back")) == deleted
    assert fold(deleted, change("react", 30, emoji="👍")) == deleted


def test_reactions_come_and_go_by_user():
    both = fold(fold(message(), change("react", emoji="👍")), change("react", user="bob", emoji="👍", on=True))
    assert both.reactions == {"👍": ("ada", "bob")}
    assert fold(both, change("react", emoji="👍", on=False)).reactions == {"👍": ("bob",)}
    assert fold(message(), change("react", emoji="👍", on=False)).reactions == {}


@given(
    st.lists(
        st.builds(
            change,
            st.sampled_from(["edit", "delete", "react", "expire"]),
            st.integers(20, 30),
            user=st.sampled_from(["ada", "bob"]),
            text=st.sampled_from(["a", "b"]),
            emoji=st.sampled_from(["👍", "🎉"]),
            on=st.booleans(),
        ),
        max_size=6,
    ),
    st.integers(0, 6),
)
def test_folding_changes_twice_has_no_further_effect(changes, start):
    """A client that loads a folded page while its changes arrive folds some of them twice."""
    question = message(ask=Ask())
    for one in changes:
        question = fold(question, one)
    again = question
    for one in changes[start:]:
        again = fold(again, one)
    assert again == question


def test_only_the_first_valid_answer_counts():
    question = message(ask=Ask(choices=("yes", "no"), from_="bob", expires=100))

    def reply(seq, **fields):
        return message(**{"seq": seq, "user": "bob", "re": 1, "choice": "yes", "at": seq, **fields})

    for wrong in (reply(2, user="eve"), reply(3, choice="maybe"), reply(4, at=101), reply(5, re=9)):
        assert answered(question, wrong) is question
    first = answered(question, reply(6))
    assert first.answer == 6
    assert answered(first, reply(7)) is first


@given(st.text("ab"), st.text("ab"))
def test_the_common_length_is_that_of_the_common_prefix(one, other):
    length = protocol.common_length(one, other)
    assert one[:length] == other[:length]
    assert one == other or one[length : length + 1] != other[length : length + 1]


# ---- how it is displayed ----


def test_reprs_show_no_control_characters():
    shown = repr(message(user="\x1b[31mred", text="a\u202eb\n" + "x" * 200))
    assert not {"\x1b", "\u202e", "\n"} & set(shown)
    assert len(shown) < 200


def test_printable_truncates_long_text():
    assert printable("x" * 100).endswith("…'")


def test_default_values_are_absent_on_the_wire():
    assert json.loads(encode(message())) == {"seq": 1, "room": "lobby", "user": "ada", "text": "hi", "at": 10}
    assert json.loads(encode(Send(cid="c", user="ada", text="hi"))) == {
        "type": "chat.send",
        "cid": "c",
        "user": "ada",
        "text": "hi",
    }
    assert json.loads(encode(Error(code="x", message="y"))) == {"type": "error", "code": "x", "message": "y"}


def test_hello_contains_all_limits():
    hello = Hello(room="a", epoch="e", seq=0, oldest=0, resumed=False, limits=Limits(), heartbeat_ms=1)
    assert set(json.loads(encode(hello))["limits"]) == {
        *("text", "user", "frame", "rate", "rate_ms", "room", "buffer", "part")
    }


def test_every_field_of_a_post_and_of_a_send_is_kept():
    """They are copied one by one, for speed."""
    anchor = protocol.CellAnchor(path="loss.ipynb", id="c-1")
    given = {
        "user": "ada", "text": "hi", "cid": "c", "re": 3, "choice": "yes", "ask": protocol.Ask(choices=("yes", "no")),
        "parts": (Part(mime="image/png", sha256="0" * 64, size=1),), "live": True, "format": "plain", "cell": anchor,
    }  # fmt: skip
    assert set(given) == set(protocol.Post.__struct_fields__)
    sent = protocol.to_send(protocol.Post(**given))
    assert {name: getattr(sent, name) for name in given} == given
    entry = protocol.to_entry(sent, room="lobby", seq=4, at=1)
    assert {name: getattr(entry, name) for name in given} == given
