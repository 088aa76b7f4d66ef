"""The recipe's client, unchanged, against ``bqserver --open``: the client that this project grew from keeps working."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from bqserver.testing import running_server
from support.ws_client import request

CLIENT = Path(__file__).with_name("recipe_client.mjs")


@pytest.fixture(params=["memory", "sqlite", "nats"])
def shown(request, node, log_traits) -> dict:
    """What the recipe's page would show, by event."""
    with running_server(**log_traits(request.param), open=True) as server:
        return run(server.url, node)


def run(url: str, node: str) -> dict:
    request(url, "POST", "/messages", {"user": "bob", "text": "before"})
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    # A browser always has WebSocket; Node 20 keeps it behind a flag.
    flags = ["--experimental-websocket"] if version.startswith(("v20.", "v21.")) else []
    done = subprocess.run([node, *flags, str(CLIENT), url], capture_output=True, text=True, timeout=60, check=True)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    return {event["event"]: event["data"] for event in events}


def test_the_recipe_client_lists_posts_receives_and_gets_echoes(shown):
    assert [m["text"] for m in shown["loaded"]] == ["before"]
    assert (shown["hello"]["type"], shown["hello"]["room"]) == ("hello", "lobby")
    posted = shown["posted"]
    assert posted["status"] == 201
    assert {"user": "ada", "text": "from the recipe"}.items() <= posted["entry"].items()
    assert shown["message"]["entry"] == posted["entry"]
    assert [m["text"] for m in shown["messages"]] == ["before", "from the recipe"]
    ats = [m["at"] for m in shown["messages"]]
    assert len(set(ats)) == len(ats), "the recipe keys its rows by `at`"
    assert shown["refused"] == 400
    assert shown["echo"] == {"type": "echo", "message": {"type": "wave", "at": 7}}
    assert shown["closed"] is True
