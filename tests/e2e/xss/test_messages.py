"""XSS: a thousand payloads in every field of a message, live, edited, reloaded and without JavaScript.

Each room has fifty messages, as many as a page's HTML contains, with one payload per message, which is its text, its
author's name, its choice, its picture's name and content, its table and, as a quote, part of the next message. Every
second question is answered, so that both the button and the answer are shown, and every fourth is a poll in which the
author votes. The monitor
(tests/support/dom_monitor.py) must report nothing. The last tests add a vulnerability, which it must report.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from bqserver.testing import running_server
from support.dom_monitor import DomMonitor
from support.eventually import eventually
from support.paths import ROOT
from support.pictures import png, table
from support.ws_client import member, request
from support.xss_payloads import payloads

from bqwidget.protocol import ROOM_NAME, TABLE

if TYPE_CHECKING:
    from playwright.sync_api import Page, WebSocketRoute

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
PAYLOADS = payloads()
MESSAGES_PER_PAGE = 50
USER, EMOJI, NAME = 64, 16, 255
"""The maximum lengths of a user name, a reaction and a file name, to which payloads are truncated."""
POLL = 3
"""Of four messages, the one that is a poll."""
TALL = {"width": 1280, "height": 30_000}
"""A viewport in which all pictures and tables of a room are in view: distant ones are not fetched."""

SHOWN_ROWS = """
() => [...document.querySelectorAll(".bq-chat li[data-seq]")].map((item) => ({
  seq: Number(item.dataset.seq),
  user: item.querySelector(".bq-author b, .bq-sr b").textContent,
  choice: item.querySelector(".bq-choice, .bq-option")?.textContent ?? null,
  voter: item.querySelector(".bq-voters")?.textContent ?? null,
  file: item.querySelector(".bq-picture img").alt,
  cells: [...item.querySelectorAll(".bq-table :is(th, td)")].map((cell) => cell.textContent),
  quoted: item.querySelector(".bq-quote b")?.textContent ?? null,
  reaction: item.querySelector(".bq-reaction span")?.textContent ?? null,
}))
"""


OPEN_ALL = "document.querySelectorAll('.bq-settled [aria-expanded=false]').forEach((button) => button.click())"
"""Answered questions are one line until they are opened."""
SETTLED = """
(count) => document.querySelectorAll(".bq-chat .bq-table").length === count &&
  [...document.querySelectorAll(".bq-chat .bq-picture")].filter((each) =>
    each.querySelector(".bq-missing") || each.querySelector("img")?.complete).length === 2 * count
"""
"""Every picture is shown or marked as damaged: many payloads make the picture invalid."""


@pytest.fixture(scope="module")
def server() -> Iterator:
    with running_server(open=True) as running:
        yield running


def rooms() -> Iterator[tuple[str, list[str]]]:
    for start in range(0, len(PAYLOADS), MESSAGES_PER_PAGE):
        yield f"attempts-{start}", PAYLOADS[start : start + MESSAGES_PER_PAGE]


def post(server, room: str, texts: list[str]) -> list[int]:
    """Send one message per payload, with the payload in every field. Returns their seqs."""
    seqs: list[int] = []
    with member(server.url, room) as attacker:
        for number, text in enumerate(texts):
            poll = number % 4 == POLL
            more = {"ask": {"choices": [text], "poll": poll}, "parts": attach(server, room, text)}
            if number % 2:
                more |= {"re": seqs[-1], "choice": texts[number - 1]}
            elif number:
                more |= {"re": seqs[-1]}
            attacker.say(text, f"c{number}", text[:USER], **more)
            seqs.append(attacker.until("ack")["seq"])
            if poll:
                vote = {"cid": f"v{number}", "user": text[:USER], "target": seqs[-1], "choice": text}
                attacker.send({"type": "chat.vote", **vote})
                attacker.until("ack")
    return seqs


def attach(server, room: str, text: str) -> list[dict[str, object]]:
    """Upload a picture with the payload as its name, one with the payload as its content, and a table of the payload."""
    drawn = f'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><text>{text}</text></svg>'
    parts = []
    for mime, data in (
        ("image/png", png()),
        ("image/svg+xml", drawn.encode()),
        (TABLE, table([text], [text])),
    ):
        put = request(server.url, "POST", f"/rooms/{room}/parts", data, Content_Type=mime)
        parts.append({**put.json, "name": text[:NAME]})
    return parts


FORMS = ("{}", "```html\n{}\n```", "```{}\ncode\n```")
"""A payload as plain text, as highlighted code, and as the language of a code block."""


def edited(texts: list[str]) -> list[str]:
    """The new text of each message: the payload of another one."""
    return [FORMS[number % len(FORMS)].replace("{}", text) for number, text in enumerate(reversed(texts))]


def edit(server, room: str, texts: list[str], seqs: list[int]) -> None:
    """Edit every message to the payload of another one, and react to it with a payload."""
    with member(server.url, room) as attacker:
        for number, (seq, text, instead) in enumerate(zip(seqs, texts, edited(texts), strict=True)):
            by = {"user": text[:USER], "target": seq}
            attacker.send({"type": "chat.edit", "cid": f"e{number}", "text": instead, **by})
            attacker.until("ack")
            attacker.send({"type": "chat.react", "cid": f"r{number}", "emoji": text[:EMOJI], **by})
            attacker.until("ack")


def check_shown(page: Page, texts: list[str], seqs: list[int], *, edited: bool) -> None:
    """Check that each payload is shown as text, since a payload that is not shown is not tested."""
    page.locator(f".bq-chat li[data-seq='{seqs[-1]}'] {'.bq-reaction' if edited else ''}").first.wait_for()
    page.evaluate(OPEN_ALL)
    page.wait_for_function(SETTLED, arg=len(seqs))
    shown = page.evaluate(SHOWN_ROWS)
    assert [row["seq"] for row in shown] == seqs
    assert [row["user"] for row in shown] == [text[:USER] for text in texts]
    assert [row["file"] for row in shown] == [text[:NAME] for text in texts]
    assert [row["cells"] for row in shown] == [[text, text] for text in texts]
    assert [row["quoted"] for row in shown] == [None, *[text[:USER] for text in texts[:-1]]]
    last_is_open = len(texts) % 2 == 1
    for number, row in enumerate(shown):
        is_open = number % 2 or (last_is_open and number == len(texts) - 1)
        assert row["choice"] == (texts[number] if is_open else None)
        assert row["voter"] == (texts[number][:USER] if number % 4 == POLL else None)
    if edited:
        assert [row["reaction"] for row in shown] == [text[:EMOJI] for text in texts]


def test_there_are_a_thousand_payloads():
    assert len(PAYLOADS) == len(set(PAYLOADS)) >= 1_000


@pytest.mark.parametrize(("room", "texts"), list(rooms()), ids=[room for room, _ in rooms()])
def test_payloads_in_all_fields_of_a_message_stay_text(server, pages, room, texts):
    page, plain = pages(), pages(java_script_enabled=False)
    page.set_viewport_size(TALL)
    monitors = DomMonitor(page, server.url), DomMonitor(plain, server.url, scripts=False)
    page.goto(f"{server.url}/rooms/{room}")
    page.get_by_role("status").filter(has_text="Connected").wait_for()
    seqs = post(server, room, texts)
    check_shown(page, texts, seqs, edited=False)
    edit(server, room, texts, seqs)
    check_shown(page, texts, seqs, edited=True)
    assert monitors[0].report() == [], "live and edited"
    page.reload()
    check_shown(page, texts, seqs, edited=True)
    assert monitors[0].report() == [], "history"
    plain.goto(f"{server.url}/rooms/{room}")
    items = plain.locator(".bq-static .bq-list > li")
    # HTML parsers drop NUL characters.
    assert items.locator(".bq-text > p").all_text_contents() == [text.replace("\0", "") for text in edited(texts)]
    tags = set(plain.locator("body *").evaluate_all("all => all.map((each) => each.localName)"))
    assert tags <= {
        "main",
        "section",
        "header",
        "div",
        "h1",
        "svg",
        "path",
        "noscript",
        "ol",
        "ul",
        "li",
        "b",
        "time",
        "p",
        "a",
        "span",
        "script",
    }
    assert plain.locator("script").count() == 2
    assert monitors[1].report() == []


@pytest.mark.slow("sends a thousand requests")
def test_payloads_as_room_names_are_rejected_as_json(server):
    for text in (text for text in PAYLOADS if not ROOM_NAME.fullmatch(text)):
        answer = request(server.url, "GET", f"/rooms/{quote(text, safe='')}", Accept="text/html")
        assert answer.status in (400, 404), text
        assert answer.headers["Content-Type"].startswith("application/json")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_payloads_in_errors_and_names_of_members_stay_text(server, pages):
    """A real server sends no such names and errors, but the page must not rely on that."""
    page = pages()
    monitor = DomMonitor(page, server.url)
    routes: list[WebSocketRoute] = []

    def intercept(route: WebSocketRoute) -> None:
        server_route = route.connect_to_server()
        routes.append(route)

        def refuse(data: str | bytes) -> None:
            frame = json.loads(data)
            if frame["type"] != "chat.send":
                return server_route.send(data)
            number = int(frame["text"])
            error = {"code": "refused", "message": PAYLOADS[number], "cid": frame["cid"]}
            return route.send(json.dumps({"type": "error", **error}))

        route.on_message(refuse)

    page.route_web_socket("**/rooms/errors*", intercept)
    page.goto(f"{server.url}/rooms/errors")
    page.get_by_role("status").filter(has_text="Connected").wait_for()
    names = [{"user": text, "kind": "person", "typing": number < 2} for number, text in enumerate(PAYLOADS)]
    names[0]["commands"] = [
        {"name": f"{number:04d}{text}", "usage": text, "help": text} for number, text in enumerate(PAYLOADS)
    ]
    routes[0].send(json.dumps({"type": "presence", "members": names}))
    page.get_by_role("button", name=f"{len(names)} here").click()
    people = page.get_by_role("list", name="People here").locator("li > span[dir]")
    people.nth(len(names) - 1).wait_for()
    assert people.all_text_contents() == PAYLOADS
    box = page.get_by_role("textbox", name="Message", exact=True)
    box.press_sequentially("@")
    page.get_by_role("listbox").get_by_role("option").first.wait_for()
    box.fill("/")
    commands = page.get_by_role("listbox", name="Commands").locator("li[aria-selected=true]")
    for number in range(0, len(PAYLOADS), 20):
        box.fill(f"/{number:04d}")
        page.get_by_role("option").filter(has_text=f"/{number:04d}").first.wait_for()
        assert commands.locator("> div > span").all_text_contents() == [PAYLOADS[number]]
    box.fill("")
    notice = page.locator(".bq-composer [role=alert]")
    for text in PAYLOADS[::20]:
        routes[0].send(json.dumps({"type": "error", "code": "refused", "message": text}))
        notice.filter(has_text=text).wait_for()
    page.get_by_role("textbox", name="Your name").fill(PAYLOADS[0])
    for number in range(7, len(PAYLOADS), 20):
        box.fill(str(number))
        box.press("Enter")
        page.locator(".bq-failed").filter(has_text=PAYLOADS[number]).first.wait_for()
    assert monitor.report() == []


def test_payloads_in_the_response_to_an_invite_stay_text(pages):
    with running_server() as server:
        page = pages()
        monitor = DomMonitor(page, server.url)
        answers = iter(PAYLOADS[::50])

        def refuse(route) -> None:
            route.fulfill(status=403, json={"error": {"code": "no", "message": next(answers)}})

        page.route("**/session", refuse)
        for text in PAYLOADS[::50]:
            page.goto("about:blank")
            page.goto(f"{server.url}/rooms/lobby#invite=x")
            page.get_by_role("alert").filter(has_text=text).wait_for()
            assert monitor.report() == [], text


CELL = """
from bqwidget import Room
room = Room("notebook", user="ada", url={url!r})
room.wait_open(20)
room.widget.layout.height = "26000px"
room
"""


def test_payloads_in_a_notebook_stay_text(server, pages, jupyter):
    """No content policy protects a notebook, where a script could run code in the reader's kernel."""
    texts = PAYLOADS[::21]
    lab, page = jupyter(), pages()
    page.set_viewport_size(TALL)
    monitor = DomMonitor(page, lab.url, server.url)
    name = lab.notebook("hostile.ipynb", CELL.format(url=server.url), "room.transcript()")
    notebook = lab.open(page, name)
    notebook.run(0)
    notebook.room("notebook").wait_connected()
    seqs = post(server, "notebook", texts)
    check_shown(page, texts, seqs, edited=False)
    edit(server, "notebook", texts, seqs)
    check_shown(page, texts, seqs, edited=True)
    transcript = notebook.run(1).locator("ol > li")
    transcript.nth(len(texts) - 1).wait_for()
    allowed = {"li", "b", "bdi", "time", "br", "span"}
    assert set(transcript.locator("*").evaluate_all("all => all.map((each) => each.localName)")) <= allowed
    assert monitor.report() == []
    notebook.save()
    page.reload()
    lab.wait_ready(page, name)
    page.locator(".jp-Cell-outputArea").first.wait_for()
    assert monitor.report() == [], "reopened"
    lab.end_kernels()
    page.reload()
    lab.wait_ready(page, name)
    transcript.nth(len(texts) - 1).wait_for()
    assert monitor.report() == [], "reopened without its kernel"


@pytest.fixture(scope="module")
def vulnerable_script(node: str, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The page's script, modified to insert the text of messages as HTML."""
    bundle = tmp_path_factory.mktemp("vulnerable") / "page.js"
    subprocess.run([node, str(ROOT / "js/tests/support/vulnerable-page.mjs"), str(bundle)], check=True)
    return bundle.read_bytes()


@pytest.mark.parametrize("policy", [True, False], ids=["with our policy", "without a policy"])
def test_an_added_vulnerability_is_reported(server, pages, vulnerable_script, policy):
    page = pages(bypass_csp=not policy)
    monitor = DomMonitor(page, server.url)
    page.route(
        "**/static/page.js",
        lambda route: route.fulfill(body=vulnerable_script, content_type="text/javascript"),
    )
    page.goto(f"{server.url}/rooms/vulnerable-{policy}")
    page.get_by_role("status").filter(has_text="Connected").wait_for()
    image = next(number for number, text in enumerate(PAYLOADS) if text.startswith("<img src=x onerror="))
    leak = next(number for number, text in enumerate(PAYLOADS) if text.startswith("<img src=//evil"))
    with member(server.url, f"vulnerable-{policy}") as attacker:
        for number in (image, leak):
            attacker.say(PAYLOADS[number], f"c{number}", "eve")
            attacker.until("ack")
    if policy:
        page.wait_for_function("() => domMonitor().length > 0")
        assert any("require-trusted-types-for" in line for line in monitor.report()), monitor.report()
        return
    page.wait_for_function(f"() => domMonitor().includes('payload {image} ran')")
    leaked = f"a request to {server.url.partition('//')[0]}//evil.example/{leak}.png"
    eventually(lambda: leaked in monitor.report(), what=leaked)
    assert '<img src="x">' in monitor.report()
