"""jupyter-server-mcp finds the tools by their entry point, in the rooms of the Jupyter server's notebooks."""

from __future__ import annotations

import asyncio
import json
from importlib.metadata import entry_points
from pathlib import Path

from support.eventually import eventually

from bqwidget.mcp import TOOL_NAMES, TOOLS

SAY = """
from bqwidget import Room
room = Room("lobby", user="ada").wait_open(30)
print(room.send("hello agent").seq)
"""


def test_a_jupyter_server_offers_the_tools_with_no_setting(home: Path, home_environ: dict[str, str], jupyter_server):
    from mcp.client import Client

    assert [point.load() for point in entry_points(group="jupyter_server_mcp.tools") if point.name == "bqwidget"] == [
        TOOLS
    ]
    enabled = '--ServerApp.jpserver_extensions={"jupyter_server_mcp": True, "bqserver.extension": True}'
    with jupyter_server(home, home_environ, enabled, "--MCPExtensionApp.mcp_port=0") as server:
        runtime = Path(home_environ["JUPYTER_RUNTIME_DIR"])
        published = eventually(lambda: next(iter(runtime.glob("jpserver-mcp-*.json")), None))
        seq = int(server.kernel().run(SAY))

        async def session():
            async with Client(json.loads(published.read_text())["url"]) as client:
                assert set(TOOL_NAMES) <= {tool.name for tool in (await client.list_tools()).tools}
                read = await client.call_tool("read_messages", {"room": "lobby"})
                assert (read.structured_content or {})["messages"][0]["seq"] == seq
                assert {member["kind"] for member in read.structured_content["members"]} == {"agent", "kernel"}
                sent = await client.call_tool("send_message", {"room": "lobby", "text": "hello ada"})
                return sent.structured_content["seq"]

        assert asyncio.run(session()) > seq
