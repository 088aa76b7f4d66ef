"""From "Share" to a colleague's first message: how a link of each window lets people in, and how they are asked for a name."""

from __future__ import annotations

import time
from urllib.parse import urlsplit

import pytest
from bqserver.testing import running_server
from e2e.conftest import Window, copy
from support.ws_client import request

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
COUNT_CLICKS = (
    "window.clicks = 0; addEventListener('click', ({ isTrusted, detail }) => isTrusted && detail && clicks++, true)"
)
MAX_CLICKS, MAX_SECONDS = 2, 10


@pytest.fixture
def request_panel(request, monkeypatch):
    """``request_panel(NAME=VALUE, ...)``: a panel whose Jupyter has these variables."""

    def start(**variables: str):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return request.getfixturevalue("panel")("jupyterlab.labapp", permissions=["clipboard-read", "clipboard-write"])

    return start


def chat(page, name: str = "lobby") -> Window:
    return Window(page.get_by_role("region", name=f"Chat room {name}", exact=True))


@pytest.mark.alone
def test_a_colleague_writes_after_two_clicks_within_ten_seconds(jupyter, pages):
    lab = jupyter()
    page, colleague = pages(permissions=["clipboard-read", "clipboard-write"]), pages()
    notebook = lab.open(page, lab.notebook("share.ipynb", "from bqwidget import Room\nRoom('lobby', user='ada')"))
    notebook.run(0)
    window = notebook.room()
    window.wait_connected()
    page.evaluate(COUNT_CLICKS)
    colleague.add_init_script(COUNT_CLICKS)

    started = time.monotonic()
    window.region.get_by_role("button", name="Share").click()
    copy(window.region.get_by_role("button", name="Copy invite link"))
    link = page.evaluate("navigator.clipboard.readText()")
    colleague.goto(link)
    colleague.wait_for_function("() => document.activeElement.ariaLabel === 'Your name'")
    colleague.keyboard.type("bob")
    colleague.keyboard.press("Enter")
    colleague.wait_for_function("() => document.activeElement.ariaLabel === 'Message'")
    window.region.get_by_role("button", name="2 here").wait_for()  # before bob has written
    assert colleague.evaluate("document.activeElement.value") == ""
    colleague.keyboard.type("I am in")
    colleague.keyboard.press("Enter")
    window.wait_for("I am in")
    taken = time.monotonic() - started
    clicks = page.evaluate("clicks") + colleague.evaluate("clicks")
    print(f"{clicks} clicks, {taken:.1f} s")
    assert clicks <= MAX_CLICKS
    assert taken < MAX_SECONDS


def test_the_dialog_of_a_kernel_s_window_makes_invites_of_the_chosen_size(jupyter, pages, axe):
    lab = jupyter()
    page = pages(permissions=["clipboard-read", "clipboard-write"])
    notebook = lab.open(page, lab.notebook("share.ipynb", "from bqwidget import Room\nRoom('lobby', user='ada')"))
    notebook.run(0)
    region = notebook.room().region
    notebook.room().wait_connected()
    region.get_by_role("button", name="Share").click()
    region.get_by_role("spinbutton", name="People").fill("2")
    region.get_by_role("combobox", name="Valid for").select_option("1 day")
    region.get_by_text("works on this machine only").wait_for()
    assert axe(page, ".bq-chat") == []
    copy(region.get_by_role("button", name="Copy invite link"))
    link = page.evaluate("navigator.clipboard.readText()")
    parts = urlsplit(link)
    base = f"{parts.scheme}://{parts.netloc}"
    code = parts.fragment.removeprefix("invite=")
    redeemed = [request(base, "POST", "/session", {"invite": code}, Origin=base).status for _ in range(3)]
    assert redeemed == [204, 204, 403]


def test_in_jupyter_the_link_is_the_address_of_those_who_may_log_in(panel, pages):
    shown = panel("jupyterlab.labapp", permissions=["clipboard-read", "clipboard-write"])
    page = shown.page
    shown.goto("lab")
    shown.show()
    shown.row("lobby").click()
    window = shown.room("lobby")
    window.get_by_role("button", name="Share").click()
    window.get_by_text("For people who may use team’s server").wait_for()  # the server's path is one of a JupyterHub
    assert window.get_by_role("button", name="Copy invite link").count() == 0
    copy(window.get_by_role("button", name="Copy link"))
    link = page.evaluate("navigator.clipboard.readText()")
    assert link == f"{shown.server.origin}{shown.server.base}/bqserver/rooms/lobby"
    recipient = pages()
    recipient.goto(f"{link}?token={shown.server.token}")
    chat(recipient).wait_connected()


def test_a_panel_with_the_rooms_of_a_server_elsewhere_leads_there(request_panel, pages):
    with running_server() as other:
        shown = request_panel(BQWIDGET_URL=other.url, BQWIDGET_TOKEN=other.token)
        shown.goto("lab")
        shown.show()
        shown.row("lobby").click()
        window = shown.room("lobby")
        window.get_by_role("button", name="Share").click()
        copy(window.get_by_role("button", name="Copy link"))
        assert shown.page.evaluate("navigator.clipboard.readText()") == f"{other.url}/rooms/lobby"
        copy(window.get_by_role("button", name="Copy invite link"))
        guest = pages()
        guest.goto(shown.page.evaluate("navigator.clipboard.readText()"))
        chat(guest).wait_connected()


def test_a_guest_s_page_says_for_whom_its_link_is(pages):
    page = pages()
    with running_server() as server:
        invite = request(server.url, "POST", "/invites", {}, Authorization=f"Bearer {server.token}").json["code"]
        page.goto(f"{server.url}/rooms/lobby#invite={invite}")
        chat(page).wait_connected()
        page.get_by_role("button", name="Share").click()
        page.get_by_text("For people who are in already").filter(has_text="ask the person who invited you").wait_for()
        page.get_by_text("works on this machine only").wait_for()
        assert page.get_by_role("button", name="Copy invite link").count() == 0
