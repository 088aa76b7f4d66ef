"""Pictures and tables in the view: chosen, pasted, dropped, shown; on the page, in JupyterLab, inside Jupyter."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pandas as pd
import pytest
from bqserver.testing import running_server
from e2e.conftest import SLOW_TIMEOUT, Window, expect
from support.dom_monitor import DomMonitor
from support.jupyter_server import jupyter_server
from support.pictures import GIF, SCRIPTED_SVG, SVG, png

from bqwidget import Room

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
NATURAL_SIZE = "image => image.decode().then(() => [image.naturalWidth, image.naturalHeight])"

DISPATCH = """
(target, [kind, files, text]) => {
  const data = new DataTransfer();
  for (const [name, type, bytes] of files) {
    data.items.add(new File([Uint8Array.from(atob(bytes), (each) => each.charCodeAt(0))], name, { type }));
  }
  if (text !== null) data.setData("text/plain", text);
  const more = { bubbles: true, cancelable: true, composed: true };
  const event = kind === "paste"
    ? new ClipboardEvent(kind, { clipboardData: data, ...more })
    : new DragEvent(kind, { dataTransfer: data, ...more });
  return !target.dispatchEvent(event);
}
"""
"""Dispatches the event of a paste or drop; returns true if the window prevented its default action."""


@pytest.fixture(scope="module")
def server() -> Iterator:
    with running_server(open=True, part_limit=2_000_000) as running:
        yield running


@pytest.fixture
def bob(server, request: pytest.FixtureRequest) -> Iterator[Room]:
    """Another member of the test's own room."""
    name = re.sub(r"\W", "-", request.node.name)[:60]
    with Room(name, user="bob", url=server.url) as room:
        yield room.wait_open(20)


def enter(page: Page, room: Room) -> Window:
    page.goto(room.url)
    window = Window(page.get_by_role("region", name=f"Chat room {room.name}"))
    window.wait_connected()
    window.set_name("ada")
    return window


def file(name: str, data: bytes, mime: str = "image/png") -> dict[str, object]:
    return {"name": name, "mimeType": mime, "buffer": data}


def choose(window: Window, *files: dict[str, object]) -> None:
    with window.region.page.expect_file_chooser() as chooser:
        window.region.get_by_role("button", name="Attach pictures").click()
    chooser.value.set_files(list(files))


def dispatch(target: Locator, kind: str, *files: tuple[str, str, bytes], text: str | None = None) -> bool:
    encoded = [[name, mime, base64.b64encode(data).decode()] for name, mime, data in files]
    return target.evaluate(DISPATCH, [kind, encoded, text])


def box(window: Window) -> Locator:
    return window.region.get_by_role("textbox", name="Message", exact=True)


def chips(window: Window) -> Locator:
    return window.region.get_by_role("list", name="Attachments of this message").get_by_role("listitem")


def wait_uploaded(window: Window, count: int) -> None:
    """Wait until ``count`` attachments are listed and no upload is in progress."""
    chips(window).nth(count - 1).wait_for()
    window.region.locator("progress").first.wait_for(state="detached", timeout=SLOW_TIMEOUT)
    expect(chips(window)).to_have_count(count)


def picture(window: Window, name: str) -> Locator:
    shown = window.region.get_by_role("list", name="Messages").get_by_role("img", name=name, exact=True)
    shown.first.wait_for(timeout=SLOW_TIMEOUT)
    return shown.first


# ---- on the page


def test_chosen_files_are_sent_with_a_caption_and_shown_to_all_members(server, pages, bob):
    mine, yours = enter(pages(), bob), enter(pages(), bob)
    choose(mine, file("loss.png", png(30, 20)), file("graph.svg", SVG, "image/svg+xml"))
    wait_uploaded(mine, 2)
    assert mine.messages.count() == 0
    mine.say("look")
    got = bob.wait_for(lambda message: message.user == "ada", timeout=20, after=0)
    assert [(part.name, part.mime, part.width) for part in got.parts] == [
        ("loss.png", "image/png", 30),
        ("graph.svg", "image/svg+xml", 120),
    ]
    for window in (mine, yours):
        assert picture(window, "loss.png").evaluate(NATURAL_SIZE) == [30, 20]
        assert picture(window, "loss.png").get_attribute("src").startswith("blob:")
        # 300 × 150 is the browsers' default size.
        assert picture(window, "graph.svg").evaluate(NATURAL_SIZE) == [300, 150]
        assert picture(window, "graph.svg").get_attribute("src").startswith("data:image/svg+xml;base64,")
    expect(chips(mine)).to_have_count(0)


def test_a_picture_without_text_can_be_sent_as_a_reply(server, pages, bob):
    window = enter(pages(), bob)
    asked = bob.send("show me")
    choose(window, file("loss.png", png()))
    wait_uploaded(window, 1)
    window.wait_for("show me")
    window.messages.first.hover()
    window.region.get_by_role("button", name="Reply").click()
    box(window).press("Enter")
    got = bob.wait_for(lambda message: message.user == "ada", timeout=20, after=0)
    assert (got.text, got.re, len(got.parts)) == ("", asked.seq, 1)


@pytest.mark.parametrize("kind", ["paste", "drop"])
def test_pasted_and_dropped_files_are_uploaded_and_their_events_do_not_reach_the_page(server, pages, bob, kind):
    page = pages()
    window = enter(page, bob)
    page.evaluate(
        "kinds => { window.leaked = []; for (const kind of kinds)"
        " document.addEventListener(kind, (event) => leaked.push(event.type)); }",
        ["paste", "drop", "dragover"],
    )
    target = box(window) if kind == "paste" else window.region.get_by_role("list", name="Messages")
    if kind == "drop":
        assert dispatch(target, "dragover", ("x.png", "image/png", b""))
        assert "bq-dropping" in window.region.get_attribute("class")
    assert dispatch(target, kind, ("a.png", "image/png", png()), ("b.gif", "image/gif", GIF))
    wait_uploaded(window, 2)
    assert "bq-dropping" not in window.region.get_attribute("class")
    assert page.evaluate("leaked") == []
    box(window).press("Enter")
    got = bob.wait_for(lambda message: message.user == "ada", timeout=20, after=0)
    assert [part.name for part in got.parts] == ["a.png", "b.gif"]


def test_pasted_text_is_inserted_as_text_even_with_a_picture_of_it(server, pages, bob):
    window = enter(pages(), bob)
    cells = ("cells.png", "image/png", png())
    assert not dispatch(box(window), "paste", cells, text="1\t2")
    assert not dispatch(box(window), "paste", text="only text")
    assert chips(window).count() == 0


def test_a_rejected_file_shows_its_reason_and_does_not_block_the_text(server, pages, bob):
    window = enter(pages(), bob)
    box(window).fill("my draft")
    choose(
        window,
        file("paper.pdf", b"%PDF", "application/pdf"),
        file("huge.png", png(noise=2_000_001)),
        file("empty.png", b""),
        file("page.png", b"<script>ran(1)</script>"),
        file("good.png", png()),
    )
    reasons = {
        "paper.pdf": "Only PNG, JPEG, GIF, WebP and SVG pictures",
        "huge.png": "This file has 2 MB: the limit is 2 MB",
        "empty.png": "This file is empty",
        "page.png": "This file is not a PNG picture",
    }
    for name, reason in reasons.items():
        chips(window).filter(has_text=name).get_by_role("alert").filter(has_text=reason).wait_for()
    chips(window).filter(has_text="page.png").locator("img").wait_for(state="detached")
    window.region.get_by_role("button", name="Remove paper.pdf").click()
    wait_uploaded(window, len(reasons))
    box(window).press("Enter")
    got = bob.wait_for(lambda message: message.user == "ada", timeout=20, after=0)
    assert (got.text, [part.name for part in got.parts]) == ("my draft", ["good.png"])
    chips(window).first.wait_for(state="detached")


def test_a_failed_upload_can_be_retried_and_a_running_one_removed(server, pages, bob):
    page = pages()
    window = enter(page, bob)
    page.route("**/parts", lambda route: route.abort())
    choose(window, file("a.png", png()))
    chips(window).get_by_role("alert").filter(has_text="cannot be reached").wait_for()
    page.unroute("**/parts")
    box(window).fill("text")
    box(window).press("Enter")
    window.region.get_by_role("alert").filter(has_text="Remove failed attachments").wait_for()
    held: list[object] = []
    page.route("**/parts", lambda route: held.append(route))  # noqa: PLW0108 - Playwright inspects the signature
    window.region.get_by_role("button", name="Retry").click()
    chips(window).get_by_role("progressbar", name="Uploading a.png").wait_for()
    box(window).fill("text")
    box(window).press("Enter")
    window.region.get_by_role("alert").filter(has_text="Wait until").wait_for()
    window.region.get_by_role("button", name="Remove a.png").click()
    page.unroute("**/parts")
    box(window).press("Enter")
    got = bob.wait_for(lambda message: message.user == "ada", timeout=20, after=0)
    assert (got.text, got.parts) == ("text", ())


def test_the_attachments_of_a_draft_survive_a_reload(server, pages, bob):
    page = pages()
    window = enter(page, bob)
    choose(window, file("a.png", png()))
    wait_uploaded(window, 1)
    box(window).fill("draft")
    page.reload()
    window.wait_connected()
    wait_uploaded(window, 1)
    box(window).press("Enter")
    got = bob.wait_for(lambda message: message.user == "ada", timeout=20, after=0)
    assert (got.text, [part.name for part in got.parts]) == ("draft", ["a.png"])


def test_attachments_work_by_keyboard_alone(server, pages, bob):
    page = pages()
    page.on("filechooser", lambda _: None)  # intercept in advance: a key press is faster than enabling it
    bob.send(png(300, 200), name="loss.png")
    window = enter(page, bob)
    picture(window, "loss.png")
    box(window).focus()
    page.keyboard.press("Shift+Tab")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files([file("a.png", png())])
    wait_uploaded(window, 1)
    window.region.get_by_role("button", name="Remove a.png").focus()
    page.keyboard.press("Enter")
    chips(window).wait_for(state="detached")
    window.region.get_by_role("button", name="Enlarge loss.png").focus()
    page.keyboard.press("Enter")
    large = page.get_by_role("dialog", name="loss.png")
    large.get_by_role("img").wait_for()
    page.keyboard.press("Escape")
    large.wait_for(state="detached")


def test_a_loading_picture_does_not_shift_the_layout_and_a_distant_one_is_not_fetched(server, pages, bob):
    page = pages()
    early, late = bob.send(png(1, 2, noise=9), name="early.png"), None
    for number in range(60):
        bob.send(f"line {number}")
    late = bob.send(png(640, 480), "a caption", name="late.png")
    requested: list[str] = []
    held: list[object] = []

    def hold(route) -> None:
        requested.append(route.request.url.rpartition("/")[2])
        held.append(route)

    page.route("**/parts/*", hold)
    window = enter(page, bob)
    last = window.messages.last
    last.get_by_text("Loading late.png").wait_for(state="attached")
    while not held:
        page.wait_for_timeout(10)
    before = last.bounding_box()
    assert before["height"] > 300
    held.pop().continue_()
    picture(window, "late.png").evaluate(NATURAL_SIZE)
    assert last.bounding_box() == before
    assert requested == [late.parts[0].sha256]
    assert early.parts[0].sha256 not in requested


def test_a_picture_that_fails_to_load_shows_the_error_and_can_be_retried(server, pages, bob):
    page = pages()
    bob.send(png(), name="loss.png")
    page.route(
        "**/parts/*",
        lambda route: route.fulfill(status=503, json={"error": {"code": "x", "message": "no disk"}}),
    )
    window = enter(page, bob)
    window.region.get_by_text("no disk").wait_for()
    page.unroute("**/parts/*")
    window.messages.get_by_role("button", name="Retry").click()
    assert picture(window, "loss.png").evaluate(NATURAL_SIZE) == [8, 4]


def test_a_table_has_semantic_cells_and_scrolls_inside_its_box(server, pages, bob):
    page = pages()
    page.set_viewport_size({"width": 400, "height": 800})
    frame = pd.DataFrame({f"column {number}": range(10_000) for number in range(30)} | {"html": "<b>x</b>"})
    bob.send(frame, name="scores")
    window = enter(page, bob)
    table = window.messages.get_by_role("table")
    table.wait_for()
    expect(table.get_by_role("columnheader")).to_have_count(20)
    expect(table.get_by_role("row")).to_have_count(51)
    window.messages.get_by_text("50 of 10,000 rows · 20 of 31 columns").wait_for()
    around = window.messages.get_by_role("group", name="scores")
    assert around.evaluate("box => box.scrollWidth > box.clientWidth && box.scrollHeight > box.clientHeight")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    bob.send(frame[["html"]].head(1))
    window.messages.last.get_by_role("cell", name="<b>x</b>").wait_for()


def test_scripts_in_a_picture_do_not_run(server, pages, bob):
    page = pages()
    monitor = DomMonitor(page, server.url)
    window = enter(page, bob)
    bob.send(SCRIPTED_SVG, name="<img src=x onerror=ran(1)>")
    assert picture(window, "<img src=x onerror=ran(1)>").evaluate(NATURAL_SIZE) == [40, 20]
    window.region.get_by_role("button", name="Enlarge").click()
    page.get_by_role("dialog").wait_for()
    assert monitor.report() == []


def test_a_picture_opened_as_a_page_has_no_origin_and_runs_no_script(server, pages, bob):
    """The attachment's URL opened as a page, without the header that makes it a download."""
    part = bob.send(SCRIPTED_SVG).parts[0]
    page = pages()
    page.add_init_script("window.executed = []; window.ran = (number) => executed.push(number)")

    def shown(route) -> None:
        answer = route.fetch()
        headers = {name: value for name, value in answer.headers.items() if name != "content-disposition"}
        route.fulfill(response=answer, headers=headers)

    page.route("**/parts/*", shown)
    failed: dict[str, str | None] = {}
    page.on("requestfailed", lambda request: failed.update({request.url: request.failure}))
    with page.expect_event("requestfailed", lambda request: request.url.endswith("/1.png")):
        page.goto(f"{server.url}/rooms/{bob.name}/parts/{part.sha256}")
    assert page.evaluate("[document.documentElement.localName, origin, executed]") == ["svg", "null", []]
    assert failed["http://evil.example/1.png"] == "csp"
    assert set(failed.values()) == {"csp"}  # no request has left the browser


# ---- in a notebook, over the comm

CELL = """
from bqwidget import Room
room = Room("comm", user="kernel", url={url!r}, token={token!r})
room.wait_open(20)
room
"""


def test_in_a_notebook_attachments_go_through_the_kernel(pages, jupyter):
    """The browser neither connects to the server nor has its token."""
    with running_server() as far, Room("comm", user="bob", url=far.url, token=far.token) as bob:
        lab, page = jupyter(), pages()
        seen: list[str] = []
        page.on("request", lambda request: seen.append(urlsplit(request.url).netloc))
        cells = (
            CELL.format(url=far.url, token=far.token),
            f"room.send(bytes.fromhex({png(30, 20).hex()!r}), name='p.png')",
        )
        notebook = lab.open(page, lab.notebook("attach.ipynb", *cells))
        notebook.run(0)
        window = notebook.room("comm")
        window.wait_connected()
        window.set_name("ada")
        notebook.run(1)
        assert picture(window, "p.png").evaluate(NATURAL_SIZE) == [30, 20]
        count = page.locator(".jp-Notebook .jp-Cell").count()
        big = png(30, 21, noise=1_300_000)
        choose(window, file("big.png", big))
        wait_uploaded(window, 1)
        assert dispatch(box(window), "paste", ("pasted.png", "image/png", png(5, 5)))
        wait_uploaded(window, 2)
        window.say("from the notebook")
        got = bob.wait_for(lambda message: message.user == "ada", timeout=30, after=0)
        assert [part.name for part in got.parts] == ["big.png", "pasted.png"]
        assert bob.part(got.parts[0]) == big
        bob.send(png(640, 480, (30, 90, 200), noise=900_000), "back", name="back.png")
        assert picture(window, "back.png").evaluate(NATURAL_SIZE) == [640, 480]
        choose(window, file("page.png", b"<script>"))
        chips(window).get_by_role("alert").filter(has_text="This file is not a PNG picture").wait_for()
        assert page.locator(".jp-Notebook .jp-Cell").count() == count
        assert urlsplit(far.url).netloc not in seen


# ---- inside Jupyter Server


def test_the_page_inside_jupyter_sends_the_xsrf_token_with_an_upload(pages, home, home_environ):
    """Jupyter's cookie alone allows no upload: the page's script adds the token that other sites can't read."""
    with jupyter_server(home, home_environ, base="/deep/base/") as jupyter:
        page = pages()
        uploads: list[object] = []
        page.on("request", lambda request: request.url.endswith("/parts") and uploads.append(request))
        page.goto(f"{jupyter.origin}{jupyter.rooms}/rooms/lobby?token={jupyter.token}")
        window = Window(page.get_by_role("region", name="Chat room lobby"))
        window.wait_connected()
        window.set_name("ada")
        choose(window, file("loss.png", png(30, 20)))
        wait_uploaded(window, 1)
        window.say("look")
        assert picture(window, "loss.png").evaluate(NATURAL_SIZE) == [30, 20]
        headers = uploads[-1].all_headers()
        assert headers["x-xsrftoken"]
        without = {name: headers[name] for name in ("cookie", "origin", "content-type")}
        sent = {name.title().replace("-", "_"): value for name, value in without.items()}
        path = f"{jupyter.rooms.removeprefix(jupyter.base)}/rooms/lobby/parts"
        assert jupyter.ask("POST", path, png(), **sent).code == "bad_xsrf"
