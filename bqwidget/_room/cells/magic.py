"""``%%share ROOM words``: sends a cell and its output to a room when it has ended, also if it fails."""

# ruff: noqa: SLF001 - a part of the room

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bqwidget._room.delivery import DELIVERY_TIMEOUT
from bqwidget._threads.cell_content import record_displays
from bqwidget._threads.cells import ipython_shell
from bqwidget.protocol import check_room

if TYPE_CHECKING:
    from bqwidget._room.sending import SendMixin

NAME = "share"
DEFAULT_ROOM = "lobby"


def load_magic(room_class: type[SendMixin]) -> None:
    """Define the magic in IPython, if that runs here. ``room_class``: opens a room by its name."""
    shell = ipython_shell()
    if shell is not None:
        record_displays()
        shell.input_transformers_cleanup.append(_as_line_magic)
        shell.register_magic_function(_Share(shell, room_class), "line_cell", NAME)


def _as_line_magic(lines: list[str]) -> list[str]:
    """The rest of the cell runs as an ordinary one, so its output and its errors are shown as always."""
    first = lines[0].split(maxsplit=1) if lines else []
    if first[:1] != [f"%%{NAME}"]:
        return lines
    return [f"get_ipython().run_line_magic({NAME!r}, {''.join(first[1:]).strip()!r})\n", *lines[1:]]


class _Share:
    """Sends the cell that runs when it has ended: its source, and its output as text, pictures and tables.

    The room is the notebook's variable that is a room of this name, else it is opened under the default user name.
    Example: ``%%share lobby look at the loss``
    """

    def __init__(self, shell: Any, room_class: type[SendMixin]) -> None:
        self.__doc__ = type(self).__doc__
        self._shell = shell
        self._room_class: Any = room_class
        self._opened: dict[str, Any] = {}

    def __call__(self, line: str, _: str | None = None) -> None:
        name, _, words = line.strip().partition(" ")
        room_name = check_room(name or DEFAULT_ROOM)

        def send(ended: Any) -> None:
            self._shell.events.unregister("post_run_cell", send)
            room = self._room(room_name)
            room._deliver(room._content_draft(words.strip(), "", None, None, cell=True, ended=ended), DELIVERY_TIMEOUT)

        self._shell.events.register("post_run_cell", send)

    def _room(self, name: str) -> Any:
        for room in (*self._shell.user_ns.values(), self._opened.get(name)):
            if isinstance(room, self._room_class) and room.name == name and room.status != "closed":
                return room
        self._opened[name] = self._room_class(name)
        return self._opened[name]
