"""Kill an agent while its question is open, many times: no answer is lost, and the next session finds each.

``python tests/chaos/load/agents.py [KILLS] [LOG] [MINUTES]``: 100 kills against ``memory``, an ``sqlite:`` path or a
``nats://`` address. With MINUTES, one more question is answered only after so long, and waited for in pieces.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import time
from functools import partial

from bqserver.testing import RunningServer, running_server
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from bqwidget import Room
from bqwidget.protocol import Message

ROOM = "agents"


def frames(arguments: dict[str, object]) -> bytes:
    """What an MCP client writes to ask people."""
    start = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "chaos", "version": "1"}}
    messages = (
        {"id": 1, "method": "initialize", "params": start},
        {"method": "notifications/initialized"},
        {"id": 2, "method": "tools/call", "params": {"name": "ask_people", "arguments": arguments}},
    )
    return b"".join(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n" for message in messages)


def ask_and_kill(server: RunningServer, reader: Room, text: str, generator: random.Random) -> Message:
    """The question of an agent that was killed at some moment after the room had it."""
    command = [sys.executable, "-m", "bqwidget.mcp", "--url", server.url, "--user", "helper"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(frames({"room": ROOM, "question": text}))
    process.stdin.flush()
    question = reader.wait_for(lambda message: message.text == text, timeout=60, after=0)
    time.sleep(generator.uniform(0, 0.2))
    process.kill()
    process.communicate()
    return question


def agent(server: RunningServer) -> Client:
    command = ["-m", "bqwidget.mcp", "--url", server.url, "--user", "helper"]
    return Client(stdio_client(StdioServerParameters(command=sys.executable, args=command, env=dict(os.environ))))


async def check(server: RunningServer, questions: list[Message]) -> list[str]:
    """The answers that one new session finds."""
    async with agent(server) as client:
        found = [await client.call_tool("check_answer", {"room": ROOM, "question": each.seq}) for each in questions]
    return [str((each.structured_content or {}).get("answer")) for each in found]


async def wait_in_pieces(server: RunningServer, bob: Room, minutes: float) -> tuple[str, int]:
    """The answer to a question that is answered after ``minutes``, and the calls that it took."""
    async with agent(server) as client:
        calls = 1
        asked = await client.call_tool("ask_people", {"room": ROOM, "question": "Later?", "timeout_s": minutes * 120})
        data = asked.structured_content or {}
        ends = time.monotonic() + minutes * 60 - 45
        while "waiting" in data:
            if time.monotonic() > ends:
                asyncio.get_running_loop().call_later(5, partial(bob.answer, data["question"], "now", wait=False))
                ends = float("inf")
            data = (
                await client.call_tool("check_answer", {"room": ROOM, "question": data["question"]})
            ).structured_content or {}
            calls += 1
    return str(data.get("answer")), calls


def main(kills: int = 100, log: str = "memory", minutes: float = 0) -> int:
    generator = random.Random(kills)
    cluster = {"single": True} if log.startswith("nats") else {}
    with (
        running_server(log=log, open=True, **cluster) as server,
        Room(ROOM, user="bob", url=server.url).wait_open(60) as bob,
    ):
        questions = []
        for number in range(kills):
            questions.append(ask_and_kill(server, bob, f"question {number}", generator))
            bob.answer(questions[-1], f"answer {number}")
        found = asyncio.run(check(server, questions))
        lost = [number for number in range(kills) if found[number] != f"answer {number}"]
        print(f"{kills} kills on {log.partition(':')[0]}: {len(lost)} answers lost")
        if minutes:
            answer, calls = asyncio.run(wait_in_pieces(server, bob, minutes))
            print(f"an answer after {minutes:g} minutes, in {calls} calls: {answer}")
            lost += [] if answer == "now" else [-1]
    return bool(lost)


if __name__ == "__main__":
    sys.exit(main(*(kind(given) for kind, given in zip((int, str, float), sys.argv[1:], strict=False))))
