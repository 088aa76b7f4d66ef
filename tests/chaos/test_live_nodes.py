"""The node of an author is killed while it writes: the other nodes end the message, with one text for everyone.

Size 1: two kills; size 100: a hundred, which takes about ten minutes.
"""

from __future__ import annotations

import random
import time
from contextlib import ExitStack
from pathlib import Path
from threading import Event

import pytest
from support.nats_cluster import NatsCluster
from support.ws_client import Member, append, members, opened, request

from .load.server_process import ServerProcess, server_process
from .load.sizes import scaled, seconds

KILLS = scaled(2, 100)
HEARTBEAT = 2.0
MAX_WRITING_SECONDS = 2.5
"""Until the kill: the log gets the text once in 2 s."""
TOKEN = "token "


@pytest.mark.alone
@pytest.mark.timeout(seconds(90))
def test_the_messages_of_killed_nodes_end_with_one_text(nats_single: NatsCluster, tmp_path: Path) -> None:
    log = nats_single.log()

    def options(name: str) -> tuple[str, ...]:
        return ("--single", f"--view={tmp_path / name}", f"--heartbeat={HEARTBEAT}", "--rate-limit=0")

    with ExitStack() as stack:
        killed, here, there = [
            stack.enter_context(server_process(log, *options(f"{name}.sqlite"))) for name in ("a", "b", "c")
        ]
        times = []
        for number in range(KILLS):
            if not killed.running:
                killed.start()
            with members(here, "ada") as (ada,), members(there, "eve") as (eve,):
                with members(killed, f"bot{number}") as (bot,):
                    seq = opened(bot, cid=f"open{number}")
                    _write(bot, seq, random.uniform(0, MAX_WRITING_SECONDS))
                    killed_at = time.monotonic()
                    killed.kill()
                shown = [_text_at_the_end(one, seq) for one in (ada, eve)]
                times.append(time.monotonic() - killed_at)
            stored = [_stored(node, seq) for node in (here, there)]
            assert [message["end"] for message in stored] == ["lost", "lost"]
            assert len({*shown, *[message["text"] for message in stored]}) == 1
        print(f"{KILLS} kills: ended after at most {max(times) / HEARTBEAT:.2f} heartbeats")
        assert max(times) < 3 * HEARTBEAT


def _write(bot: Member, seq: int, seconds: float) -> None:
    """Append tokens, about a hundred a second."""
    until, count = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        append(bot, seq, count * len(TOKEN), TOKEN)
        count += 1
        Event().wait(0.01)


def _text_at_the_end(one: Member, seq: int) -> str:
    """What a member that follows live messages shows when the message has ended."""
    text = ""
    while (frame := one.recv()).get("entry", {}).get("end") is None:
        piece = frame.get("entry", frame)
        if piece.get("target") == seq and "offset" in piece and "text" in piece:
            kept = text[: piece["offset"]] if piece.get("replace") else text
            text = kept + piece["text"][len(kept) - piece["offset"] :]
    return text


def _stored(node: ServerProcess, seq: int) -> dict:
    return next(message for message in request(node.url, "GET", "/messages").json if message["seq"] == seq)
