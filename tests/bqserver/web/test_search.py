"""Search over a real server: messages as they read now."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from bqserver.testing import running_server
from support.ws_client import member, request


@pytest.fixture(params=["memory", "sqlite", "nats"])
def server(request, log_traits):
    with running_server(**log_traits(request.param), open=True) as running:
        yield running


def say(server, *texts: str, room: str = "lobby") -> None:
    for text in texts:
        request(server.url, "POST", f"/rooms/{room}/messages", {"user": "ada", "text": text})


def find(server, words: str, more: str = "", room: str = "lobby") -> list[str]:
    answer = request(server.url, "GET", f"/rooms/{room}/search?q={quote(words)}{more}")
    assert answer.status == 200, answer.body
    return [m["text"] for m in answer.json]


def test_all_words_must_occur_oldest_first(server):
    say(server, "loss 0.21", "Accuracy up", "the LOSS is 0.19 now", "lossless")
    assert find(server, "loss 0.19") == ["the LOSS is 0.19 now"]
    assert find(server, "loss") == ["loss 0.21", "the LOSS is 0.19 now", "lossless"]
    assert find(server, "loss", "&limit=1") == ["lossless"]
    assert find(server, "nothing of that") == []
    assert find(server, "ada accuracy") == ["Accuracy up"]


@pytest.mark.parametrize(
    ("text", "words", "other"),
    [
        ("我家在上海东边", "上海", "海上"),
        ("明日は東京へ行きます", "東京", "京東"),
        ("プログラムを直した", "グラム", "ムラグ"),
        ("나는서울에산다", "서울", "울서"),
        ("GPU显存不足", "显存 gpu", "存显"),
        ("ＧＰＵ２枚", "gpu", "gpu3"),
        ("ผมอยู่กรุงเทพ", "กรุงเทพ", "เทพกรุง"),
        ("naïve Straße", "straß", "strasz"),
    ],
)
def test_words_are_found_in_scripts_without_spaces(server, text, words, other):
    say(server, "else", text)
    assert find(server, words) == [text]
    assert find(server, other) == []


def test_a_search_finds_only_messages_of_its_room(server):
    say(server, "here")
    say(server, "here too", room="other")
    assert find(server, "here") == ["here"]
    assert find(server, "here", room="other") == ["here too"]
    assert find(server, "here", room="empty") == []


def test_search_follows_edits_and_deletions(server):
    with member(server.url) as ada:
        ada.until("synced")
        ada.say("frist", cid="1")
        ada.say("secret", cid="2")
        first, second = (ada.until("ack")["seq"] for _ in range(2))
        assert find(server, "frist") == ["frist"]
        ada.send({"type": "chat.edit", "cid": "3", "user": "ada", "target": first, "text": "first"})
        ada.send({"type": "chat.delete", "cid": "4", "user": "ada", "target": second})
        assert [ada.until("ack")["dup"] for _ in range(2)] == [False, False]
    assert find(server, "frist") == []
    assert find(server, "first") == ["first"]
    assert find(server, "secret") == []


@pytest.mark.parametrize("words", ['"', "a AND", "NEAR(", "*", "col:x", "-x", "'; DROP TABLE found; --", "\u202e"])
def test_search_has_no_operators(server, words):
    say(server, "plain")
    assert find(server, words) == []


def test_a_search_without_words_is_rejected(server):
    for query in ("", "?q=", "?q=%20", "?q=" + "x" * 201):
        assert request(server.url, "GET", f"/rooms/lobby/search{query}").code == "bad_q"


def test_a_lost_index_is_filled_again(tmp_path):
    log = f"sqlite:{tmp_path / 'log.sqlite'}"
    with running_server(log=log, open=True) as server:
        say(server, *(f"message {number}" for number in range(30)))
        assert find(server, "message 29") == ["message 29"]
    for path in tmp_path.glob("log.sqlite-search*"):
        path.write_bytes(b"damaged")
    with running_server(log=log, open=True) as server:
        say(server, "message 30")
        assert len(find(server, "message")) == 31
