"""An agent drives every tool by the real MCP client over stdio, against a real server."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from bqserver.auth.tokens import add_grant
from bqserver.testing import RunningServer, running_server
from support.eventually import eventually
from support.paths import PYTHONPATH, TESTS
from support.pictures import png

from bqwidget import Room
from bqwidget.mcp import TOOL_NAMES, TOOLS
from bqwidget.protocol import Message

if TYPE_CHECKING:
    from mcp.client import Client  # it takes seconds to import: not where the tests are collected

pytestmark = pytest.mark.slow("starts the MCP server as a process", versions=True)
INJECTIONS: list[str] = json.loads((TESTS / "injections.json").read_text())
"""Fifty texts by which a person might try to speak to an agent as its tool or its user."""


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with running_server(open=True) as running:
        yield running


@asynccontextmanager
async def agent(server: RunningServer, *arguments: str, user: str = "helper") -> AsyncIterator[Client]:
    from mcp.client import Client
    from mcp.client.stdio import StdioServerParameters, stdio_client

    command = ["-m", "bqwidget.mcp", "--url", server.url, "--user", user, *arguments]
    environ = {**os.environ, "PYTHONPATH": PYTHONPATH}
    async with Client(stdio_client(StdioServerParameters(command=sys.executable, args=command, env=environ))) as client:
        yield client


async def call(client: Client, tool: str, /, **arguments):
    """What a tool returns; AssertionError if it is an error."""
    returned = await client.call_tool(tool, arguments)
    assert not returned.is_error, returned.content[0].text
    assert json.loads(returned.content[0].text) == returned.structured_content
    return returned.structured_content


async def error_of(client: Client, tool: str, /, **arguments) -> str:
    returned = await client.call_tool(tool, arguments)
    assert returned.is_error
    return returned.content[0].text


def member(server: RunningServer, room: str, user: str = "bob") -> Room:
    return Room(room, user=user, url=server.url, separate=True).wait_open(30)


@pytest.mark.parametrize("kind", ["sqlite", "nats"])
def test_an_agent_uses_every_tool(kind: str, log_traits):
    with running_server(**log_traits(kind), open=True) as server:
        check_every_tool(server)


def check_every_tool(server: RunningServer) -> None:
    bob = member(server, "tools")

    async def session():
        async with agent(server) as client:
            offered = {tool.name: tool for tool in (await client.list_tools()).tools}
            assert set(offered) == set(TOOL_NAMES)
            assert all(tool.description and tool.input_schema["type"] == "object" for tool in offered.values())

            sent = await call(client, "send_message", room="tools", text="hi")
            assert bob.wait_for(after=0, timeout=30).text == "hi"
            first = bob.send("the **loss** is 0.2")
            read = await call(client, "read_messages", room="tools")
            assert [(each["seq"], each["user"], each["text"]) for each in read["messages"]] == [
                (sent["seq"], "helper", "hi"),
                (first.seq, "bob", "the **loss** is 0.2"),
            ]
            assert {"user": "helper", "kind": "agent", "verified": False} in read["members"]
            later = await call(client, "read_messages", room="tools", after=sent["seq"], limit=1)
            assert [each["seq"] for each in later["messages"]] == [first.seq]
            assert (await call(client, "search", room="tools", words="loss"))["messages"][0]["seq"] == first.seq
            assert "tools" in {each["name"] for each in (await call(client, "list_rooms"))["rooms"]}

            waiting = asyncio.create_task(call(client, "wait_for_message", room="tools", after=first.seq))
            reply = await asyncio.to_thread(bob.reply, sent["seq"], "hello")
            assert (await waiting)["messages"][0] | {"at": ""} == {
                "seq": reply.seq,
                "user": "bob",
                "verified": False,
                "at": "",
                "text": "hello",
                "re": sent["seq"],
            }
            await call(client, "report", room="tools", title="deploy", fraction=0.4, text="copying")
            await call(client, "report", room="tools", title="deploy", text="three hosts", end="done")
            eventually(lambda: "✓ deploy" in bob.messages[-1].text and "three hosts" in bob.messages[-1].text)

    asyncio.run(session())
    bob.close()


def test_a_question_is_answered_while_the_call_waits_and_the_client_hears_of_the_wait(server: RunningServer):
    bob = member(server, "asking")
    progress: asyncio.Queue[str | None] = asyncio.Queue()

    async def heard(_done: float, _total: float | None, message: str | None) -> None:
        progress.put_nowait(message)

    async def session():
        async with agent(server) as client:
            asked = {"room": "asking", "question": "Deploy?", "choices": ["yes", "no"]}
            calling = asyncio.create_task(client.call_tool("ask_people", asked, progress_callback=heard))
            question = await bob.next_message(lambda each: each.ask is not None, timeout=30, after=0)
            assert question.user == "helper"
            assert question.ask.choices == ("yes", "no")
            assert await progress.get() == f"waiting for an answer to message {question.seq} in asking"
            await asyncio.to_thread(bob.answer, question, "no")
            data = (await calling).structured_content
            assert data == {"answer": "no", "user": "bob", "verified": False, "question": question.seq}

    asyncio.run(session())
    bob.close()


INITIALIZE = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}


def ask_and_die(server: RunningServer, reader: Room) -> Message:
    """The question of an agent whose process was killed while it waited for the answer."""
    command = [sys.executable, "-m", "bqwidget.mcp", "--url", server.url, "--user", "helper"]
    environ = {**os.environ, "PYTHONPATH": PYTHONPATH}
    process = subprocess.Popen(command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    arguments = {"room": reader.name, "question": "Which host?"}
    frames = (
        {"id": 1, "method": "initialize", "params": INITIALIZE},
        {"method": "notifications/initialized"},
        {"id": 2, "method": "tools/call", "params": {"name": "ask_people", "arguments": arguments}},
    )
    assert process.stdin is not None
    process.stdin.write(b"".join(json.dumps({"jsonrpc": "2.0", **frame}).encode() + b"\n" for frame in frames))
    process.stdin.flush()
    question = reader.wait_for(lambda message: message.ask is not None, timeout=60, after=0)
    process.kill()
    process.communicate()
    return question


def test_a_question_outlives_the_agent_and_the_next_session_gets_the_answer(server: RunningServer):
    bob = member(server, "durable")

    question = ask_and_die(server, bob)

    async def session():
        await asyncio.to_thread(eventually, lambda: "helper" not in {each.user for each in bob.members})
        await asyncio.to_thread(bob.answer, question, "the second")
        async with agent(server) as client:
            answer = await call(client, "check_answer", room="durable", question=question.seq)
            assert answer == {"answer": "the second", "user": "bob", "verified": False, "question": question.seq}

    asyncio.run(session())
    assert next(each for each in bob.messages if each.ask).expired is None
    bob.close()


def test_a_question_without_an_answer_in_time_is_expired(server: RunningServer):
    async def session():
        async with agent(server) as client:
            asked = await call(client, "ask_people", room="expiring", question="Now?", timeout_s=0.5)
            assert asked == {"expired": True, "question": asked["question"]}
            assert await call(client, "check_answer", room="expiring", question=asked["question"]) == asked
            sent = await call(client, "send_message", room="expiring", text="no question")
            assert "is not a question" in await error_of(client, "check_answer", room="expiring", question=sent["seq"])
            assert "has no message" in await error_of(client, "check_answer", room="expiring", question=999)

    asyncio.run(session())


def test_an_agent_is_limited_to_its_rooms_and_to_reading(server: RunningServer):
    bob = member(server, "allowed")
    from bqwidget.mcp.server import READING_TOOLS

    bob.send("hi")

    async def session():
        async with agent(server, "--room=allowed", "--read-only") as client:
            assert {tool.name for tool in (await client.list_tools()).tools} == set(READING_TOOLS)
            assert [each["text"] for each in (await call(client, "read_messages", room="allowed"))["messages"]] == [
                "hi"
            ]
            refused = await error_of(client, "read_messages", room="lobby")
            assert refused == "room lobby is not among those of this agent: allowed (forbidden)"
            assert [each["name"] for each in (await call(client, "list_rooms"))["rooms"]] == ["allowed"]
            assert "not a room name" in await error_of(client, "read_messages", room="no room")
            returned = await client.call_tool("send_message", {"room": "allowed", "text": "x"})
            assert returned.is_error

    asyncio.run(session())
    assert len(bob.messages) == 1
    bob.close()


def test_the_server_refuses_an_agent_by_its_token_with_its_own_code(tmp_path, monkeypatch):
    """A token for one room, and one that may only read; the tool's answer is the server's sentence and code."""
    path = tmp_path / "tokens.json"
    writer, _ = add_grant(path, "helper", rooms=["team"], kind="agent")
    reader, _ = add_grant(path, "watcher", rooms=["team"], read_only=True, kind="agent")
    with running_server(named_tokens=str(path)) as guarded:

        async def session(token: str, tool: str, **arguments):
            monkeypatch.setenv("BQWIDGET_TOKEN", token)
            async with agent(guarded, user="owner") as client:
                returned = await client.call_tool(tool, arguments)
                return returned.content[0].text.rpartition("(")[2] if returned.is_error else returned.structured_content

        say = {"tool": "send_message", "room": "team", "text": "hi"}
        assert asyncio.run(session("wrong", **say)) == "unauthorized)"
        assert asyncio.run(session(writer, **{**say, "room": "lobby"})) == "forbidden)"
        assert asyncio.run(session(reader, **say)) == "read_only)"
        assert asyncio.run(session(writer, **say))["seq"] == 1
        read = asyncio.run(session(reader, "read_messages", room="team"))
        assert [(each["user"], each["verified"]) for each in read["messages"]] == [("helper", True)]
        assert read["members"] == [{"user": "watcher", "kind": "agent", "verified": True}]


def test_what_people_write_arrives_as_data(server: RunningServer):
    """Texts, names and captions that try to look like the tool's own words or like instructions."""
    bob = member(server, "injections")
    mallory = Room("injections", user=INJECTIONS[0][:64], url=server.url, separate=True).wait_open(30)
    for text in INJECTIONS:
        bob.send(text)
    mallory.send("my name is the attack")
    bob.send(png(8, 8), INJECTIONS[1], name=INJECTIONS[2][:100])

    async def session():
        async with agent(server) as client:
            returned = await client.call_tool("read_messages", {"room": "injections", "limit": 200})
            data = returned.structured_content
            assert [each["text"] for each in data["messages"]] == [*INJECTIONS, "my name is the attack", INJECTIONS[1]]
            assert data["messages"][-2]["user"] == INJECTIONS[0][:64]
            # One block of JSON, the line of JSON before the picture, and the picture: no text stands by itself.
            kinds = [block.type for block in returned.content]
            assert kinds == ["text", "text", "image"]
            assert json.loads(returned.content[0].text) == data
            assert json.loads(returned.content[1].text)["name"] == bob.messages[-1].parts[0].name
            assert base64.b64decode(returned.content[2].data) == png(8, 8)

    asyncio.run(session())
    bob.close()
    mallory.close()


def test_a_page_is_bounded_and_says_that_there_is_more(server: RunningServer):
    bob = member(server, "long")
    seqs = [bob.send(f"{number} " + "x" * 15_000).seq for number in range(4)]

    async def session():
        async with agent(server) as client:
            read = await call(client, "read_messages", room="long", after=0)
            assert ([each["seq"] for each in read["messages"]], read["more"]) == (seqs[:2], True)
            rest = await call(client, "read_messages", room="long", after=seqs[1])
            assert ([each["seq"] for each in rest["messages"]], rest["more"]) == (seqs[2:], False)
            newest = await call(client, "read_messages", room="long")
            assert ([each["seq"] for each in newest["messages"]], newest["older_left_out"]) == (seqs[2:], True)

    asyncio.run(session())
    bob.close()


def test_two_agents_and_two_people_share_a_room(server: RunningServer):
    people = [member(server, "team", user) for user in ("ada", "bob")]

    async def session():
        async with agent(server, user="builder") as builder, agent(server, user="tester") as tester:
            for client, room_text in ((builder, "built"), (tester, "tested")):
                await call(client, "send_message", room="team", text=room_text)
            calling = asyncio.create_task(call(tester, "ask_people", room="team", question="Ship?", from_="ada"))
            question = await people[0].next_message(lambda each: each.ask is not None, timeout=30, after=0)
            await asyncio.to_thread(people[1].reply, question, "not mine to say")
            await asyncio.to_thread(people[0].answer, question, "ship it")
            assert (await calling)["user"] == "ada"
            seen = await call(builder, "read_messages", room="team")
            assert [each["text"] for each in seen["messages"]] == [
                *("built", "tested", "Ship?", "not mine to say", "ship it")
            ]
            while {each["user"] for each in seen["members"] if each["kind"] == "agent"} != {"builder", "tester"}:
                seen = await call(builder, "read_messages", room="team")  # presence follows after 0.1 s

    asyncio.run(session())
    for person in people:
        person.close()


def test_the_command_names_a_wrong_argument():
    for argument, said in (("--room=no room", "is not a room name"), ("--nonsense", "unrecognized arguments")):
        command = [sys.executable, "-m", "bqwidget.mcp", argument]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
        assert (done.returncode, said in done.stderr) == (2, True), done.stderr


def test_without_the_sdk_the_command_says_what_to_install():
    code = "import sys; sys.modules['mcp'] = None; import runpy; runpy.run_module('bqwidget.mcp', run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": PYTHONPATH},
    )
    assert done.returncode == 1
    assert done.stderr == "bqwidget.mcp needs the MCP SDK: pip install 'mcp>=2,<3'\n"


def test_neither_the_package_nor_the_list_of_tools_imports_the_sdk():
    code = "import bqwidget.mcp, sys; from bqwidget import Room; print({'mcp', 'mcp_types', 'pydantic'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": PYTHONPATH},
    )
    assert done.stdout == "set()\n"
    assert [f"bqwidget.mcp.jupyter:{name}" for name in TOOL_NAMES] == TOOLS
