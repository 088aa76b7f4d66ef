"""What a running server serves from its files, read over REST and WebSocket only; reading stores nothing.

The fixture's generator ran ``report`` against the release that wrote the files, and the tests run it against the
present code. ``asked`` holds the requests (tokens, rooms, words), so that both servers get the same ones.
"""

from __future__ import annotations

import hashlib
from typing import Any
from urllib.parse import quote

from support.ws_client import Answer, member, request

Asked = dict[str, Any]
"""``tokens``: token values by label; ``reader``: the label that may read every room; ``rooms``; ``searches``: words;
``repeats``: posts that were stored before, each with a ``label``, a ``room`` and a ``body``.
"""

PAGE = 200
"""Entries in one answer, the limit of the wire."""


def report(url: str, asked: Asked) -> dict[str, Any]:
    """One dictionary per section, each by room or by token label. ``url``: the server's base http address."""
    return {name: section(url, asked) for name, section in SECTIONS.items()}


def rooms(url: str, asked: Asked) -> Any:
    """By token label: the readable rooms, each with the seq of its newest entry."""
    found = {}
    for label, token in asked["tokens"].items():
        answer = request(url, "GET", "/rooms", **bearer(token))
        listed = answer.json if answer.status == 200 else []
        found[label] = {room["name"]: room["seq"] for room in listed}
    return found


def messages(url: str, asked: Asked) -> Any:
    """By room: all messages with their changes applied, oldest first.

    A message equal to its entry in the log is given by its seq.
    """
    found = {}
    for room in asked["rooms"]:
        entries = {entry["seq"]: entry for entry in _paged(url, asked, room, "log")}
        folded = _paged(url, asked, room, "messages")
        found[room] = [one["seq"] if one == entries[one["seq"]] else one for one in folded]
    return found


def log(url: str, asked: Asked) -> Any:
    """By room: the raw entries, including changes."""
    return {room: _paged(url, asked, room, "log") for room in asked["rooms"]}


def pages(url: str, asked: Asked) -> Any:
    """By room and query: the seqs of the page."""
    found: dict[str, dict[str, list[int]]] = {}
    for room in asked["rooms"]:
        seqs = [message["seq"] for message in _paged(url, asked, room, "messages")]
        middle = seqs[len(seqs) // 2]
        queries = (
            "",
            "?limit=3",
            f"?limit=2&before={middle}",
            f"?limit=2&after={middle}",
            "?after=0&limit=1",
        )
        found[room] = {
            query: [message["seq"] for message in _get(url, asked, f"/rooms/{room}/messages{query}").json]
            for query in queries
        }
    return found


def search(url: str, asked: Asked) -> Any:
    """By room and words: the seqs of the hits."""
    return {
        room: {
            words: [hit["seq"] for hit in _get(url, asked, f"/rooms/{room}/search?limit={PAGE}&q={quote(words)}").json]
            for words in asked["searches"]
        }
        for room in asked["rooms"]
    }


def attachments(url: str, asked: Asked) -> Any:
    """By room and hash: the response to a download. ``asked["uploads"]`` adds attachments that no message references."""
    wanted = {room: set(hashes) for room, hashes in asked["uploads"].items()}
    for room in asked["rooms"]:
        for entry in _paged(url, asked, room, "log"):
            wanted.setdefault(room, set()).update(part["sha256"] for part in entry.get("parts", ()))
    return {
        room: {sha256: _downloaded(url, asked, room, sha256) for sha256 in sorted(hashes)}
        for room, hashes in wanted.items()
    }


def replays(url: str, asked: Asked) -> Any:
    """By room and query: the frames sent to a member that rejoins over the WebSocket, up to ``synced``.

    A frame with an entry equal to that in the log is given by its type, the entry's seq, and ``prev``.
    """
    found: dict[str, dict[str, Any]] = {}
    for room in asked["rooms"]:
        entries = {entry["seq"]: entry for entry in _paged(url, asked, room, "log")}
        seqs = sorted(entries)
        epoch = _replay(url, asked, room, "", entries)["hello"]["epoch"]
        cursors = sorted({0, seqs[0], seqs[len(seqs) // 2], seqs[-2] if len(seqs) > 1 else 0, seqs[-1]})
        queries = ["", *[f"?after={cursor}&epoch={epoch}" for cursor in cursors], "?after=1&epoch=another"]
        found[room] = {query: _replay(url, asked, room, query, entries) for query in queries}
    return found


def access(url: str, asked: Asked) -> Any:
    """By token and room: the responses to a join, to a post without text, and to a moderator's command without a user.

    None of the three changes anything: if allowed, the post and the command are rejected as incomplete (400).
    """
    found: dict[str, dict[str, list[str]]] = {}
    for label, token in asked["tokens"].items():
        found[label] = {}
        for room in asked["rooms"]:
            answers = [
                request(url, "GET", f"/rooms/{room}/join", **bearer(token)),
                request(url, "POST", f"/rooms/{room}/messages", {"user": "x", "text": ""}, **bearer(token)),
                request(url, "POST", f"/rooms/{room}/moderation", {"do": "unmute"}, **bearer(token)),
            ]
            found[label][room] = [outcome(answer) for answer in answers]
    return found


def repeats(url: str, asked: Asked) -> Any:
    """The responses to repeated posts: the stored entry (200), or an error (a mute, another body)."""
    found = []
    for one in asked["repeats"]:
        key = bearer(asked["tokens"][one["label"]])
        answer = request(url, "POST", f"/rooms/{one['room']}/messages", one["body"], **key)
        found.append(answer.json if answer.status == 200 else outcome(answer))
    return found


SECTIONS = {
    "rooms": rooms,
    "messages": messages,
    "log": log,
    "pages": pages,
    "search": search,
    "attachments": attachments,
    "replays": replays,
    "access": access,
    "repeats": repeats,
}


def bearer(token: str | None) -> dict[str, str]:
    return {} if token is None else {"Authorization": f"Bearer {token}"}


def outcome(answer: Answer) -> str:
    """The status, followed by the error code if there is one."""
    return f"{answer.status} {answer.code}" if answer.status >= 400 else str(answer.status)


def _get(url: str, asked: Asked, path: str) -> Answer:
    answer = request(url, "GET", path, **bearer(asked["tokens"][asked["reader"]]))
    assert answer.status == 200, (path, answer.status, answer.body)
    return answer


def _paged(url: str, asked: Asked, room: str, what: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after = 0
    while page := _get(url, asked, f"/rooms/{room}/{what}?limit={PAGE}&after={after}").json:
        found += page
        after = page[-1]["seq"]
    return found


def _downloaded(url: str, asked: Asked, room: str, sha256: str) -> dict[str, Any]:
    answer = _get(url, asked, f"/rooms/{room}/parts/{sha256}")
    return {
        "sha256": hashlib.sha256(answer.body).hexdigest(),
        "size": len(answer.body),
        **{name: answer.headers[name] for name in ("Content-Type", "Content-Disposition", "ETag")},
    }


def _replay(url: str, asked: Asked, room: str, query: str, entries: dict[int, Any]) -> dict[str, Any]:
    key = bearer(asked["tokens"][asked["reader"]])
    with member(url, room, query, **key) as reader:
        frames = [reader.recv()]
        while frames[-1]["type"] != "synced":
            frames.append(reader.recv())
    hello = {name: frames[0][name] for name in ("type", "room", "epoch", "seq", "oldest", "resumed")}
    found: list[Any] = []
    for frame in frames[1:]:
        seq = frame.get("entry", {}).get("seq")
        as_in_log = seq in entries and frame.keys() == {"type", "entry", "prev"} and frame["entry"] == entries[seq]
        found.append(f"{frame['type']} {seq} after {frame['prev']}" if as_in_log else frame)
    return {"hello": hello, "frames": found}


def redacted(entries: list[Any]) -> list[Any]:
    """The raw log of a room as it is served today: without the texts that later edits and deletes have replaced."""
    shown = {entry["seq"]: dict(entry) for entry in entries}
    for entry in entries:
        if (kind := entry.get("kind")) not in ("edit", "delete"):
            continue
        for earlier in shown.values():
            if earlier.get("target") == entry["target"] and earlier["seq"] < entry["seq"]:
                earlier.pop("text", None)
        message = shown[entry["target"]]
        message.update(redacted=True, text=entry["text"] if kind == "edit" else "")
        if kind == "delete":
            message.pop("parts", None)
            message.pop("ask", None)
    return list(shown.values())


def redact(answers: dict[str, Any], asked: Asked) -> dict[str, Any]:
    """The former answers by section, without what is no longer served of deleted and edited messages.

    A search finds more since: "grosse" is in "Größe".
    """
    logs = {room: redacted(entries) for room, entries in answers["log"].items()}
    attachments = {}
    for room, downloads in answers["attachments"].items():
        shown = {part["sha256"] for entry in logs[room] for part in entry.get("parts", ())}
        wanted = shown | set(asked["uploads"].get(room, ()))
        attachments[room] = {sha256: one for sha256, one in downloads.items() if sha256 in wanted}
    searches = {room: {**words, "grosse 漢字": words["größe"]} for room, words in answers["search"].items()}
    return {**answers, "log": logs, "attachments": attachments, "search": searches}
