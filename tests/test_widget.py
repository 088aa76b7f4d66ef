"""The window's kernel half, in a real kernel: this test is its browser, and another member is on the server."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ipykernel
import pytest
from bqserver.testing import RunningServer, running_server
from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.manager import KernelManager

from bqwidget import Room

ROOT = Path(__file__).parent.parent
SUBSHELLS = int(ipykernel.__version__.split(".")[0]) >= 7
SHOWN = "application/vnd.jupyter.widget-view+json"


class Kernel:
    """A kernel and its client; what comes on iopub is kept by kind."""

    def __init__(self, client: BlockingKernelClient) -> None:
        self.client = client
        self.comms: list[dict[str, Any]] = []
        """``comm_open``, ``comm_msg`` and ``comm_close``, in order, each with its type."""

    def start(self, code: str) -> str:
        return self.client.execute(code)

    def run(self, code: str) -> dict[str, Any]:
        """Run a cell to its end: what it printed, and its value's MIME bundle."""
        return self.end(self.start(code))

    def end(self, request: str) -> dict[str, Any]:
        result: dict[str, Any] = {"printed": "", "data": {}}

        def ended() -> bool:
            message = self.hear()
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

    def hear(self, timeout: float = 20) -> dict[str, Any]:
        message = self.client.get_iopub_msg(timeout=timeout)
        if message["msg_type"].startswith("comm_"):
            self.comms.append({"type": message["msg_type"], **message["content"]})
        return message

    def until(self, look: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + 20
        while not (found := look()):
            assert time.monotonic() < deadline
        return found

    def subshell(self) -> str:
        request = self.client.session.msg("create_subshell_request", {})
        self.client.control_channel.send(request)
        return self.client.get_control_msg(timeout=20)["content"]["subshell_id"]


class Browser:
    """One browser that shows a widget: speaks its comm, and keeps what it was told."""

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
        """The first true answer of ``look`` over the envelopes, past ones included."""
        done = 0
        while True:
            envelopes = self.envelopes()
            for envelope in envelopes[done:]:
                if envelope.get("to", self.name) == self.name and (found := look(envelope)):
                    return found
            done = len(envelopes)
            self.kernel.hear()

    def frame(self, kind: str, **fields: object) -> dict[str, Any]:
        """The first frame of this type with these fields (an entry's are looked at too), in a delta."""

        def look(envelope: dict[str, Any]) -> Any:
            for frame in envelope.get("frames", ()):
                if frame["type"] == kind and fields.items() <= {**frame, **frame.get("entry", {})}.items():
                    return frame
            return None

        return self.until(look)

    def snapshot(self) -> list[dict[str, Any]]:
        """Ask for one, and take the answer to this question."""
        k = self.command("open")
        self.until(lambda envelope: envelope.get("ack", 0) >= k)
        return [
            envelope
            for envelope in self.envelopes()
            if envelope.get("to") == self.name and "snapshot" in envelope
        ][-1]["snapshot"]

    def open_with(self, text: str) -> None:
        """Open, and wait until the room has been loaded with this message in it."""
        while not any(frame.get("entry", {}).get("text") == text for frame in self.snapshot()):
            self.kernel.hear()


@pytest.fixture
def server() -> Iterator[RunningServer]:
    with running_server() as started:
        yield started


@pytest.fixture
def kernel(home_environ: dict[str, str], server: RunningServer) -> Iterator[Kernel]:
    manager = KernelManager(kernel_name="python3")
    environ = {
        **home_environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "server")]),
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
    """Another member, in this process."""
    with Room("lobby", user="bob", url=server.url, token=server.token) as room:
        room.wait_open(20)
        yield room


@pytest.fixture
def browser(kernel: Kernel, bob: Room) -> Browser:
    """A browser that shows ada's window of the lobby, in which bob said hello."""
    bob.send("hello")
    shown = kernel.run("from bqwidget import ChatWidget\nwidget = ChatWidget('lobby', user='ada')\nwidget")
    opened = Browser(kernel, shown["data"][SHOWN]["model_id"])
    opened.open_with("hello")
    return opened


def send(cid: str, text: str) -> dict[str, str]:
    return {"type": "chat.send", "cid": cid, "user": "ada", "text": text}


def test_what_a_notebook_keeps_is_stable_and_tells_nothing(
    kernel: Kernel, server: RunningServer, bob: Room
) -> None:
    bob.send("between us")
    cell = """
from bqwidget import ChatWidget
widget = ChatWidget("lobby", user="ada")
widget.room.wait_open(20)
import json
print(json.dumps(widget.get_state(), default=str), widget, widget.room)
widget
"""
    shown = kernel.run(cell)
    assert shown["data"].pop(SHOWN)["model_id"]
    assert shown["data"] == {
        "text/plain": "ChatWidget('lobby', user='ada')",
        "text/html": "<p>Chat room <b>lobby</b>: run this cell to open its window.</p>",
    }
    (opened,) = [
        comm for comm in kernel.comms if comm["type"] == "comm_open" and "_esm" in comm["data"]["state"]
    ]
    own = {name for name in opened["data"]["state"] if not name.startswith("_")}
    assert own == {"room_name", "user", "layout", "tabbable", "tooltip"}
    for told in (json.dumps(opened), shown["printed"]):
        assert server.token not in told
        assert "between us" not in told


def test_a_name_is_text_wherever_it_is_shown(kernel: Kernel) -> None:
    shown = kernel.run("from bqwidget import ChatWidget\nChatWidget('lobby', user='<b>\\x1b[31mada')")
    assert shown["data"]["text/plain"] == r"ChatWidget('lobby', user='<b>\x1b[31mada')"


def test_a_snapshot_and_then_what_is_said(browser: Browser, bob: Room) -> None:
    kinds = [frame["type"] for frame in browser.snapshot()]
    assert {"hello", "status", "message", "synced"} <= set(kinds)
    bob.send("and now?")
    frame = browser.frame("message", text="and now?")
    assert (frame["entry"]["user"], frame["entry"]["room"]) == ("bob", "lobby")
    numbers = [envelope["n"] for envelope in browser.envelopes() if "frames" in envelope]
    assert numbers == sorted(set(numbers))


def test_what_a_browser_says_reaches_the_room_once(browser: Browser, bob: Room) -> None:
    k = browser.command("frame", frame=send("c1", "from the window"))
    browser.say({"client": "b1", "k": k, "do": "frame", "frame": send("c1", "from the window")})
    heard = bob.wait_for(lambda message: message.cid == "c1", after=1, timeout=20)
    assert (heard.user, heard.text) == ("ada", "from the window")
    assert browser.frame("message", cid="c1")["entry"]["seq"] == heard.seq
    browser.until(lambda envelope: envelope.get("ack") == k)
    bob.send("afterwards")
    browser.frame("message", text="afterwards")
    assert [message.text for message in bob.messages].count("from the window") == 1


def test_a_refused_message_is_answered_under_its_cid(browser: Browser) -> None:
    browser.command("frame", frame=send("c1", "x" * 16_001))
    error = browser.frame("error", cid="c1")
    assert error["code"] == "too_long"
    assert "16,000" in error["message"]


def test_older_pages_come_on_request(browser: Browser, bob: Room) -> None:
    for number in range(5):
        last = bob.send(f"message {number}")
    k = browser.command("history", before=last.seq, limit=2)
    reply = browser.until(lambda envelope: envelope.get("reply") == k and envelope)
    assert [message["text"] for message in reply["messages"]] == ["message 2", "message 3"]


def test_a_browser_cannot_write_traits_or_say_nonsense(browser: Browser, kernel: Kernel) -> None:
    data = {
        "method": "update",
        "state": {"_esm": "alert(1)", "user": "mallory", "room_name": "x"},
        "buffer_paths": [],
    }
    message = kernel.client.session.msg("comm_msg", {"comm_id": browser.comm_id, "data": data})
    kernel.client.shell_channel.send(message)
    for nonsense in (None, 7, "eval", {"do": "__class__"}, {"client": "b1", "k": "1", "do": "open"}, [1]):
        browser.say(nonsense)
    browser.snapshot()
    state = kernel.run("print(widget.user, widget.room_name, 'alert(1)' in widget._esm)")
    assert state["printed"] == "ada lobby False\n"


@pytest.mark.skipif(not SUBSHELLS, reason="this ipykernel hears comm messages only between cells")
def test_a_busy_cell_hides_nothing_in_either_direction(browser: Browser, kernel: Kernel, bob: Room) -> None:
    """The cell has sent on the comm itself before, which pins it to the main thread in ipykernel 7.4."""
    subshell = kernel.subshell()
    busy = kernel.start("""
widget.send({"pin": True})
said = widget.room.wait_for(lambda message: message.text == "stop", timeout=20)
import threading
threading.Event().wait(0.2)
print(said.user)
""")
    browser.until(lambda envelope: "pin" in envelope)
    bob.send("to the busy one")
    browser.frame("message", text="to the busy one")
    browser.command("frame", subshell, frame=send("c1", "from the busy one"))
    bob.wait_for(lambda message: message.cid == "c1", after=1, timeout=20)
    browser.command("frame", subshell, frame=send("c2", "stop"))
    assert kernel.end(busy)["printed"] == "ada\n"


def test_two_browsers_and_two_windows_of_one_room(browser: Browser, kernel: Kernel, bob: Room) -> None:
    second = Browser(kernel, browser.comm_id, "b2")
    shown = kernel.run("from bqwidget import ChatWidget\nChatWidget(widget.room)")
    third = Browser(kernel, shown["data"][SHOWN]["model_id"], "b3")
    for other in (second, third):
        other.open_with("hello")
    bob.send("to all")
    frames = [each.frame("message", text="to all") for each in (browser, second, third)]
    assert frames[0] == frames[1] == frames[2]


def test_a_delta_costs_the_same_however_long_the_room(browser: Browser, bob: Room) -> None:
    def size(text: str) -> int:
        bob.send(text)
        frame = browser.frame("message", text=text)
        return len(json.dumps({**frame, "prev": 0, "entry": {**frame["entry"], "seq": 0, "cid": ""}}))

    early = size("first")
    for _ in range(2_000):
        bob.send("filler", wait=False)
    bob.send("filled")
    browser.frame("message", text="filled")
    assert size("later") == early


def test_closing_leaves_nothing(browser: Browser, kernel: Kernel) -> None:
    left = kernel.run("""
import threading
widget.close()
print(widget.room.status, widget.comm, [t.name for t in threading.enumerate() if "bqwidget" in t.name])
""")
    assert left["printed"] == "closed None []\n"
    assert [comm["type"] for comm in kernel.comms if comm["comm_id"] == browser.comm_id][-1] == "comm_close"


def test_closing_the_window_of_a_room_leaves_the_room(kernel: Kernel, bob: Room) -> None:
    said = kernel.run("""
from bqwidget import ChatWidget, Room
room = Room("lobby", user="ada")
window = ChatWidget(room)
window.close()
print(room.send("still here").text, room.status)
""")
    assert said["printed"] == "still here open\n"


def test_a_closed_room_says_so_in_its_window(browser: Browser, kernel: Kernel) -> None:
    kernel.run("widget.room.close()")
    browser.frame("status", status="closed")


def test_options_of_a_room_that_is_there_already_are_refused(bob: Room) -> None:
    from bqwidget import ChatWidget

    with pytest.raises(TypeError, match=r"keep: .* say it to Room"):
        ChatWidget(bob, keep=5)
