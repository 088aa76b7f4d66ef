"""Rooms for agents: an MCP server whose session is a member of the rooms that it uses (``python -m bqwidget.mcp``).

It needs the extra ``agents`` (the official ``mcp`` SDK); nothing else of bqwidget imports that.
"""

from __future__ import annotations

TOOL_NAMES = (
    *("list_rooms", "read_messages", "search", "check_answer", "wait_for_message"),
    *("send_message", "ask_people", "report"),
)
TOOLS = [f"bqwidget.mcp.jupyter:{name}" for name in TOOL_NAMES]
"""The tools for ``jupyter-server-mcp``, which finds this list by the entry point ``jupyter_server_mcp.tools``."""
