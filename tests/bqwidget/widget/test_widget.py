"""ChatWidget in a real kernel, with this test as its browser, and another member on the server."""

from __future__ import annotations

import json
import time
from typing import Any

import ipykernel.comm.comm
import pytest
from bqserver.testing import RunningServer
from support.eventually import eventually
from support.widget_browser import SUBSHELLS, WIDGET_MIME, Browser, Kernel, bob, browser, kernel, server

from bqwidget import Room
from bqwidget._client.live.drafts import SEND_INTERVAL

__all__ = ["bob", "browser", "kernel", "server"]  # fixtures


EARLY = hasattr(ipykernel.comm.comm.BaseComm, "_reply_subshell_for")


def send(cid: str, text: str) -> dict[str, str]:
    return {"type": "chat.send", "cid": cid, "user": "ada", "text": text}


def codes(browser: Browser) -> int:
    """How often the window's code was sent: on request, and unasked while no browser had opened it for a while."""
    return sum("code" in envelope for envelope in browser.envelopes())


def test_a_saved_notebook_is_stable_and_holds_no_messages(kernel: Kernel, server: RunningServer, bob: Room) -> None:
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
    assert shown["data"].pop(WIDGET_MIME)["model_id"]
    assert shown["data"] == {
        "text/plain": "ChatWidget('lobby', user='ada')",
        "text/html": "<p>Chat room <b>lobby</b>: run this cell to open its window.</p>",
    }
    (opened,) = [comm for comm in kernel.comms if comm["type"] == "comm_open" and "_esm" in comm["data"]["state"]]
    own = {name for name in opened["data"]["state"] if not name.startswith("_")}
    assert own == {"room_name", "user", "layout", "tabbable", "tooltip"}
    for text in (json.dumps(opened), shown["printed"]):
        assert server.token not in text
        assert "between us" not in text


def test_the_programs_of_the_windows_workers_come_over_the_comm(browser: Browser) -> None:
    for name in ("nosuch", "../widget", 7, "worker", "math"):
        browser.say({"do": "code", "name": name})
    last = browser.until(lambda envelope: envelope if envelope.get("name") == "math" else None)
    names = [envelope["name"] for envelope in browser.envelopes() if "name" in envelope]
    assert names == ["worker", "math"]
    (opened,) = [
        comm for comm in browser.kernel.comms if comm["type"] == "comm_open" and "_esm" in comm["data"]["state"]
    ]
    assert last["code"] == opened["data"]["state"]["_version"]


def test_a_name_is_never_markup(kernel: Kernel) -> None:
    shown = kernel.run("from bqwidget import ChatWidget\nChatWidget('lobby', user='<b>\\x1b[31mada')")
    assert shown["data"]["text/plain"] == r"ChatWidget('lobby', user='<b>\x1b[31mada')"


def test_a_snapshot_is_followed_by_new_messages(browser: Browser, bob: Room) -> None:
    kinds = [frame["type"] for frame in browser.snapshot()]
    assert {"hello", "status", "message", "synced"} <= set(kinds)
    bob.send("and now?")
    frame = browser.frame("message", text="and now?")
    assert (frame["entry"]["user"], frame["entry"]["room"]) == ("bob", "lobby")
    numbers = [envelope["n"] for envelope in browser.envelopes() if "frames" in envelope]
    assert numbers == sorted(set(numbers))


def test_a_snapshot_tells_the_time(browser: Browser) -> None:
    """Of the server, by which questions end, and of this computer, by which the next attempt starts."""

    def now(kind: str) -> int:
        return next(frame["now"] for frame in browser.snapshot() if frame["type"] == kind)

    before = time.time() * 1000
    # The server's time is known from its hello, which took a moment to arrive: it is a little behind.
    eventually(lambda: now("hello") >= before)
    assert now("status") >= before - 1


def test_the_window_can_tell_what_its_kernel_said(kernel: Kernel, bob: Room) -> None:
    """From what another kernel said under the same name: also what its other Rooms said, and nothing else."""
    cell = """\
from bqwidget import ChatWidget, Room
widget = ChatWidget("lobby", user="bob")
widget.room.send("from here"), Room("lobby", user="bob").send("and here")
print(widget._kernel_id)
"""
    kernel_id = kernel.run(cell)["printed"].strip()
    bob.send("from elsewhere")
    cids = {message.text: message.cid or "" for message in bob.messages}
    said = {
        text: cids[text].split(".")[1].startswith(kernel_id) for text in ("from here", "and here", "from elsewhere")
    }
    assert said == {"from here": True, "and here": True, "from elsewhere": False}
    assert len(kernel_id) == 8


def test_a_browsers_command_reaches_the_room_once(browser: Browser, bob: Room) -> None:
    k = browser.command("frame", frame=send("c1", "from the window"))
    browser.say({"client": "b1", "k": k, "do": "frame", "frame": send("c1", "from the window")})
    received = bob.wait_for(lambda message: message.cid == "c1", after=1, timeout=20)
    assert (received.user, received.text) == ("ada", "from the window")
    assert browser.frame("message", cid="c1")["entry"]["seq"] == received.seq
    browser.until(lambda envelope: envelope.get("ack") == k)
    bob.send("afterwards")
    browser.frame("message", text="afterwards")
    assert [message.text for message in bob.messages].count("from the window") == 1


def test_a_refused_message_is_answered_under_its_cid(browser: Browser) -> None:
    browser.command("frame", frame=send("c1", "x" * 32_001))
    error = browser.frame("error", cid="c1")
    assert error["code"] == "too_long"
    assert "32,000" in error["message"]


def test_older_pages_are_sent_on_request(browser: Browser, bob: Room) -> None:
    for number in range(5):
        last = bob.send(f"message {number}")
    k = browser.command("history", before=last.seq, limit=2)
    reply = browser.until(lambda envelope: envelope.get("reply") == k and envelope)
    assert [message["text"] for message in reply["messages"]] == ["message 2", "message 3"]


def test_messages_are_found_by_words_by_seq_and_by_time(browser: Browser, bob: Room) -> None:
    sent = [bob.send(text) for text in ("loss 1", "loss 2", "nan", "loss 3", "done")]

    def found(do: str, **position: object) -> list[str]:
        k = browser.command(do, **position)
        reply = browser.until(lambda envelope: envelope.get("reply") == k and envelope)
        return [message["text"] for message in reply["messages"]]

    assert found("search", q="loss", limit=2) == ["loss 2", "loss 3"]
    assert found("history", around=sent[2].seq, limit=3) == ["loss 2", "nan", "loss 3"]
    assert found("history", after=sent[2].seq, limit=3) == ["loss 3", "done"]
    assert found("history", at=sent[3].at, limit=3)[1:] == ["loss 3", "done"]


def test_a_window_gets_the_link_of_its_room(browser: Browser, kernel: Kernel) -> None:
    def link(*, invite: bool) -> str:
        k = browser.command("link", invite=invite)
        return browser.until(lambda envelope: envelope.get("reply") == k and envelope)["url"]

    assert link(invite=False) == kernel.run("print(widget.room.url)")["printed"].strip()
    assert link(invite=True).startswith(link(invite=False) + "#invite=")


def test_a_window_is_refused_the_orders_of_moderators_where_its_kernel_is_none(browser: Browser) -> None:
    def moderate(**order: object) -> dict[str, Any]:
        k = browser.command("moderate", **order)
        return browser.until(lambda envelope: envelope.get("reply") == k and envelope)["error"]

    assert moderate()["code"] == "forbidden"
    assert moderate(order="mute", user="bob", minutes=5)["code"] == "forbidden"
    assert moderate(order="ban", user="bob")["code"] == "bad_field"


def test_a_browser_cannot_write_traits_or_send_invalid_commands(browser: Browser, kernel: Kernel) -> None:
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
def test_messages_pass_both_ways_while_a_cell_is_busy(browser: Browser, kernel: Kernel, bob: Room) -> None:
    """A send from a cell pins the comm to the main thread in ipykernel 7.4."""
    subshell = kernel.subshell()
    busy = kernel.start("""
widget.send({"pin": True})
message = widget.room.wait_for(lambda message: message.text == "stop", timeout=60, after=0)
import threading
threading.Event().wait(0.2)
print(message.user)
""")
    browser.until(lambda envelope: "pin" in envelope)
    bob.send("to the busy one")
    browser.frame("message", text="to the busy one")
    browser.command("frame", subshell, frame=send("c1", "from the busy one"))
    bob.wait_for(lambda message: message.cid == "c1", after=1, timeout=20)
    browser.command("frame", subshell, frame=send("c2", "stop"))
    assert kernel.end(busy)["printed"] == "ada\n"


@pytest.mark.skipif(not EARLY, reason="this ipykernel does not ask which subshell a command is for")
@pytest.mark.parametrize("subshell", [None, "that of the kernel before"])
def test_a_window_opens_in_a_busy_kernel_that_has_no_subshell(
    kernel: Kernel, browser: Browser, bob: Room, subshell: str | None
) -> None:
    """As in a new kernel, which JupyterLab asks for a subshell later, and after a restart from another tab."""
    busy = kernel.start("widget.room.wait_for(lambda message: message.text == 'stop', timeout=60, after=0)")
    other = Browser(kernel, browser.comm_id, "b2")
    offered = codes(other)
    other.say({"do": "code"}, subshell)
    other.until(lambda envelope: "code" in envelope)
    other.command("open", subshell)
    snapshot = other.until(lambda envelope: envelope.get("to") == "b2" and envelope.get("snapshot"))
    assert "hello" in [frame.get("entry", {}).get("text") for frame in snapshot]
    if subshell is not None:
        other.command("frame", subshell, frame=send("c1", "once"))
        bob.wait_for(lambda message: message.cid == "c1", after=1, timeout=20)
    bob.send("stop")
    kernel.end(busy)
    other.snapshot()
    assert codes(other) == offered + 1
    assert [message.text for message in bob.messages].count("once") == (subshell is not None)


def test_a_window_that_can_not_ask_gets_its_code_and_its_messages(kernel: Kernel, bob: Room) -> None:
    """As from a kernel without subshells, while the next cell is busy."""
    bob.send("hello")
    shown = kernel.run("from bqwidget import ChatWidget\nwidget = ChatWidget('lobby', user='ada')\nwidget")
    other = Browser(kernel, shown["data"][WIDGET_MIME]["model_id"])
    snapshot = other.until(lambda envelope: envelope.get("snapshot"))
    assert "hello" in [frame.get("entry", {}).get("text") for frame in snapshot]
    kinds = [*map(sorted, other.envelopes())]
    assert kinds[: kinds.index(["n", "snapshot"])].count(["code"]) == 1


def test_two_browsers_and_two_windows_of_one_room(browser: Browser, kernel: Kernel, bob: Room) -> None:
    second = Browser(kernel, browser.comm_id, "b2")
    shown = kernel.run("from bqwidget import ChatWidget\nChatWidget(widget.room)")
    third = Browser(kernel, shown["data"][WIDGET_MIME]["model_id"], "b3")
    for other in (second, third):
        other.open_with("hello")
    bob.send("to all")
    frames = [each.frame("message", text="to all") for each in (browser, second, third)]
    assert frames[0] == frames[1] == frames[2]


def test_the_size_of_a_delta_does_not_depend_on_the_room(browser: Browser, bob: Room) -> None:
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


def test_a_calm_message_takes_less_than_a_kilobyte(browser: Browser, kernel: Kernel, bob: Room) -> None:
    """One envelope with Jupyter's own headers, for a message of others and for one of this kernel's code."""
    own, others = "x" * 100, "y" * 100
    kernel.run(f"""
import threading
def say():
    for number in range(5):
        widget.room.send(f"{own} {{number}}")
threading.Timer(1, say).start()
""")
    for number in range(5):
        bob.send(f"{others} {number}")
    received: list[dict[str, Any]] = []
    while sum(f'"{text} 4"' in json.dumps(each["content"]) for each in received for text in (own, others)) < 2:
        message = kernel.receive()
        frames = message["content"].get("data", {}).get("content", {}).get("frames", [])
        kinds = {frame["type"] for frame in frames}
        assert "status" not in kinds, "a draft on its way is no news for a window"
        if kinds & {"message", "ack"}:
            received.append(message)
    parts = ("header", "parent_header", "metadata", "content")
    sizes = [sum(len(json.dumps(message[part], default=str)) for part in parts) for message in received]
    assert sum(sizes) < 10 * 1000, sizes


def test_closing_releases_everything(browser: Browser, kernel: Kernel) -> None:
    left = kernel.run("""
import threading
widget.close()
print(widget.room.status, widget.comm, [t.name for t in threading.enumerate() if "bqwidget" in t.name])
""")
    assert left["printed"] == "closed None []\n"
    assert [comm["type"] for comm in kernel.comms if comm["comm_id"] == browser.comm_id][-1] == "comm_close"


def test_closing_a_window_does_not_close_its_room(kernel: Kernel, bob: Room) -> None:
    output = kernel.run("""
from bqwidget import ChatWidget, Room
room = Room("lobby", user="ada")
window = ChatWidget(room)
window.close()
print(room.send("still here").text, room.status)
""")
    assert output["printed"] == "still here open\n"


def test_the_window_shows_that_the_room_is_closed(browser: Browser, kernel: Kernel) -> None:
    kernel.run("widget.room.close()")
    browser.frame("status", status="closed")


def test_options_with_an_existing_room_are_refused(bob: Room) -> None:
    from bqwidget import ChatWidget

    with pytest.raises(TypeError, match=r"keep: .* pass options to Room"):
        ChatWidget(bob, keep=5)


def test_a_window_sees_a_message_grow_and_stops_it(browser: Browser, kernel: Kernel, bob: Room) -> None:
    """Pieces of a handler of this kernel, of which each is sent once, and of another member."""
    kernel.run("""
import asyncio, time
took = []
@widget.room.on_message
async def answer(message):
    began = time.monotonic()
    for number in range(100):
        yield f"{number} "
        await asyncio.sleep(0.001)
    took.append(time.monotonic() - began)
    await asyncio.sleep(10**6)
""")
    bob.send("?")
    target = browser.frame("message", live=True)["entry"]["seq"]
    whole = "".join(f"{number} " for number in range(100))

    def pieces() -> list[dict]:
        frames = [frame for envelope in browser.envelopes() for frame in envelope.get("frames", ())]
        return [frame for frame in frames if frame["type"] == "append" and frame["target"] == target]

    browser.until(lambda _: "".join(piece["text"] for piece in pieces()) == whole)
    offsets = [piece["offset"] for piece in pieces()]
    assert offsets == sorted(set(offsets))
    took = float(kernel.run("print(took[0])")["printed"])
    assert len(offsets) <= took / SEND_INTERVAL + 3  # joined
    [shown] = [frame["entry"] for frame in browser.snapshot() if frame.get("entry", {}).get("seq") == target]
    assert (shown["text"], shown["live"]) == (whole, True)
    browser.command("frame", frame={"type": "chat.stop", "target": target, "user": "ada"})
    browser.frame("stop", target=target, user="ada")
    assert browser.frame("change", end="stopped", target=target)["entry"]["stopped_by"] == "ada"
    with bob.write() as out:
        out.append("of another member")
        browser.frame("append", target=out.message.seq, text="of another member")
