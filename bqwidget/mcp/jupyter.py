"""The same tools as functions, for ``jupyter-server-mcp``: in the rooms of the Jupyter server that offers them."""

from __future__ import annotations

import os
from collections.abc import Mapping

from jupyter_server.serverapp import ServerApp

from .rooms import AgentRoom, AgentRooms
from .tools import AgentTools

AGENT_NAME = "agent"
"""The name under which they write."""


def _environment() -> Mapping[str, str]:
    """Address and token of the rooms inside this Jupyter server; the process's own where it has none."""
    settings = ServerApp.instance().web_app.settings if ServerApp.initialized() else {}
    make_environment = settings.get("bqserver_agent_environment")
    return os.environ if make_environment is None else make_environment(AGENT_NAME)


def _join(name: str) -> AgentRoom:
    environment = _environment()
    return AgentRoom(name, AGENT_NAME, url=environment.get("BQWIDGET_URL"), token=environment.get("BQWIDGET_TOKEN"))


_tools = AgentTools(AgentRooms(_join))

list_rooms = _tools.list_rooms
read_messages = _tools.read_messages
search = _tools.search
check_answer = _tools.check_answer
wait_for_message = _tools.wait_for_message
send_message = _tools.send_message
ask_people = _tools.ask_people
report = _tools.report
