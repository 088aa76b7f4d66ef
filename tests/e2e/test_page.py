"""The page of a room: fast first paint without layout shifts, phones, languages, the tab's title, compression."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from bqserver.testing import RunningServer, running_server
from bqserver.websocket.compression import compress
from e2e.conftest import Window, expect
from support.ws_client import member
from websockets.extensions.permessage_deflate import PerMessageDeflate

from bqwidget import Room, WaitTimeout

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

MAX_FIRST_PAINT_MS = 500
PHONE = {
    "viewport": {"width": 390, "height": 844},
    "device_scale_factor": 3,
    "is_mobile": True,
    "has_touch": True,
}
CODE = "def step(n: int) -> str:\n    return f'{n}'  # now"


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with running_server(open=True) as running:
        yield running


def fill(server: RunningServer, room: str, *texts: str) -> None:
    with member(server.url, room) as ada:
        for number, text in enumerate(texts):
            ada.say(text, f"{number} {text}"[:60], "ada")
            ada.until("ack")


def open_room(page: Page, server: RunningServer, room: str) -> Window:
    page.goto(f"{server.url}/rooms/{room}")
    window = Window(page.get_by_role("region", name=f"Chat room {room}"))
    window.wait_connected()
    return window


# ---- first paint

LAYOUT = """
() => new Promise((resolve) => {
  const read = (type, done) => new PerformanceObserver((list) => done(list.getEntries())).observe({ type, buffered: true });
  let shift = 0;
  read("layout-shift", (entries) => entries.forEach(({ value, hadRecentInput }) => shift += hadRecentInput ? 0 : value));
  read("paint", (entries) => {
    const paint = entries.find(({ name }) => name === "first-contentful-paint");
    if (paint) setTimeout(() => resolve([paint.startTime, shift]), 300); // the script has started, fonts are loaded
  });
})
"""


@pytest.mark.alone
@pytest.mark.parametrize("options", [{}, PHONE], ids=["desk", "phone"])
def test_the_first_paint_is_fast_and_nothing_shifts_afterwards(server, pages, options):
    room = f"paint-{len(options)}"
    fill(server, room, *(f"message {number}\n" + "words " * (number % 40) for number in range(60)))
    page = pages(**options)
    paints = []
    for _ in range(3):
        open_room(page, server, room)
        paint, shift = page.evaluate(LAYOUT)
        paints.append(paint)
        assert shift == 0
    print(f"first contentful paint: {', '.join(f'{paint:.0f}' for paint in paints)} ms")
    assert statistics.median(paints) < MAX_FIRST_PAINT_MS


TOPS = """() => [...document.querySelectorAll("[data-seq] .bq-text")].slice(-6)
  .map((text) => [Number(text.textContent.match(/\\d+/)[0]), text.getBoundingClientRect().top])"""


@pytest.mark.parametrize("options", [{}, PHONE], ids=["desk", "phone"])
def test_the_view_takes_over_the_rows_of_the_html_where_they_are(pages, options):
    page = pages(**options)
    with running_server(open=True) as server:
        with member(server.url) as ada:
            for number in range(60):
                ada.say(f"message {number}", f"cid-{number}", "bob" if number % 5 < 2 else "ada")
                ada.until("ack")
        page.goto(f"{server.url}/health")
        page.evaluate("localStorage.setItem('bqwidget:name:', 'lin')")
        held = []
        page.route("**/page.js", lambda route: held.append(route))  # noqa: PLW0108 - Playwright sets attributes on it
        page.goto(f"{server.url}/rooms/lobby", wait_until="commit")
        page.locator("[data-seq='60']").wait_for()
        while not held:
            page.wait_for_timeout(10)
        before = page.evaluate(TOPS)
        page.evaluate("document.querySelector('[data-seq=\"60\"]').closest('.bq-scroll').fromHTML = true")
        held[0].continue_()
        Window(page.get_by_role("region", name="Chat room lobby")).wait_connected()
        assert page.evaluate(TOPS) == [pytest.approx(row, abs=1) for row in before]  # a fraction of a pixel
        assert page.evaluate("document.querySelector('.bq-scroll').fromHTML")
        expect(page.locator(".bq-static, noscript")).to_have_count(0)


def test_without_javascript_the_newest_messages_are_in_view(server, pages):
    fill(server, "static", *(f"message {number}\nand its second line" for number in range(50)))
    page = pages(java_script_enabled=False)
    page.goto(f"{server.url}/rooms/static")
    box = page.get_by_text("message 49").bounding_box()
    assert box is not None
    assert 0 < box["y"] < 900
    page.get_by_text("message 0").scroll_into_view_if_needed()


# ---- on a phone

TARGETS = """chat => [...chat.querySelectorAll("button, input")].filter((each) => each.checkVisibility()).map((each) => {
  const { left, right, height } = each.getBoundingClientRect();
  return [each.outerHTML, left, right, height];
})"""


def test_the_page_works_on_a_phone(server, pages):
    page = pages(**PHONE)
    fill(server, "phone", "hello", f"```python\n{CODE}{' ' * 80}# far out\n```", "x" * 500)
    window = open_room(page, server, "phone")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    name = page.get_by_role("textbox", name="Your name")
    name.tap()
    name.fill("me")
    box = page.get_by_role("textbox", name="Message", exact=True)
    box.tap()
    box.fill("from my phone")
    box.press("Enter")
    expect(box).to_have_value("from my phone\n")  # a phone has no Shift+Enter
    page.get_by_role("button", name="Send").tap()
    window.wait_for("from my phone")
    window.messages.filter(has_text="hello").get_by_text("hello").tap()
    page.get_by_role("button", name="Reply").tap()
    page.get_by_text("Replying to ada").wait_for()
    page.get_by_role("button", name="Cancel").tap()
    window.messages.filter(has_text="from my phone").get_by_text("from my phone").tap()
    page.get_by_role("button", name="Delete").tap()
    page.get_by_role("group", name="Delete this message?").get_by_role("button", name="Delete").tap()
    window.messages.get_by_text("This message was deleted").wait_for()
    for element, left, right, height in page.locator(".bq-chat").evaluate(TARGETS):
        assert height >= 24, element  # WCAG 2.2: target size
        assert 0 <= left <= right <= 390, element


def test_code_on_a_phone_shows_its_button(server, pages):
    page = pages(**PHONE)
    fill(server, "code", f"```python\n{CODE}\n```")
    copy = open_room(page, server, "code").messages.get_by_role("button", name="Copy")
    opacities = (
        "one => { let all = 1; for (; one; one = one.parentElement) all *= getComputedStyle(one).opacity; return all }"
    )
    assert copy.evaluate(opacities) == 1


BUTTON_IS_IN_THE_FIRST_LINE = """chip => {
  const [name, button] = [chip.querySelector(".bq-chip-name"), chip.querySelector("button[aria-label='Remove a.pdf']")];
  return button.getBoundingClientRect().top < name.getBoundingClientRect().bottom;
}"""
FONT_SIZE = "one => parseFloat(getComputedStyle(one).fontSize)"


def test_nothing_is_taller_on_a_phone_than_its_lines(server, pages):
    page = pages(**PHONE)
    fill(server, "lines", "- [x] small")
    window = open_room(page, server, "lines")
    task = window.messages.filter(has_text="small").locator("li")
    assert task.bounding_box()["height"] < 2 * task.evaluate(FONT_SIZE)

    page.locator("input[type=file]").set_input_files(
        [{"name": "a.pdf", "mimeType": "application/pdf", "buffer": b"%PDF"}]
    )
    refused = page.get_by_role("list", name="Attachments of this message").get_by_role("listitem")
    refused.get_by_role("alert").wait_for()
    assert refused.evaluate(BUTTON_IS_IN_THE_FIRST_LINE)

    page.get_by_role("button", name="Share").tap()
    option = page.get_by_text("--ip=0.0.0.0", exact=True)
    assert option.bounding_box()["height"] < 2 * option.evaluate(FONT_SIZE)


# ---- people with the same name


def test_two_people_of_one_unverified_name_are_two(server, pages, monkeypatch):
    monkeypatch.setattr("bqserver.hub.dispatch.TYPING_TIMEOUT", 600.0)
    one, other = pages(), pages()
    window = open_room(one, server, "names")
    window.set_name("jovyan")
    one.get_by_text("Others may be called “jovyan” too").wait_for()
    window.say("mine")
    window.wait_for("mine")
    with member(server.url, "names") as kernel:
        for number in range(6):
            kernel.say("from another kernel\n\n" * 10, f"{number}.another", "jovyan")
            kernel.until("ack")
    window.messages.nth(6).wait_for()
    theirs = open_room(other, server, "names")
    theirs.set_name("jovyan")
    theirs.messages.last.hover()
    other.get_by_role("button", name="Reply").wait_for()
    expect(other.get_by_role("button", name="Edit")).to_have_count(0)
    other.mouse.wheel(0, -900)
    other.get_by_role("button", name="Jump to latest").wait_for()
    window.say("unread for the other")
    other.wait_for_function("() => document.title.startsWith('(1)')")
    one.reload()
    window.wait_connected()
    window.messages.filter(has_text="unread for the other").hover()
    one.get_by_role("button", name="Edit").wait_for()
    window.messages.nth(5).hover()
    one.get_by_role("button", name="Edit").wait_for(state="detached")
    other.get_by_role("textbox", name="Message").press_sequentially("I")
    one.get_by_text("jovyan is typing…").wait_for()
    one.get_by_role("button", name="2 here").click()
    one.get_by_role("list", name="People here").get_by_text("you", exact=True).wait_for()


# ---- title and language


def test_the_title_and_icon_show_the_unread_count(server, pages):
    page = pages()
    fill(server, "tab", *(f"message {number}\n\nmore" for number in range(40)))
    window = open_room(page, server, "tab")
    icon = "() => decodeURIComponent(document.querySelector('link[rel=icon]').href)"
    assert page.title() == "tab · bqwidget"
    assert "<svg" in page.evaluate(icon)
    assert "<circle" not in page.evaluate(icon)
    window.messages.last.hover()
    page.mouse.wheel(0, -900)
    page.get_by_role("button", name="Jump to latest").wait_for()
    fill(server, "tab", "news", "and more news")
    page.wait_for_function("() => document.title === '(2) tab · bqwidget'")
    assert "<circle" in page.evaluate(icon)
    page.get_by_role("button", name="Jump to latest").click()
    page.wait_for_function("() => document.title === 'tab · bqwidget'")
    assert "<circle" not in page.evaluate(icon)
    window.messages.filter(has_text="and more news").wait_for()
    page.get_by_text("New", exact=True).wait_for()  # the divider stays above what was unread


def test_the_page_uses_the_browser_s_language(server, pages):
    fill(server, "sprache", "hello")
    page = pages(locale="de-AT")
    page.goto(f"{server.url}/rooms/sprache")
    page.get_by_role("region", name="Chatraum sprache").wait_for()
    page.get_by_role("status").filter(has_text="Verbunden").wait_for()
    page.get_by_role("list", name="Nachrichten").get_by_text("Heute").wait_for()
    page.get_by_role("textbox", name="Nachricht", exact=True).fill("x" * 32_001)
    page.get_by_text("1 Zeichen zu viel: höchstens 32.000 sind erlaubt").wait_for()
    assert page.evaluate("document.documentElement.lang") == "de"
    other = pages(locale="fr-FR")
    open_room(other, server, "sprache")
    assert other.evaluate("document.documentElement.lang") == "en"


# ---- a full server


def test_a_full_server_is_shown_with_the_time_of_the_next_attempt(pages):
    with running_server(open=True, max_connections=1) as server, member(server.url, "lobby"):
        page = pages()
        page.goto(f"{server.url}/rooms/lobby")
        page.get_by_role("status").filter(has_text="The server is full · retrying in").wait_for()


# ---- code and long messages, in a worker

PLAIN, COLOURED = f"```\n{CODE}\n```", f"```python\n{CODE}\n```"
LONG = "\n".join(f"- *item {number}*" for number in range(300))
CODE_OF = "code => code.textContent"
HEIGHT = "block => block.getBoundingClientRect().height"


def test_a_worker_highlights_code_and_parses_long_messages(server, pages):
    page = pages()
    fill(server, "worker", PLAIN, COLOURED, LONG)
    open_room(page, server, "worker")
    blocks = page.locator(".bq-code pre")
    page.locator(".bq-code-keyword").get_by_text("def").wait_for()
    page.locator("em").get_by_text("item 299").wait_for(state="attached")
    assert len(page.workers) == 1
    assert page.workers[0].url.startswith("blob:")
    assert [blocks.nth(at).locator("code").evaluate(CODE_OF) for at in (0, 1)] == [CODE, CODE]
    assert blocks.nth(0).evaluate(HEIGHT) == blocks.nth(1).evaluate(HEIGHT)
    page.get_by_role("button", name="Show all").click()
    page.get_by_role("button", name="Show less").wait_for()


def test_without_a_worker_long_messages_are_parsed_on_the_main_thread(server, pages):
    """Without a worker, the page parses and highlights when idle; with our content policy it cannot highlight."""
    fill(server, "idle", COLOURED, LONG)
    for policy in (False, True):
        page = pages(bypass_csp=not policy)
        page.add_init_script("delete window.Worker")
        open_room(page, server, "idle")
        page.locator("em").get_by_text("item 299").wait_for(state="attached")
        assert page.locator("code").evaluate(CODE_OF) == CODE
        if not policy:
            page.locator(".bq-code-keyword").get_by_text("def").wait_for()


def test_with_reduced_motion_nothing_is_animated(pages):
    moving = []
    for motion in ("no-preference", "reduce"):
        with running_server(open=True) as ending:
            page = pages(reduced_motion=motion)
            open_room(page, ending, "still")
        page.get_by_role("status").filter(has_text="Offline").wait_for()  # its dot is animated
        moving.append(page.evaluate("document.getAnimations().length"))
    assert moving == [1, 0]


# ---- compression


def test_long_messages_are_compressed_in_both_directions(server, pages, monkeypatch):
    """Chromium negotiates permessage-deflate, shows compressed messages, and compresses its own."""
    saved_bytes, sent_compressed = [], []

    def recording_compress(frame: bytes) -> bytes:
        saved_bytes.append(len(frame) - len(compress(frame)))
        return compress(frame)

    def recording_decode(self, frame, decode=PerMessageDeflate.decode, **options):
        sent_compressed.append(frame.rsv1)
        return decode(self, frame, **options)

    monkeypatch.setattr("bqserver.hub.room.compress", recording_compress)
    monkeypatch.setattr(PerMessageDeflate, "decode", recording_decode)
    page = pages()
    responses = []
    tools = page.context.new_cdp_session(page)
    tools.on("Network.webSocketHandshakeResponseReceived", lambda event: responses.append(event["response"]))
    tools.send("Network.enable")
    window = open_room(page, server, "compressed")
    words = " ".join(f"word{number}" for number in range(500))
    fill(server, "compressed", "short", words, "the last")
    for text in ("short", words[-60:], "the last"):
        window.wait_for(text)
    assert "permessage-deflate" in responses[0]["headers"]["Sec-WebSocket-Extensions"]
    assert max(saved_bytes) > len(words) / 2
    with member(server.url, "compressed") as ada:
        ada.until("synced")
        window.set_name("bob")
        for text in (words, "and a short one"):
            window.say(text)
            assert ada.until("message")["entry"]["text"] == text
    assert sent_compressed.count(True) >= 2  # of any length


# ---- clocks

CLOCK = "const clock = Date.now; Date.now = () => clock() + {offset};"
"""A computer whose clock is wrong by ``offset`` milliseconds."""


@pytest.mark.parametrize("minutes", [10, -10], ids=["fast", "slow"])
def test_a_question_is_open_for_a_reader_whose_clock_is_wrong(server, pages, minutes):
    """It ends by the server's clock: open before, and closed after."""
    name = f"clock-{minutes}"
    with Room(name, user="ada", url=server.url) as ada, ThreadPoolExecutor(1) as thread:
        ada.wait_open(20)
        page = pages()
        page.add_init_script(CLOCK.format(offset=minutes * 60_000))
        window = open_room(page, server, name)
        window.set_name("eve")
        answer = thread.submit(ada.ask, "Continue?", choices=["yes", "no"], timeout=60)
        window.region.get_by_role("button", name="yes").click()
        assert answer.result() == "yes"
        with pytest.raises(WaitTimeout):
            ada.ask("Really?", choices=["yes"], timeout=0.5)
        really = window.messages.filter(has_text="Really?")
        really.get_by_text("Expired without an answer").wait_for()
