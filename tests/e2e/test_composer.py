"""Writing and answering: input methods, drafts, rejections, edits, reactions, polls, commands, mentions and screen readers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from bqserver.testing import RunningServer, running_server
from e2e.conftest import Window, expect
from support.eventually import eventually
from support.ws_client import member

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page, WebSocketRoute

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with running_server(open=True) as running:
        yield running


def open_room(page: Page, server: RunningServer, room: str, user: str = "me") -> Window:
    page.goto(f"{server.url}/rooms/{room}")
    window = Window(page.get_by_role("region", name=f"Chat room {room}"))
    window.wait_connected()
    window.set_name(user)
    return window


def box_of(page: Page) -> Locator:
    return page.get_by_role("textbox", name="Message", exact=True)


def row(window: Window, text: str) -> Locator:
    return window.messages.filter(has_text=text).last


def test_enter_in_an_input_method_does_not_send(server, pages):
    page = pages()
    window = open_room(page, server, "japanese")
    box, keyboard = box_of(page), page.context.new_cdp_session(page)

    def compose(text: str) -> None:
        keyboard.send("Input.imeSetComposition", {"text": text, "selectionStart": len(text), "selectionEnd": len(text)})

    def enter(**more: object) -> None:
        key = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 229, **more}
        keyboard.send("Input.dispatchKeyEvent", {"type": "rawKeyDown", **key})
        keyboard.send("Input.dispatchKeyEvent", {"type": "keyUp", **key})

    box.click()
    for text in ("に", "にほ", "にほん", "日本"):
        compose(text)
        enter()
        expect(box).to_have_value(text)
    keyboard.send("Input.insertText", {"text": "日本"})
    enter()  # Safari ends the composition first and then sends the key event
    compose("ご")
    keyboard.send("Input.insertText", {"text": "語"})
    expect(box).to_have_value("日本語")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("2")
    page.keyboard.press("Enter")
    window.wait_for("日本語")
    expect(window.messages).to_have_count(1)
    expect(box).to_have_value("")


def test_a_draft_survives_a_reload_and_belongs_to_its_room(server, pages):
    page = pages()
    open_room(page, server, "drafts")
    box_of(page).fill("half a sentence\nand its second line")
    page.goto(f"{server.url}/rooms/other")
    expect(box_of(page)).to_have_value("")
    page.goto(f"{server.url}/rooms/drafts")
    expect(box_of(page)).to_have_value("half a sentence\nand its second line")
    box_of(page).press("Enter")
    page.get_by_role("list", name="Messages").get_by_text("half a sentence").wait_for()
    page.reload()
    expect(box_of(page)).to_have_value("")


def test_the_box_grows_with_its_text_up_to_a_limit(server, pages):
    page = pages()
    open_room(page, server, "growing")
    heights = []
    for lines in (1, 4, 60):
        box_of(page).fill("\n".join(["line"] * lines))
        heights.append(box_of(page).evaluate("box => box.clientHeight"))
    assert heights[0] < heights[1] < heights[2] <= 160
    assert box_of(page).evaluate("box => box.scrollHeight > box.clientHeight")
    box_of(page).fill("")
    assert box_of(page).evaluate("box => box.clientHeight") == heights[0]


def test_a_rejected_message_shows_the_reason_and_retry_sends_it_once(server, pages):
    page = pages()
    refusing = True
    refused = 0

    def intercept(route: WebSocketRoute) -> None:
        server_route = route.connect_to_server()

        def forward(data: str | bytes) -> None:
            nonlocal refused
            frame = json.loads(data)
            if not refusing or frame["type"] != "chat.send":
                return server_route.send(data)
            refused += 1
            error = {"code": "muted", "message": f"Muted, refusal {refused}", "cid": frame["cid"]}
            return route.send(json.dumps({"type": "error", **error}))

        route.on_message(forward)

    page.route_web_socket("**/rooms/refused*", intercept)
    window = open_room(page, server, "refused")
    window.say("let me in")
    page.get_by_text("Not sent: Muted, refusal 1").wait_for()
    expect(box_of(page)).to_have_value("let me in")
    page.get_by_role("button", name="Retry").click()
    page.get_by_text("Not sent: Muted, refusal 2").wait_for()
    refusing = False
    page.get_by_role("button", name="Retry").click()
    window.wait_for("let me in")
    page.get_by_text("Not sent").wait_for(state="detached")
    expect(box_of(page)).to_have_value("")
    expect(window.messages).to_have_count(1)


def test_messages_are_edited_replied_to_reacted_to_and_deleted(server, pages):
    """With the mouse (test_accessibility.py does the same by keyboard); another page shows every change."""
    mine, theirs = pages(), pages()
    here, there = open_room(mine, server, "actions", "me"), open_room(theirs, server, "actions", "ada")
    here.say("frist")
    there.say("a question")
    here.wait_for("a question")

    row(here, "frist").hover()
    mine.get_by_role("button", name="Edit").click()
    box_of(mine).fill("first")
    box_of(mine).press("Enter")
    row(there, "first").get_by_text("edited").wait_for()

    row(here, "a question").hover()
    row(here, "a question").get_by_role("button", name="Reply").wait_for()
    expect(mine.get_by_role("button", name="Edit")).to_have_count(0)
    mine.get_by_role("button", name="Reply").click()
    box_of(mine).fill("an answer")
    box_of(mine).press("Enter")
    row(there, "an answer").locator(".bq-quote").get_by_text("a question").wait_for()

    row(there, "an answer").hover()
    theirs.get_by_role("button", name="React", exact=True).click()
    theirs.get_by_role("button", name="👍").click()
    row(here, "an answer").get_by_role("button", name="👍 1: ada").click()
    row(there, "an answer").get_by_role("button", name="👍 2: ada, me").wait_for()

    row(here, "first").hover()
    mine.get_by_role("button", name="Delete").click()
    mine.get_by_role("group", name="Delete this message?").get_by_role("button", name="Cancel").click()
    row(here, "first").hover()
    mine.get_by_role("button", name="Delete").click()
    mine.get_by_role("group", name="Delete this message?").get_by_role("button", name="Delete").click()
    row(there, "This message was deleted").wait_for()
    expect(there.messages.filter(has_text="first")).to_have_count(0)


def test_two_readers_vote_and_see_the_tally_of_an_open_and_an_ended_poll(server, pages):
    mine, theirs = pages(), pages()
    here, there = open_room(mine, server, "polls", "me"), open_room(theirs, server, "polls", "ada")
    with member(server.url, "polls", "?kind=kernel&user=bot") as bot:
        bot.say("Which day?", "p1", "bot", ask={"choices": ["Tuesday", "Friday"], "poll": True, "from": ["me", "ada"]})
        bot.say("Which room?", "p2", "bot", ask={"choices": ["big", "small"], "poll": True, "from": "ada"})
        row(here, "Which day?").get_by_role("button", name="Tuesday").click()
        row(there, "Which day?").get_by_text("1 of 2 voted").wait_for()
        row(here, "Which day?").get_by_role("button", name="Friday").click()
        friday = row(there, "Which day?").locator("li").filter(has_text="Friday")
        friday.get_by_text("me", exact=True).wait_for()
        row(here, "Which day?").get_by_role("button", name="Friday", pressed=True).wait_for()
        expect(row(here, "Which room?").get_by_role("button", name="big")).to_be_disabled()
        row(there, "Which day?").get_by_role("button", name="Friday").click()
        for window in (here, there):
            ended = row(window, "Which day?")
            ended.get_by_text("All have voted · 2 votes").wait_for()
            expect(ended.get_by_role("button", name="Friday")).to_have_count(0)
            winner = ended.locator("li").filter(has_text="Friday")
            expect(winner.locator(".bq-voters")).to_have_text("me, ada")
            widths = "bar => [getComputedStyle(bar, '::before').width, getComputedStyle(bar).width].map(parseFloat)"
            eventually(lambda: winner.evaluate(widths)[0] > 0, what="a bar that grows")  # noqa: B023
            assert winner.evaluate(widths)[0] <= winner.evaluate(widths)[1]
        mine.reload()
        row(here, "Which day?").get_by_text("All have voted · 2 votes").wait_for()


def test_commands_of_a_kernel_are_completed_and_others_are_not_sent(server, pages):
    page = pages()
    window = open_room(page, server, "commands")
    with member(server.url, "commands", "?kind=kernel&user=bot") as bot:
        mean = {"name": "mean", "usage": "/mean NUMBERS...", "help": "The mean of numbers."}
        bot.send({"type": "chat.commands", "commands": [mean, {"name": "median"}]})
        box_of(page).press_sequentially("/m")
        page.get_by_role("option", name="/mean NUMBERS... bot The mean of numbers.", selected=True).wait_for()
        box_of(page).press("ArrowDown")
        page.get_by_role("option", name="/median bot", selected=True).wait_for()
        box_of(page).press("ArrowUp")
        box_of(page).press("Tab")
        expect(box_of(page)).to_have_value("/mean ")
        page.keyboard.type("3 4 8")
        page.get_by_text("The mean of numbers.").wait_for()
        page.keyboard.press("Enter")
        assert bot.until("message")["entry"]["text"] == "/mean 3 4 8"
        window.say("/maen 3")
        page.get_by_role("alert").filter(has_text="No member offers /maen").wait_for()
        expect(box_of(page)).to_have_value("/maen 3")
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Enter")
        assert bot.until("message")["entry"]["text"] == "/maen 3"
        box_of(page).fill("/help")
    page.get_by_role("button", name="1 here").wait_for()
    box_of(page).press("Enter")  # the kernel has left
    page.get_by_role("alert").filter(has_text="No member offers /help").wait_for()


def test_typing_users_are_shown_and_mentions_highlighted(server, pages, monkeypatch):
    monkeypatch.setattr("bqserver.hub.dispatch.TYPING_TIMEOUT", 600.0)
    mine, theirs = pages(), pages()
    here, there = open_room(mine, server, "people", "me"), open_room(theirs, server, "people", "Ada Lovelace")
    here.say("here I am")
    there.wait_for("here I am")
    there.say("hello")
    here.wait_for("hello")
    box_of(theirs).press_sequentially("look, @m")
    mine.get_by_text("Ada Lovelace is typing…").wait_for()
    theirs.get_by_role("option", name="me").click()
    expect(box_of(theirs)).to_have_value("look, @me ")
    box_of(theirs).press("Enter")
    mention = row(here, "look, @me")
    mention.get_by_text("mentions you").wait_for()
    colours = [
        each.locator(".bq-bubble").evaluate("bubble => getComputedStyle(bubble).backgroundColor")
        for each in (mention, row(here, "hello"), row(there, "look, @me"))
    ]
    assert len(set(colours)) == 3
    assert there.messages.get_by_text("mentions you").count() == 0


def test_typing_that_ends_by_time_is_gone_from_the_window(server, pages, monkeypatch):
    """Although nothing else happens in the room."""
    page = pages()
    open_room(page, server, "typing")
    with member(server.url, "typing", "?user=bob") as bob:
        for timeout, shown in ((600.0, 1), (0.5, 0)):
            monkeypatch.setattr("bqserver.hub.dispatch.TYPING_TIMEOUT", timeout)
            bob.send({"type": "chat.typing"})
            expect(page.get_by_text("bob is typing…")).to_have_count(shown)
        page.get_by_role("button", name="2 here").wait_for()


RECORD_ANNOUNCED = """
window.announced = [];
new MutationObserver(() => {
  const text = document.querySelector("[aria-live=polite]")?.textContent;
  if (text && text !== window.announced.at(-1)) window.announced.push(text);
}).observe(document, { subtree: true, childList: true, characterData: true });
window.held = [];
const setLater = window.setTimeout;
window.setTimeout = (action, delay, ...more) =>
  delay === 1_000 ? (window.held.push(action), -1) : setLater(action, delay, ...more);
"""
"""The second after which something is announced ends when the test says so."""


def test_a_screen_reader_gets_new_messages_in_batches_and_no_history(server, pages):
    page = pages()
    page.add_init_script(RECORD_ANNOUNCED)
    with member(server.url, "announcements") as sender:
        for number in range(5):
            sender.say(f"history {number}", f"h{number}", "ada")
            sender.until("ack")
        window = open_room(page, server, "announcements")

        def announce(text: str) -> None:
            window.wait_for(text)
            page.wait_for_function("() => window.held.length > 0")
            page.evaluate("window.held.splice(0).forEach((action) => action())")
            page.wait_for_function("(text) => window.announced.at(-1)?.endsWith(text)", arg=text)

        sender.say("one", "n1", "ada")
        announce("one")
        for number in range(20):
            sender.say(f"news {number}", f"n2{number}", "bob")
        announce("news 19")
        window.say("my own words")
        window.wait_for("my own words")
        sender.say("the end", "n3", "ada")
        announce("the end")
    assert page.evaluate("window.announced") == [
        "ada: one",
        "20 new messages. The last, from bob: news 19",
        "ada: the end",
    ]
