"""The names that nodes of a cluster use in NATS: subjects, the fields of what is published there, streams."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.eventually import eventually
from support.pictures import png
from support.release.files import bqserver
from support.release.names import Names, keys_of
from support.release.report import bearer
from support.ws_client import member, request


def cluster_names(nats: str, data: Path, ada: str) -> Names:
    """The subjects to which two nodes publish, with the fields of the JSON, and the streams that they create.

    ``nats``: host:port of a server without streams; ``data``: the data folder; ``ada``: a moderator's token.
    """
    with _record_messages(nats) as published:
        _run_nodes(nats, data, ada, published)
        eventually(lambda: "bye" in published["S.nodes"], what="the last node's end")
    subjects = {subject: sorted(keys) for subject, keys in sorted(published.items())}
    return {"subjects": subjects, "streams": asyncio.run(_streams(nats))}


def _run_nodes(nats: str, data: Path, ada: str, published: dict[str, set[str]]) -> None:
    """Make two nodes publish every kind of message."""
    from bqserver.testing import running_server

    log = {"log": f"nats://{nats}/S", "single": True}
    with running_server(**log) as one:
        key = bearer(one.token)
        for number in range(8):
            body = {"user": "x", "text": "." * 200, "cid": str(number)}
            assert request(one.url, "POST", "/rooms/old/messages", body, **key).status == 201
        part = request(one.url, "POST", "/rooms/lobby/parts", png(), Content_Type="image/png", **key).json
        with running_server(**log, retain=["old=1kB"], rate_limit=100) as other:
            with (
                member(one.url, "lobby", "?user=x", **key) as x,
                member(other.url, "lobby", "?user=y", **key) as y,
            ):
                x.say("hi", user="x", parts=[part])
                seq = x.until("ack")["seq"]
                for kind, fields in {"react": {"emoji": "x"}, "edit": {"text": "ho"}, "delete": {}}.items():
                    x.send({"type": f"chat.{kind}", "cid": kind, "user": "x", "target": seq, **fields})
                    x.until("ack")
                y.say("Which?", user="y", cid="ask", ask={"choices": ["a"]})
                expire = {
                    "type": "chat.expire",
                    "cid": "expire",
                    "user": "y",
                    "target": y.until("ack")["seq"],
                }
                y.send(expire)
                y.until("ack")
                eventually(lambda: {one["user"] for one in x.until("presence")["members"]} == {"x", "y"})
            for order in ({"do": "mute", "user": "eve", "minutes": 5}, {"do": "close"}, {"do": "reopen"}):
                assert request(one.url, "POST", "/rooms/lobby/moderation", order, **bearer(ada)).status == 204
            assert request(one.url, "POST", "/invites", {}, **key).status == 201
            assert request(one.url, "GET", "/rooms", **key).status == 200
            bqserver(data, "token", "revoke", "carol")
            eventually(lambda: "S.orders.revoked.ID" in published, what="the revocation")
            eventually(lambda: "$KV.S-pages.lobby" in published, what="a page")
            eventually(lambda: "trimmed" in published.get("$KV.S-pages.old", ()), what="the page of a trimmed room")


@contextmanager
def _record_messages(nats: str) -> Iterator[dict[str, set[str]]]:
    """Yields, by normalised subject, the keys of the published JSON (none for other bytes), updated while it runs."""
    from nats.aio.client import Client
    from nats.aio.msg import Msg

    published: dict[str, set[str]] = {}

    async def record(message: Msg) -> None:
        subject, data = _normalised(message.subject), message.data
        if subject.startswith("$O."):  # NATS' own fields, except for the description
            data = json.loads(data)["description"].encode() if ".M." in subject else b""
        try:
            keys = keys_of(json.loads(data))
        except ValueError:
            keys = set()
        if subject.startswith("_INBOX.") and "peers" in keys:
            subject = "the answer to S.peers"
        if not subject.startswith(("_INBOX.", "$JS.")):
            published.setdefault(subject, set()).update(keys)

    async def listen() -> None:
        client = Client()
        await client.connect(f"nats://{nats}")
        await client.subscribe(">", cb=record)
        await client.flush()
        ready.set()
        await stopped.wait()
        await client.drain()

    ready, stopped, loop = threading.Event(), asyncio.Event(), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_until_complete, args=(listen(),))
    thread.start()
    assert ready.wait(20)
    try:
        yield published
    finally:
        loop.call_soon_threadsafe(stopped.set)
        thread.join()
        loop.close()


def _normalised(subject: str) -> str:
    kind, _, name = subject.rpartition(".")
    if kind.startswith("$O.") and kind.endswith(".M"):
        name = urlsafe_b64decode(name).decode()
    elif kind.startswith("$O."):
        name = "OBJECT"
    subject = re.sub(r"[0-9a-f]{32,64}", "HASH", f"{kind}.{name}")
    return re.sub(r"(?<=\.revoked\.)\w+", "ID", subject)


async def _streams(nats: str) -> Names:
    """By stream: the settings that bqserver specifies."""
    from nats.aio.client import Client

    ours = (
        *("subjects", "republish", "max_msgs_per_subject", "max_age", "allow_msg_ttl", "discard", "storage"),
        *("allow_direct", "allow_rollup_hdrs", "duplicate_window", "num_replicas", "retention"),
    )
    client = Client()
    await client.connect(f"nats://{nats}")
    listed = json.loads((await client.request("$JS.API.STREAM.LIST", b"")).data)["streams"]
    await client.close()
    return {
        stream["config"]["name"]: {name: stream["config"].get(name) for name in ours}
        | {"metadata": [name for name in sorted(stream["config"].get("metadata") or {}) if name[0] != "_"]}
        for stream in listed
    }
