"""A real ipykernel, driven like a notebook: run cells, and read what appears under which cell."""

from __future__ import annotations

import contextlib
import queue
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

TIMEOUT = 30.0


class Cell:
    """One run of some code. ``text`` is everything that stands under it by now, ``errors`` its tracebacks."""

    def __init__(self, kernel: Kernel, message: str) -> None:
        self._kernel = kernel
        self.message = message

    @property
    def outputs(self) -> list[tuple[str, dict[str, Any]]]:
        self._kernel.read()
        return self._kernel.heard[self.message]

    @property
    def text(self) -> str:
        return "".join(_text(kind, content) for kind, content in self.outputs)

    @property
    def errors(self) -> list[str]:
        return [content["ename"] for kind, content in self.outputs if kind == "error"]

    @property
    def is_running(self) -> bool:
        states = [content["execution_state"] for kind, content in self.outputs if kind == "status"]
        return bool(states) and states[-1] != "idle"

    @property
    def is_done(self) -> bool:
        return any(
            content.get("execution_state") == "idle" for kind, content in self.outputs if kind == "status"
        )

    def shows(self, text: str) -> Cell:
        """Wait until ``text`` stands under the cell."""
        self._kernel.until(lambda: text in self.text, f"{text!r} under the cell; there is {self.text!r}")
        return self


class Kernel:
    def __init__(self, environ: dict[str, str]) -> None:
        self.heard: dict[str, list[tuple[str, dict[str, Any]]]] = defaultdict(list)
        self._manager = KernelManager()
        assert self._manager.kernel_spec is not None
        self._manager.kernel_spec.argv[0] = sys.executable
        self._manager.start_kernel(env=environ)
        self._client: BlockingKernelClient = self._manager.client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=TIMEOUT)

    def begin(self, code: str, cell_id: str | None = None) -> Cell:
        """Start a cell; ``cell_id`` is what a frontend like JupyterLab tells of it."""
        content = {
            "code": code,
            "silent": False,
            "store_history": True,
            "user_expressions": {},
            "allow_stdin": False,
            "stop_on_error": False,
        }
        message = self._client.session.msg("execute_request", content)
        if cell_id is not None:
            message["metadata"]["cellId"] = cell_id
        self._client.shell_channel.send(message)
        cell = Cell(self, message["header"]["msg_id"])
        self.until(lambda: cell.outputs, "the cell to start")
        return cell

    def run(self, code: str, cell_id: str | None = None) -> Cell:
        """Run a cell to its end; one that ends with an error fails the test."""
        cell = self.begin(code, cell_id)
        self.until(lambda: cell.is_done, f"the end of the cell {code!r}")
        assert cell.errors == [], cell.text
        return cell

    def interrupt(self) -> None:
        self._manager.interrupt_kernel()

    def kill(self) -> None:
        self._manager.shutdown_kernel(now=True)

    def read(self, timeout: float = 0) -> None:
        """Take in what the kernel has said."""
        with contextlib.suppress(queue.Empty):
            while True:
                message = self._client.get_iopub_msg(timeout=timeout)
                parent = message["parent_header"].get("msg_id", "")
                self.heard[parent].append((message["msg_type"], message["content"]))
                timeout = 0

    def until(self, met: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + TIMEOUT
        while not met():
            assert time.monotonic() < deadline, f"waited in vain for {what}"
            self.read(timeout=0.1)

    def stop(self) -> None:
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)
        self._manager.cleanup_resources()


@contextlib.contextmanager
def kernel(environ: dict[str, str]) -> Iterator[Kernel]:
    made = Kernel(environ)
    try:
        yield made
    finally:
        made.stop()


def _text(kind: str, content: dict[str, Any]) -> str:
    match kind:
        case "stream":
            return str(content["text"])
        case "display_data" | "execute_result":
            return str(content["data"].get("text/plain", ""))
        case "error":
            return "\n".join(content["traceback"])
    return ""
