"""A stranger's words stay words: a thousand attempts in every field, live, edited, reloaded and without script.

Each room takes fifty messages, as many as a page's HTML carries, and one payload a message, which stands in
its text, its author's name, its choice, its picture's name and words, its table and, quoted, in the next. Every second question is
answered, so that both the button and the answer are seen. The monitor (tests/support/dom_monitor.py) must find nothing.
The last tests plant a hole and want it found.
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
from support.paths import ROOT
from support.pictures import png, table
from support.ws_client import member, request
from support.xss_payloads import payloads

from bqwidget.protocol import ROOM_NAME, TABLE

if TYPE_CHECKING:
    from playwright.sync_api import Page, WebSocketRoute

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
PAYLOADS = payloads()
A_PAGE = 50
USER, EMOJI, NAME = 64, 16, 255
"""The longest name of a person, reaction and name of a file that a server takes: a payload is cut there."""
TALL = {"width": 1280, "height": 30_000}
"""So that all pictures and tables of a room are near what is seen: others are not fetched."""

SHOWN = """
() => [...document.querySelectorAll(".bq-chat li[data-seq]")].map((item) => ({
  seq: Number(item.dataset.seq),
  user: item.querySelector(".bq-author b, .bq-sr b").textContent,
  choice: item.querySelector(".bq-choice")?.textContent ?? null,
  file: item.querySelector(".bq-picture img").alt,
  cells: [...item.querySelectorAll(".bq-table :is(th, td)")].map((cell) => cell.textContent),
  quoted: item.querySelector(".bq-quote b")?.textContent ?? null,
  reaction: item.querySelector(".bq-reaction span")?.textContent ?? null,
}))
"""


SETTLED = """
(count) => document.querySelectorAll(".bq-chat .bq-table").length === count &&
  [...document.querySelectorAll(".bq-chat .bq-picture")].filter((each) =>
    each.querySelector(".bq-missing") || each.querySelector("img")?.complete).length === 2 * count
"""
"""Every picture is there, or said to be damaged: many payloads leave no picture of it."""


@pytest.fixture(scope="module")
def server() -> Iterator:
    with running_server(open=True) as running:
        yield running


def rooms() -> Iterator[tuple[str, list[str]]]:
    for start in range(0, len(PAYLOADS), A_PAGE):
        yield f"attempts-{start}", PAYLOADS[start : start + A_PAGE]


def post(server, room: str, texts: list[str]) -> list[int]:
    """One message per payload, with the payload in every field; the messages' seqs."""
    seqs: list[int] = []
    with member(server.url, room) as stranger:
        for number, text in enumerate(texts):
            more = {"ask": {"choices": [text]}, "parts": attach(server, room, text)}
            if number % 2:
                more |= {"re": seqs[-1], "choice": texts[number - 1]}
            elif number:
                more |= {"re": seqs[-1]}
            stranger.say(text, f"c{number}", text[:USER], **more)
            seqs.append(stranger.until("ack")["seq"])
    return seqs


def attach(server, room: str, text: str) -> list[dict[str, object]]:
    """A picture that is named by the payload, another that says it, and a table of nothing else."""
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
"""A payload as it is, as code that is shown in colours, and as the name of the code's language."""


def edited(texts: list[str]) -> list[str]:
    """What each message says once it is edited: the payload of another one."""
    return [FORMS[number % len(FORMS)].replace("{}", text) for number, text in enumerate(reversed(texts))]


def edit(server, room: str, texts: list[str], seqs: list[int]) -> None:
    """Every message gets the payload of another one, and a payload as reaction."""
    with member(server.url, room) as stranger:
        for number, (seq, text, instead) in enumerate(zip(seqs, texts, edited(texts), strict=True)):
            by = {"user": text[:USER], "target": seq}
            stranger.send({"type": "chat.edit", "cid": f"e{number}", "text": instead, **by})
            stranger.until("ack")
            stranger.send({"type": "chat.react", "cid": f"r{number}", "emoji": text[:EMOJI], **by})
            stranger.until("ack")


def is_shown(page: Page, texts: list[str], seqs: list[int], *, edited: bool) -> None:
    """Each payload stands there as it was written: what is not shown has not been tried."""
    page.locator(f".bq-chat li[data-seq='{seqs[-1]}'] {'.bq-reaction' if edited else ''}").first.wait_for()
    page.wait_for_function(SETTLED, arg=len(seqs))
    shown = page.evaluate(SHOWN)
    assert [row["seq"] for row in shown] == seqs
    assert [row["user"] for row in shown] == [text[:USER] for text in texts]
    assert [row["file"] for row in shown] == [text[:NAME] for text in texts]
    assert [row["cells"] for row in shown] == [[text, text] for text in texts]
    assert [row["quoted"] for row in shown] == [None, *[text[:USER] for text in texts[:-1]]]
    last_is_open = len(texts) % 2 == 1
    for number, row in enumerate(shown):
        is_open = number % 2 or (last_is_open and number == len(texts) - 1)
        assert row["choice"] == (texts[number] if is_open else None)
    if edited:
        assert [row["reaction"] for row in shown] == [text[:EMOJI] for text in texts]


def test_no_payload_in_any_field_of_a_message_becomes_more_than_text(server, pages):
    assert len(PAYLOADS) == len(set(PAYLOADS)) >= 1_000
    page, plain = pages(), pages(java_script_enabled=False)
    page.set_viewport_size(TALL)
    monitors = DomMonitor(page, server.url), DomMonitor(plain, server.url, scripts=False)
    for room, texts in rooms():
        page.goto(f"{server.url}/rooms/{room}")
        page.get_by_role("status").filter(has_text="Connected").wait_for()
        seqs = post(server, room, texts)
        is_shown(page, texts, seqs, edited=False)
        edit(server, room, texts, seqs)
        is_shown(page, texts, seqs, edited=True)
        assert monitors[0].report() == [], f"live and edited, {room}"
        page.reload()
        is_shown(page, texts, seqs, edited=True)
        assert monitors[0].report() == [], f"history, {room}"
        plain.goto(f"{server.url}/rooms/{room}")
        items = plain.locator("#bqwidget > .bq-static > li")
        # (HTML has no NUL: its parser drops them.)
        assert items.locator("> p").all_text_contents() == [text.replace("\0", "") for text in edited(texts)]
        tags = set(plain.locator("body *").evaluate_all("all => all.map((each) => each.localName)"))
        assert tags <= {"main", "ol", "li", "b", "time", "p", "span", "script"}, f"without JavaScript, {room}"
        assert plain.locator("script").count() == 2, f"without JavaScript, {room}"
        assert monitors[1].report() == []


def test_no_payload_in_a_room_s_name_comes_back_as_a_page(server):
    for text in (text for text in PAYLOADS if not ROOM_NAME.fullmatch(text)):
        answer = request(server.url, "GET", f"/rooms/{quote(text, safe='')}", Accept="text/html")
        assert answer.status in (400, 404), text
        assert answer.headers["Content-Type"].startswith("application/json")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_no_payload_in_an_error_or_a_member_s_name_becomes_more_than_text(server, pages):
    """The server would not say such things; the page must not rely on it."""
    page = pages()
    monitor = DomMonitor(page, server.url)
    routes: list[WebSocketRoute] = []

    def between(route: WebSocketRoute) -> None:
        onward = route.connect_to_server()
        routes.append(route)

        def refuse(data: str | bytes) -> None:
            frame = json.loads(data)
            if frame["type"] != "chat.send":
                return onward.send(data)
            number = int(frame["text"])
            error = {"code": "refused", "message": PAYLOADS[number], "cid": frame["cid"]}
            return route.send(json.dumps({"type": "error", **error}))

        route.on_message(refuse)

    page.route_web_socket("**/rooms/errors*", between)
    page.goto(f"{server.url}/rooms/errors")
    page.get_by_role("status").filter(has_text="Connected").wait_for()
    names = [{"user": text, "kind": "person", "typing": number < 2} for number, text in enumerate(PAYLOADS)]
    routes[0].send(json.dumps({"type": "presence", "members": names}))
    page.get_by_role("button", name=f"{len(names)} here").click()
    people = page.get_by_role("list", name="People here").locator("li > [dir]")
    people.nth(len(names) - 1).wait_for()
    assert people.all_text_contents() == PAYLOADS
    box = page.get_by_role("textbox", name="Message", exact=True)
    box.press_sequentially("@")
    page.get_by_role("listbox").get_by_role("option").first.wait_for()
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


def test_no_payload_in_the_answer_to_an_invite_becomes_more_than_text(pages):
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


def test_no_payload_in_a_notebook_becomes_more_than_text(server, pages, jupyter):
    """A policy stops nothing here: what ran would run in the reader's kernel."""
    texts = PAYLOADS[::21]
    lab, page = jupyter(), pages()
    page.set_viewport_size(TALL)
    monitor = DomMonitor(page, lab.url, server.url)
    name = lab.notebook("hostile.ipynb", CELL.format(url=server.url), "room.transcript()")
    notebook = lab.open(page, name)
    notebook.run(0)
    notebook.room("notebook").wait_connected()
    seqs = post(server, "notebook", texts)
    is_shown(page, texts, seqs, edited=False)
    edit(server, "notebook", texts, seqs)
    is_shown(page, texts, seqs, edited=True)
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
def planted(node: str, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The page's script with a message's text put in as HTML."""
    bundle = tmp_path_factory.mktemp("planted") / "page.js"
    subprocess.run([node, str(ROOT / "js/tests/support/vulnerable-page.mjs"), str(bundle)], check=True)
    return bundle.read_bytes()


@pytest.mark.parametrize("policy", [True, False], ids=["with our policy", "without a policy"])
def test_a_planted_hole_is_found(server, pages, planted, policy):
    page = pages(bypass_csp=not policy)
    monitor = DomMonitor(page, server.url)
    page.route("**/static/page.js", lambda route: route.fulfill(body=planted, content_type="text/javascript"))
    page.goto(f"{server.url}/rooms/planted-{policy}")
    page.get_by_role("status").filter(has_text="Connected").wait_for()
    image = next(number for number, text in enumerate(PAYLOADS) if text.startswith("<img src=x onerror="))
    leak = next(number for number, text in enumerate(PAYLOADS) if text.startswith("<img src=//evil"))
    with member(server.url, f"planted-{policy}") as stranger:
        for number in (image, leak):
            stranger.say(PAYLOADS[number], f"c{number}", "eve")
            stranger.until("ack")
    if policy:
        page.wait_for_function("domMonitor().length > 0")
        assert any("require-trusted-types-for" in line for line in monitor.report()), monitor.report()
        return
    page.wait_for_function(f"domMonitor().includes('payload {image} ran')")
    report = monitor.report()
    assert '<img src="x">' in report
    assert f"a request to {server.url.partition('//')[0]}//evil.example/{leak}.png" in report
