"""``python -m bqwidget.mcp``: the tools over stdin and stdout, for an MCP client that starts this process."""

from __future__ import annotations

import argparse
import os
import sys

from bqwidget.errors import BqwidgetError, ProtocolError
from bqwidget.protocol import check_room


def main() -> int:
    """Serve until stdin ends. Returns the exit status: 1 without the SDK, 2 for a wrong argument."""
    parser = argparse.ArgumentParser(prog="python -m bqwidget.mcp", description=__doc__)
    parser.add_argument("--url", help="the chat server (default: BQWIDGET_URL, else this user's local server)")
    parser.add_argument("--user", help="the agent's name in the rooms (default: agent)", default="agent")
    parser.add_argument("--room", action="append", default=[], help="use only this room; repeatable")
    parser.add_argument("--read-only", action="store_true", help="offer only the tools that read")
    arguments = parser.parse_args()
    try:
        rooms = [check_room(name) for name in arguments.room]
    except ProtocolError as error:
        parser.error(f"--room: {error}")
    try:
        from .server import serve  # noqa: PLC0415 - needs the SDK
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"mcp", "mcp_types", "pydantic"}:
            raise
        sys.stderr.write("bqwidget.mcp needs the MCP SDK: pip install 'mcp>=2,<3'\n")
        return 1
    try:
        serve(arguments.user, url=arguments.url, rooms=rooms, read_only=arguments.read_only)
    except BqwidgetError as error:
        sys.stderr.write(f"bqwidget.mcp: {error}\n")
        return 2
    except KeyboardInterrupt:
        pass
    sys.stdout.flush()
    os._exit(0)  # a thread of the SDK may still wait for stdin, and would be waited for


if __name__ == "__main__":
    sys.exit(main())
