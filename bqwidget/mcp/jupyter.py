"""The same tools as functions, for ``jupyter-server-mcp``: members of the rooms of the Jupyter server's user."""

from __future__ import annotations

from .rooms import AgentRooms
from .tools import AgentTools

_tools = AgentTools(AgentRooms("agent"))

list_rooms = _tools.list_rooms
read_messages = _tools.read_messages
search = _tools.search
check_answer = _tools.check_answer
wait_for_message = _tools.wait_for_message
send_message = _tools.send_message
ask_people = _tools.ask_people
report = _tools.report
