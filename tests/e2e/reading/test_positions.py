"""Read positions in windows: those of one verified member follow each other; others keep theirs in the browser."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from bqserver.auth.tokens import add_grant
from bqserver.testing import RunningServer, running_server
from e2e.conftest import Window, expect
from support.eventually import eventually
from support.ws_client import request

from bqwidget import Room

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

MAX_SECONDS = 1.0


@pytest.fixture
def tokens(tmp_path: Path) -> dict[str, str]:
    return {name: add_grant(tmp_path / "tokens.json", name)[0] for name in ("ada", "bob")}


@pytest.fixture
def server(tmp_path: Path, tokens: dict[str, str]) -> Iterator[RunningServer]:
    with running_server(named_tokens=str(tmp_path / "tokens.json")) as running:
        yield running


def shown(page: Page, address: str) -> Window:
    page.goto(address)
    window = Window(page.get_by_role("region", name="Chat room lobby"))
    window.wait_connected()
    return window


def link(server: RunningServer, token: str) -> str:
    """A link that opens the page under the name of the token."""
    headers = {"Authorization": f"Bearer {token}"}
    code = request(server.url, "POST", "/invites", {"myself": True}, **headers).json["code"]
    return f"{server.url}/rooms/lobby#invite={code}"


def read_by_ada(server: RunningServer, token: str) -> int:
    rooms = request(server.url, "GET", "/rooms", Authorization=f"Bearer {token}").json
    return next((room["unread"] for room in rooms if room["name"] == "lobby"), 0)


@pytest.mark.alone
def test_the_devices_and_the_kernel_of_a_verified_member_follow_each_other(
    server: RunningServer, tokens: dict[str, str], pages: Callable[..., Page]
) -> None:
    with (
        Room("lobby", user="bob", url=server.url, token=tokens["bob"]) as bob,
        Room("lobby", user="ada", url=server.url, token=tokens["ada"]) as kernel,
    ):
        for number in range(30):
            bob.send(f"message {number}\nwith a second line")
        desk, phone = pages(), pages(viewport={"width": 390, "height": 700})
        for page in (desk, phone):
            shown(page, link(server, tokens["ada"]))
        eventually(lambda: read_by_ada(server, tokens["ada"]) == 0)
        for page in (desk, phone):  # both read further up
            page.locator(".bq-scroll").evaluate("list => { list.scrollTop = list.scrollHeight / 3 }")
            page.get_by_role("button", name="Jump to latest").wait_for()
        bob.send("while ada reads further up")
        for page in (desk, phone):
            page.locator(".bq-count", has_text="1").wait_for()
        assert read_by_ada(server, tokens["ada"]) == 1
        eventually(lambda: kernel.unread == 1)
        desk.get_by_role("button", name="Jump to latest").click()
        started = time.monotonic()
        phone.locator(".bq-count").wait_for(state="detached")
        seconds = time.monotonic() - started
        print(f"read at the desk, known on the phone after {seconds * 1000:.0f} ms")
        assert seconds < MAX_SECONDS
        eventually(lambda: kernel.unread == 0)
        assert read_by_ada(server, tokens["ada"]) == 0

        for page in (desk, phone):
            page.locator(".bq-scroll").evaluate("list => { list.scrollTop = list.scrollHeight / 3 }")
            page.get_by_role("button", name="Jump to latest").wait_for()
        bob.send("for the kernel")
        for page in (desk, phone):
            page.locator(".bq-count", has_text="1").wait_for()
        eventually(lambda: kernel.unread == 1)
        started = time.monotonic()
        kernel.mark_read()
        for page in (desk, phone):
            page.locator(".bq-count").wait_for(state="detached")
        seconds = time.monotonic() - started
        print(f"read in Python, known on both devices after {seconds * 1000:.0f} ms")
        assert seconds < MAX_SECONDS

        for page in (desk, phone):
            page.goto("about:blank")
        bob.send("in the night")
        bob.send("in the morning")
        later = pages()
        window = shown(later, link(server, tokens["ada"]))
        divided = window.messages.filter(has=later.locator(".bq-unread"))
        divided.filter(has_text="in the night").wait_for()
        expect(divided).to_have_count(1)
        eventually(lambda: read_by_ada(server, tokens["ada"]) == 0)


def test_a_browser_keeps_the_position_of_an_unverified_member(pages: Callable[..., Page]) -> None:
    with running_server(open=True) as server:
        address = f"{server.url}/rooms/lobby"
        with Room("lobby", user="bob", url=server.url) as bob:
            bob.send("one")
            page = pages()
            shown(page, address)
            eventually(lambda: page.evaluate("localStorage.getItem('bqwidget:read:lobby')"))
            page.goto("about:blank")
            bob.send("two")
            window = shown(page, address)
            divided = window.messages.filter(has=page.locator(".bq-unread"))
            divided.filter(has_text="two").wait_for()
            expect(divided).to_have_count(1)
