"""A simulated browser for a widget in a real kernel: it speaks the view's side of the comm, without a view."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import ipykernel
import pytest
from bqserver.testing import RunningServer, running_server
from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.manager import KernelManager
from support.paths import PYTHONPATH

from bqwidget import Room

SUBSHELLS = int(ipykernel.__version__.split(".")[0]) >= 7
WIDGET_MIME = "application/vnd.jupyter.widget-view+json"
TIMEOUT = 60.0


class Kernel:
    """A kernel and its client; keeps the comm messages received on iopub."""

    def __init__(self, client: BlockingKernelClient) -> None:
        self.client = client
        self.comms: list[dict[str, Any]] = []
        """The ``comm_open``, ``comm_msg`` and ``comm_close`` messages in order, each with its type."""

    def start(self, code: str) -> str:
        return self.client.execute(code)

    def run(self, code: str) -> dict[str, Any]:
        """Run a cell to its end. Returns its printed text and the MIME bundle of its value."""
        return self.end(self.start(code))

    def end(self, request: str) -> dict[str, Any]:
        result: dict[str, Any] = {"printed": "", "data": {}}

        def ended() -> bool:
            message = self.receive()
            if message["parent_header"].get("msg_id") != request:
                return False
            match message["msg_type"]:
                case "stream":
                    result["printed"] += message["content"]["text"]
                case "execute_result" | "display_data":
                    result["data"] = message["content"]["data"]
                case "error":
                    raise AssertionError("\n".join(message["content"]["traceback"]))
                case "status":
                    return message["content"]["execution_state"] == "idle"
            return False

        self.until(ended)
        return result

    def receive(self, timeout: float = TIMEOUT) -> dict[str, Any]:
        message = self.client.get_iopub_msg(timeout=timeout)
        if message["msg_type"].startswith("comm_"):
            self.comms.append({"type": message["msg_type"], **message["content"]})
        return message

    def until(self, look: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + TIMEOUT
        while not (found := look()):
            assert time.monotonic() < deadline
        return found

    def subshell(self) -> str:
        request = self.client.session.msg("create_subshell_request", {})
        self.client.control_channel.send(request)
        return self.client.get_control_msg(timeout=TIMEOUT)["content"]["subshell_id"]


class Browser:
    """A browser that shows a widget; it sends and reads the messages of the widget's comm."""

    def __init__(self, kernel: Kernel, comm_id: str, name: str = "b1") -> None:
        self.kernel = kernel
        self.comm_id = comm_id
        self.name = name
        self.k = 0

    def command(self, do: str, subshell: str | None = None, **more: object) -> int:
        self.k += 1
        self.say({"client": self.name, "k": self.k, "do": do, **more}, subshell)
        return self.k

    def say(self, content: object, subshell: str | None = None) -> None:
        data = {"method": "custom", "content": content}
        message = self.kernel.client.session.msg("comm_msg", {"comm_id": self.comm_id, "data": data})
        if subshell:
            message["header"]["subshell_id"] = subshell
        self.kernel.client.shell_channel.send(message)

    def envelopes(self) -> list[dict[str, Any]]:
        mine = [comm for comm in self.kernel.comms if comm["comm_id"] == self.comm_id]
        return [comm["data"]["content"] for comm in mine if comm["type"] == "comm_msg"]

    def until(self, look: Callable[[dict[str, Any]], Any]) -> Any:
        """Returns the first true result of ``look`` over the envelopes, earlier ones included."""
        done = 0
        while True:
            envelopes = self.envelopes()
            for envelope in envelopes[done:]:
                if envelope.get("to", self.name) == self.name and (found := look(envelope)):
                    return found
            done = len(envelopes)
            self.kernel.receive()

    def frame(self, kind: str, **fields: object) -> dict[str, Any]:
        """Returns the first frame in a delta that has this type and these fields, its own or its entry's."""

        def look(envelope: dict[str, Any]) -> Any:
            for frame in envelope.get("frames", ()):
                if frame["type"] == kind and fields.items() <= {**frame, **frame.get("entry", {})}.items():
                    return frame
            return None

        return self.until(look)

    def snapshot(self) -> list[dict[str, Any]]:
        """Request a snapshot, and return the response to this request."""
        k = self.command("open")
        self.until(lambda envelope: envelope.get("ack", 0) >= k)
        return [
            envelope for envelope in self.envelopes() if envelope.get("to") == self.name and "snapshot" in envelope
        ][-1]["snapshot"]

    def open_with(self, text: str) -> None:
        """Open, and wait until the room is loaded with this message."""
        while not any(frame.get("entry", {}).get("text") == text for frame in self.snapshot()):
            self.kernel.receive()


@pytest.fixture
def server() -> Iterator[RunningServer]:
    with running_server() as started:
        yield started


@pytest.fixture
def kernel(home_environ: dict[str, str], server: RunningServer) -> Iterator[Kernel]:
    manager = KernelManager(kernel_name="python3")
    environ = {
        **home_environ,
        "PYTHONPATH": PYTHONPATH,
        "BQWIDGET_URL": server.url,
        "BQWIDGET_TOKEN": server.token,
    }
    manager.start_kernel(env=environ)
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    yield Kernel(client)
    client.stop_channels()
    manager.shutdown_kernel(now=True)
    manager.cleanup_resources()


@pytest.fixture
def bob(server: RunningServer) -> Iterator[Room]:
    """Another member of the room, in this process."""
    with Room("lobby", user="bob", url=server.url, token=server.token) as room:
        room.wait_open(20)
        yield room


@pytest.fixture
def browser(kernel: Kernel, bob: Room) -> Browser:
    """A browser that shows ada's widget of the lobby, in which bob has sent "hello"."""
    bob.send("hello")
    shown = kernel.run("from bqwidget import ChatWidget\nwidget = ChatWidget('lobby', user='ada')\nwidget")
    opened = Browser(kernel, shown["data"][WIDGET_MIME]["model_id"])
    opened.open_with("hello")
    return opened
