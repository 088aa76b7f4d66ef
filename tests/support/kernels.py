"""A real ipykernel, driven like a notebook: run cells, and read each cell's outputs."""

from __future__ import annotations

import contextlib
import queue
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

TIMEOUT = 60.0


class Cell:
    """One run of a cell. ``text`` is its output so far, ``errors`` the names of its exceptions."""

    def __init__(self, kernel: Kernel, message: str) -> None:
        self._kernel = kernel
        self.message = message

    @property
    def outputs(self) -> list[tuple[str, dict[str, Any]]]:
        self._kernel.read()
        return self._kernel.outputs_by_message[self.message]

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
        return any(content.get("execution_state") == "idle" for kind, content in self.outputs if kind == "status")

    def shows(self, text: str) -> Cell:
        """Wait until ``text`` is in the cell's output."""
        self._kernel.until(lambda: text in self.text, f"{text!r} in the output, which is {self.text!r}")
        return self


class Kernel:
    def __init__(self, environ: dict[str, str]) -> None:
        self.outputs_by_message: dict[str, list[tuple[str, dict[str, Any]]]] = defaultdict(list)
        self._manager = KernelManager()
        assert self._manager.kernel_spec is not None
        self._manager.kernel_spec.argv[0] = sys.executable
        self._manager.start_kernel(env=environ)
        self._client: BlockingKernelClient = self._manager.client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=TIMEOUT)

    def begin(self, code: str, cell_id: str | None = None) -> Cell:
        """Start a cell; ``cell_id`` is its id as a frontend such as JupyterLab sends it."""
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
        """Run a cell to its end; an error in it fails the test."""
        cell = self.begin(code, cell_id)
        self.until(lambda: cell.is_done, f"the end of the cell {code!r}")
        assert cell.errors == [], cell.text
        return cell

    def interrupt(self) -> None:
        self._manager.interrupt_kernel()

    def kill(self) -> None:
        self._manager.signal_kernel(signal.SIGKILL)  # shutdown_kernel would interrupt the cell first
        self._manager.shutdown_kernel(now=True)

    def read(self, timeout: float = 0) -> None:
        """Read the messages that the kernel has sent."""
        with contextlib.suppress(queue.Empty):
            while True:
                message = self._client.get_iopub_msg(timeout=timeout)
                parent = message["parent_header"].get("msg_id", "")
                self.outputs_by_message[parent].append((message["msg_type"], message["content"]))
                timeout = 0

    def until(self, condition: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + TIMEOUT
        while not condition():
            assert time.monotonic() < deadline, f"timed out waiting for {what}"
            self.read(timeout=0.1)

    def stop(self) -> None:
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)
        self._manager.cleanup_resources()


@contextlib.contextmanager
def kernel(environ: dict[str, str]) -> Iterator[Kernel]:
    started = Kernel(environ)
    try:
        yield started
    finally:
        started.stop()


def _text(kind: str, content: dict[str, Any]) -> str:
    match kind:
        case "stream":
            return str(content["text"])
        case "display_data" | "execute_result":
            return str(content["data"].get("text/plain", ""))
        case "error":
            return "\n".join(content["traceback"])
    return ""
