"""Accessibility: axe finds no violation in any state, theme and width, and every action works by keyboard alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from bqserver.testing import running_server
from support.pictures import png, table
from support.ws_client import member, request

from bqwidget.protocol import TABLE

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]
TEXTS = (
    ("ada", "# Results\n**bold**, *soft*, ~~gone~~, `code` and [a link](https://example.org)"),
    ("ada", "- one\n- two\n\n> quoted\n\n1. first\n2. second"),
    ("bob", "```python\nfor step in range(10):\n    print(step)\n```"),
    ("grace", "🎉"),
    ("me", "my message"),
    ("grace", "שלום עולם and mixed 123"),
    ("ada", "line\n" * 60),
    ("bob", "look, @me: `this` and https://example.org"),
    ("me", "![a picture](https://example.org/x.png) www.example.org"),
)


@pytest.fixture(scope="module")
def server() -> Iterator:
    with running_server(open=True) as running:
        yield running


def open_room(page: Page, server, room: str, user: str = "me") -> None:
    page.goto(f"{server.url}/rooms/{room}")
    page.get_by_role("textbox", name="Your name").fill(user)
    page.get_by_role("status").filter(has_text="Connected").wait_for()


def fill(server, room: str) -> None:
    """Send every kind of message: text, code, a reply, a reaction, an edit, a deleted one, questions and polls of every outcome."""
    with member(server.url, room) as sender:

        def say(user: str, text: str, **more) -> int:
            sender.say(text, f"{user}{text}"[:60], user, **more)
            return sender.until("ack")["seq"]

        def change(kind: str, user: str, target: int, **more) -> None:
            more = {"cid": f"{kind}{target}{user}", "user": user, "target": target, **more}
            sender.send({"type": f"chat.{kind}", **more})
            sender.until("ack")

        def upload(data: bytes, mime: str, name: str) -> dict[str, object]:
            put = request(server.url, "POST", f"/rooms/{room}/parts", data, Content_Type=mime)
            return {**put.json, "name": name}

        parts = [upload(png(), "image/png", "loss.png"), upload(table(["step"], [1]), TABLE, "steps")]
        seqs = [say(user, text) for user, text in TEXTS]
        say("bob", "a reply", re=seqs[4])
        say("ada", "look", parts=parts)
        change("react", "bob", seqs[4], emoji="👍")
        change("react", "me", seqs[0], emoji="🎉")
        change("edit", "grace", seqs[3], text="🎉 edited")
        change("delete", "ada", seqs[1])
        answered = say("trainer", "Label this", ask={"choices": ["cat", "dog"]})
        say("bob", "dog", re=answered, choice="dog")
        change("expire", "trainer", say("trainer", "Anyone?", ask={}))
        say("trainer", "For ada", ask={"choices": ["yes"], "from": "ada"})
        say("trainer", "In words?", ask={})
        say("bob", "yes", re=say("trainer", "line\n" * 3, ask={"choices": ["yes"]}), choice="yes")
        polls = [say("trainer", f"Poll {n}", ask={"choices": ["cat", "dog"], "poll": True}) for n in range(2)]
        for poll, user in [(poll, user) for poll in polls for user in ("ada", "bob", "cy", "eve", "me")]:
            change("vote", user, poll, choice="dog")
        change("expire", "trainer", polls[0])
        say("trainer", "Continue?", ask={"choices": ["yes", "no"]})


@pytest.mark.parametrize("width", [250, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation_in_any_state(server, pages, axe, scheme, width):
    page = pages(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 700})
    open_room(page, server, f"empty-{scheme}-{width}")
    assert axe(page) == [], "empty"
    room = f"full-{scheme}-{width}"
    fill(server, room)
    open_room(page, server, room)
    page.get_by_role("button", name="yes").last.wait_for()
    page.locator(".bq-code-keyword").first.wait_for(state="attached")
    assert axe(page) == [], "full, with questions open and answered"
    page.get_by_role("button", name="1 here").click()
    page.get_by_role("list", name="People here").wait_for()
    assert axe(page) == [], "the list of people"
    page.get_by_role("textbox", name="Message", exact=True).click()
    page.keyboard.type("@")
    page.get_by_role("listbox").wait_for()
    assert axe(page) == [], "the list of mentions"
    page.keyboard.press("Escape")
    page.locator(".bq-picture").scroll_into_view_if_needed()  # distant pictures aren't fetched
    page.get_by_role("button", name="loss.png").click()
    page.get_by_role("dialog", name="loss.png").wait_for()
    assert axe(page) == [], "a picture enlarged"
    page.keyboard.press("Escape")
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Attach pictures").click()
    chosen = [("good.png", png()), ("bad.png", b"no picture")]
    chooser.value.set_files([{"name": name, "mimeType": "image/png", "buffer": data} for name, data in chosen])
    page.get_by_role("alert").filter(has_text="is not a PNG picture").wait_for()
    page.locator("progress").first.wait_for(state="detached")
    assert axe(page) == [], "a valid and an invalid attachment"
    for name, _ in chosen:
        page.get_by_role("button", name=f"Remove {name}").click()
    page.locator("li[data-seq]").nth(4).focus()
    page.get_by_role("button", name="React", exact=True).click()
    assert axe(page) == [], "a message's actions"
    page.keyboard.press("Escape")
    page.locator("li[data-seq]").nth(5).focus()
    page.get_by_role("button", name="Reply").click()
    page.get_by_role("textbox", name="Message", exact=True).fill("x" * 32_001)
    page.get_by_role("alert").filter(has_text="too many").wait_for()
    assert axe(page) == [], "replying, too long"
    page.get_by_role("textbox", name="Message", exact=True).fill("who am I?")
    page.get_by_role("textbox", name="Your name").fill("")
    page.get_by_role("textbox", name="Message", exact=True).press("Enter")
    page.get_by_role("alert").filter(has_text="name first").wait_for()
    assert axe(page) == [], "without a name"


@pytest.mark.parametrize("width", [250, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation_in_what_a_bot_offers_and_does(server, pages, axe, scheme, width):
    page = pages(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 700})
    room = f"bot-{scheme}-{width}"
    open_room(page, server, room)
    box = page.get_by_role("textbox", name="Message", exact=True)
    with member(server.url, room, "?kind=kernel&user=bot&live=1&client=1") as bot:
        bot.send({"type": "chat.commands", "commands": [{"name": f"c{n}", "help": "what it does"} for n in range(9)]})
        for number, end in enumerate(("done", "stopped", "failed", None)):
            bot.say(f"epoch {number}\n1 of 9", f"p{number}", "bot", live=True, progress={"fraction": 0.1})
            target = bot.until("ack")["seq"]
            if end is not None:
                bot.send({"type": "chat.end", "cid": f"e{number}", "target": target, "end": end})
        box.fill("/")
        page.get_by_role("listbox", name="Commands").wait_for()
        page.get_by_role("progressbar", name="epoch 3").wait_for()
        assert axe(page) == [], "the list of commands, and progress"
        page.keyboard.press("Enter")
        page.keyboard.press("Backspace")
        page.locator("p.bq-command").wait_for()
        assert axe(page) == [], "the usage of a command"
    box.fill("/nothing")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Send as text").wait_for()
    assert axe(page) == [], "a command that no member offers"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation_in_error_states(pages, axe, scheme):
    page = pages(color_scheme=scheme)
    with running_server() as closed:
        page.goto(f"{closed.url}/rooms/lobby#invite=wrong")
        page.get_by_role("alert").wait_for()
        assert axe(page) == [], "a rejected invite"
    with running_server(open=True) as server:
        open_room(page, server, "lobby")
        server.stop()
        page.get_by_role("status").filter(has_text="Offline").wait_for()
        page.get_by_role("textbox", name="Message", exact=True).fill("waits")
        page.get_by_role("textbox", name="Message", exact=True).press("Enter")
        page.get_by_text("1 message waiting").wait_for()
        assert axe(page) == [], "offline"


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_axe_finds_no_violation_in_a_notebook(server, pages, axe, jupyter, theme):
    room = theme.replace(" ", "-")
    fill(server, room)
    lab, page = jupyter(theme=theme), pages()
    cell = f"from bqwidget import Room\nRoom({room!r}, user='me', url={server.url!r})"
    notebook = lab.open(page, lab.notebook("everyone.ipynb", cell))
    notebook.run(0)
    window = notebook.room(room)
    window.wait_for("Continue?")
    window.wait_connected()
    assert axe(page, ".bq-chat") == []


FOCUS = """
() => {
  const { activeElement: at } = document;
  if (at === document.body) return { name: "", seen: true }; // between the last and the first tab stop
  const { outlineStyle, boxShadow } = getComputedStyle(at);
  const around = at.closest(".bq-box, [data-row]");
  const box = around && getComputedStyle(around.querySelector(".bq-bubble") ?? around).boxShadow;
  return {
    name: at.getAttribute("aria-label") ?? at.textContent.trim(),
    seen: (outlineStyle !== "none" && outlineStyle !== "hidden") || boxShadow !== "none" || (box ?? "none") !== "none",
  };
}
"""


def tab_to(page: Page, name: str, key: str = "Tab") -> None:
    """Press ``key`` until the element ``name`` has the focus; every element on the way must show its focus."""
    visited = []
    for _ in range(40):
        page.keyboard.press(key)
        focus = page.evaluate(FOCUS)
        visited.append(focus["name"])
        assert focus["seen"], f"{focus['name']} has the focus and does not show it"
        if focus["name"] == name:
            return
    raise AssertionError(f"{name} is not reached by {key}, only {visited}")


@pytest.fixture
def keys(server, pages) -> Page:
    """A room with four messages, joined and used by keyboard alone."""
    page = pages()
    page.goto(f"{server.url}/rooms/keys")
    page.get_by_role("status").filter(has_text="Connected").wait_for()
    tab_to(page, "Your name")
    page.keyboard.type("me")
    tab_to(page, "Message", "Shift+Tab")
    page.keyboard.type("first")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("second line")
    page.keyboard.press("Enter")
    item(page, "second line").wait_for()
    with member(server.url, "keys") as bob:
        bob.say("to be answered", "q", "bob", ask={"choices": ["yes", "no"]})
        bob.say("to be voted on", "v", "bob", ask={"choices": ["cat", "dog"], "poll": True})
        bob.say("to be liked", "l", "bob")
    item(page, "to be liked").wait_for()
    page.get_by_role("button", name="1 here").wait_for()  # bob has left
    return page


def item(page: Page, text: str) -> Locator:
    return page.get_by_role("list", name="Messages").locator("[data-seq]").filter(has_text=text)


def go_to(page: Page, text: str) -> None:
    """Move the focus back to the list of messages, and up from the newest message to the one with ``text``."""
    for _ in range(60):
        page.keyboard.press("Shift+Tab")
        if page.locator(".bq-scroll:focus").count():
            break
    while text not in page.locator(":focus").inner_text() or page.locator(".bq-scroll:focus").count():
        page.keyboard.press("ArrowUp")


def test_every_action_works_by_keyboard_alone(keys):
    def act(text: str, action: str, key: str = "Tab") -> None:
        go_to(keys, text)
        tab_to(keys, action, key)
        keys.keyboard.press("Enter")

    act("to be liked", "React")
    tab_to(keys, "🎉", "Shift+Tab")
    keys.keyboard.press("Enter")
    keys.get_by_role("button", name="🎉 1: me").wait_for()

    act("to be liked", "Reply")
    keys.keyboard.type("a reply")
    keys.keyboard.press("Enter")
    item(keys, "a reply").filter(has_text="to be liked").wait_for()

    act("to be answered", "yes")
    item(keys, "me answered: yes").wait_for()

    act("to be voted on", "dog")
    item(keys, "to be voted on").get_by_role("button", name="dog", pressed=True).wait_for()

    tab_to(keys, "1 here", "Shift+Tab")
    keys.keyboard.press("Enter")
    keys.get_by_role("list", name="People here").get_by_text("me").wait_for()
    keys.keyboard.press("Escape")

    tab_to(keys, "Message")
    keys.keyboard.type("thanks @b")
    keys.get_by_role("option", name="bob", selected=True).wait_for()
    keys.keyboard.press("Enter")
    keys.keyboard.press("Enter")
    item(keys, "thanks @bob").wait_for()
    keys.keyboard.press("ArrowUp")
    keys.keyboard.type("– all of you")
    keys.keyboard.press("Enter")
    item(keys, "thanks @bob – all of you").wait_for()

    act("second line", "Edit")
    keys.keyboard.press("End")
    keys.keyboard.type(", edited")
    keys.keyboard.press("Enter")
    item(keys, "second line, edited").wait_for()

    act("second line, edited", "Delete")
    keys.get_by_role("group", name="Delete this message?").wait_for()
    keys.keyboard.press("Shift+Tab")  # the focus is on Cancel
    keys.keyboard.press("Enter")
    item(keys, "This message was deleted").wait_for()
