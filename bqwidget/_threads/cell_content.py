"""What the running cell of IPython has: its source, its place in a notebook, and what it has printed and shown."""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from .cells import ipython_shell

MAX_DISPLAYS = 8
"""Of one cell, the newest."""
WIDGET = "application/vnd.jupyter.widget-view+json"


class CellContent(NamedTuple):
    """``id``, ``path``: of the cell, and of its notebook below the folder of Jupyter; "" where they are not known.

    ``printed``: its output as text, the traceback too. ``displays``: MIME bundles, pictures in base64. ``result``: the
    value of its last line, once the cell has ended.
    """

    id: str
    path: str
    source: str
    printed: str
    displays: tuple[dict[str, Any], ...]
    result: Any


class _Displays:
    """What one run of a cell has displayed. ipykernel calls it with each message, which has the run's id."""

    def __init__(self) -> None:
        self._run: str | None = None
        self._bundles: deque[dict[str, Any]] = deque(maxlen=MAX_DISPLAYS)

    def __call__(self, message: dict[str, Any]) -> dict[str, Any]:
        bundle = message["content"].get("data", {})
        if message["header"]["msg_type"] == "display_data" and WIDGET not in bundle:
            run = message["parent_header"].get("msg_id")
            if run != self._run:
                self._run = run
                self._bundles.clear()
            self._bundles.append(bundle)
        return message

    def of(self, run: str | None) -> tuple[dict[str, Any], ...]:
        return tuple(self._bundles) if run == self._run else ()


_displays = _Displays()


def record_displays() -> None:
    """From now on ``running_cell`` knows what cells display. To be called on the main thread."""
    publisher: Any = getattr(ipython_shell(), "display_pub", None)
    if hasattr(publisher, "register_hook"):
        publisher.unregister_hook(_displays)
        publisher.register_hook(_displays)


def running_cell(ended: Any = None) -> CellContent | None:
    """The running cell, or the one of IPython's result ``ended``; None where no cell runs."""
    shell = ipython_shell()
    kernel: Any = getattr(shell, "kernel", None)
    parent = kernel.get_parent("shell") if hasattr(kernel, "get_parent") else {}
    source = parent.get("content", {}).get("code")
    if (
        source is None and shell is not None and kernel is None and (ended or shell.display_trap.is_active)
    ):  # a terminal
        source = shell.history_manager.input_hist_raw[-1]
    if source is None:
        return None
    count = shell.displayhook.prompt_count if ended is None else ended.execution_count
    printed: list[str] = []
    for each in getattr(shell.history_manager, "outputs", {}).get(count, ()):  # of IPython 9
        printed.extend(each.bundle.get("stream") or [each.bundle.get("text/plain", "")])
    printed.append("\n".join(getattr(shell.history_manager, "exceptions", {}).get(count, {}).get("traceback", ())))
    return CellContent(
        id=str(parent.get("metadata", {}).get("cellId") or ""),
        path=_notebook_path(shell),
        source=source,
        printed="".join(printed),
        displays=_displays.of(parent.get("header", {}).get("msg_id")),
        result=shell.user_ns.get("Out", {}).get(count),
    )


def _notebook_path(shell: Any) -> str:
    """The path of the notebook when its kernel started; outside Jupyter's folder its name, as folders are private."""
    path = PurePath(str(shell.user_ns.get("__vsc_ipynb_file__") or os.environ.get("JPY_SESSION_NAME", "")))
    if not path.is_absolute():
        return "" if path == PurePath() else path.as_posix()
    folder = os.environ.get("BQWIDGET_NOTEBOOK_FOLDER")
    for root in (PurePath(folder), Path(folder).resolve()) if folder else ():
        if path.is_relative_to(root):
            return path.relative_to(root).as_posix()
    return path.name
