"""The side panel and the tabs of rooms in JupyterLab: without a cell and without a kernel."""

from __future__ import annotations

import json
import re

import pytest
from e2e.conftest import SLOW_TIMEOUT, expect
from support.eventually import eventually

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
MAX_OPEN_MS = 500
MEASURE = """
rows => {
  window.opened = new Promise(resolve => addEventListener("keydown", ({ timeStamp, key }) => {
    if (key !== "r") return;
    const look = () => {
      if (document.querySelectorAll(rows).length > 200) setTimeout(() => resolve(performance.now() - timeStamp));
      else requestAnimationFrame(look);
    };
    look();
  }, true));
}
"""
"""The time from the shortcut until more than 200 rows are painted, in ms."""


def wait_last_tabs(page, *labels: str) -> None:
    """Wait until these are the labels of the last tabs in the main area."""
    shown = page.locator("#jp-main-dock-panel .lm-TabBar-tabLabel")
    eventually(lambda: shown.all_inner_texts()[-len(labels) :] == [*labels], what=f"the tabs {labels}")


def test_rooms_open_as_tabs_that_a_reload_brings_back(panel):
    shown = panel("jupyterlab.labapp")
    page = shown.page
    for room in ("runs", "papers"):
        shown.post(room, f"hello in {room}")
    shown.goto("lab")
    page.get_by_role("button", name="Chat Rooms", exact=True).click()
    shown.rows.nth(2).wait_for(timeout=SLOW_TIMEOUT)
    assert shown.names() == ["lobby", "papers", "runs"]  # nothing is unread for a reader who is new

    shown.row("runs").click()
    runs = shown.room("runs")
    runs.get_by_text("hello in runs").wait_for()
    runs.get_by_role("textbox", name="Your name").fill("ada")
    message = runs.get_by_role("textbox", name="Message")
    message.fill("ada is here")
    message.press("Enter")
    eventually(lambda: "ada is here" in str(shown.server.ask("GET", "/bqserver/rooms/runs/messages").json))
    shown.row("papers").click()
    shown.room("papers").get_by_text("hello in papers").wait_for()
    wait_last_tabs(page, "runs", "papers")
    assert shown.server.ask("GET", "/api/kernels").json == []
    assert page.locator("iframe").count() == 0

    # JupyterLab saves the layout a moment after a change.
    eventually(lambda: saved_rooms(shown.server) == {"runs", "papers"}, what="the saved layout")
    page.reload()
    shown.wait_active()
    shown.room("papers").get_by_text("hello in papers").wait_for()
    wait_last_tabs(page, "runs", "papers")
    shown.rows.first.wait_for(timeout=SLOW_TIMEOUT)  # the panel is open again, too
    page.get_by_role("tab", name="runs").click()
    shown.room("runs").get_by_text("ada is here").wait_for()


def saved_rooms(server) -> set[str]:
    answer = server.ask("GET", "/lab/api/workspaces/default").json
    layout = json.dumps(answer.get("data", {}).get("layout-restorer:data", {}))
    return set(re.findall(r"bqwidget-room:(\w+)", layout))


def test_unread_messages_and_mentions_are_counted_until_they_are_read(panel):
    shown = panel("jupyterlab.labapp")
    page = shown.page
    shown.post("runs", "before ada came")
    page.add_init_script("localStorage.setItem('bqwidget:name:', 'ada')")
    shown.goto("lab")
    shown.show()
    tab = page.locator(".jp-SideBar .bq-unread-tab")
    assert shown.names() == ["lobby", "runs"]
    assert tab.count() == 0
    for text in ("one", "@ada two", "@adam three"):
        shown.post("runs", text)
    eventually(lambda: shown.names()[0] == "runs, 1 mentions you, 3 unread", 60, "the counts")
    expect(tab).to_have_count(1)
    page.mouse.move(700, 700)

    shown.row("runs").click()
    shown.room("runs").get_by_text("@adam three").wait_for()
    eventually(lambda: not [name for name in shown.names() if "unread" in name], 60, "nothing unread")
    expect(tab).to_have_count(0)
    shown.row("lobby").click()  # hides the tab of runs
    shown.room("lobby")
    shown.post("runs", "four")
    page.get_by_role("tab", name="runs (1)").wait_for(timeout=SLOW_TIMEOUT)
    eventually(lambda: saved_rooms(shown.server) == {"runs", "lobby"}, what="the saved layout")
    page.reload()
    shown.wait_active()
    page.get_by_role("tab", name="runs (1)").click(timeout=SLOW_TIMEOUT)
    page.get_by_role("tab", name="runs", exact=True).wait_for(timeout=SLOW_TIMEOUT)


def test_the_keyboard_finds_a_room_starts_a_new_one_and_hides_the_panel(panel):
    shown = panel("jupyterlab.labapp")
    page = shown.page
    for number in range(3):
        shown.post(f"room-{number}", "hello")
    shown.goto("lab")
    shown.show()
    page.wait_for_function("() => document.activeElement.type === 'search'")
    page.keyboard.type("room")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    shown.room("room-1")

    page.keyboard.press("ControlOrMeta+Alt+r")  # to the panel, from a room's message
    page.wait_for_function("() => document.activeElement.type === 'search'")
    page.keyboard.type("a new room")
    shown.region.get_by_text("No such room").wait_for()
    shown.find.fill("brand-new")
    page.keyboard.press("Enter")
    shown.room("brand-new")

    page.keyboard.press("ControlOrMeta+Alt+r")
    page.wait_for_function("() => document.activeElement.type === 'search'")
    page.keyboard.press("ControlOrMeta+Alt+r")
    shown.region.wait_for(state="hidden")


def test_a_room_opens_in_the_panel_and_becomes_a_tab(panel, axe):
    shown = panel("jupyterlab.labapp")
    page = shown.page
    shown.post("runs", "hello in runs")
    shown.goto("lab")
    shown.show()
    assert axe(page, "#bqwidget-rooms") == []
    shown.row("runs").hover()
    shown.region.get_by_role("button", name="Open in this panel: runs").click()
    window = shown.room("runs")
    page.wait_for_function("() => document.activeElement.ariaLabel === 'Message'")
    assert axe(page, "#bqwidget-rooms") == []
    assert window.locator("xpath=ancestor::*[@id='bqwidget-rooms']").count() == 1
    page.get_by_role("button", name="Open as a tab").click()
    wait_last_tabs(page, "runs")
    shown.room("runs")
    shown.rows.first.wait_for()
    page.get_by_role("tab", name="runs").locator(".lm-TabBar-tabCloseIcon").click()
    page.get_by_role("region", name="Chat room runs").wait_for(state="detached")
    members = lambda: {room["name"]: room["members"] for room in shown.server.ask("GET", "/bqserver/rooms").json}  # noqa: E731
    eventually(lambda: members()["runs"] == 0, what="the end of its connection")


@pytest.mark.alone
def test_200_rooms_are_shown_and_a_server_that_is_gone_is_named(panel):
    shown = panel("jupyterlab.labapp")
    for number in range(200):
        shown.post(f"room-{number:03}", "hello")
    shown.goto("lab")
    shown.page.evaluate(MEASURE, "#bqwidget-rooms li")
    shown.show()
    expect(shown.rows).to_have_count(201)  # with the lobby
    taken = shown.page.evaluate("opened")
    print(f"200 rooms in {taken:.0f} ms")
    assert taken < MAX_OPEN_MS
    shown.server.process.terminate()
    shown.region.get_by_role("status").filter(has_text="cannot be reached").wait_for(timeout=SLOW_TIMEOUT)
    assert shown.rows.count() == 201


def test_the_side_is_a_setting(panel, home):
    folder = home / "lab-settings" / "bqwidget"
    folder.mkdir(parents=True)
    (folder / "plugin.jupyterlab-settings").write_text(json.dumps({"side": "right"}))
    shown = panel("jupyterlab.labapp")
    shown.goto("lab")
    shown.page.locator('.jp-SideBar.jp-mod-right [title^="Chat rooms"]').click(timeout=SLOW_TIMEOUT)
    shown.rows.first.wait_for(timeout=SLOW_TIMEOUT)


def test_without_the_servers_side_there_is_no_panel(panel, home):
    disabled = home / "jupyter-config"
    disabled.mkdir(exist_ok=True)
    (disabled / "jupyter_server_config.json").write_text(
        json.dumps({"ServerApp": {"jpserver_extensions": {"bqserver.extension": False}}})
    )
    shown = panel("jupyterlab.labapp")
    failures: list[str] = []
    shown.page.on("console", lambda entry: failures.append(entry.text) if entry.type == "error" else None)
    shown.page.goto(f"{shown.server.origin}{shown.server.base}/lab?token={shown.server.token}")
    shown.page.locator(".jp-LauncherCard").first.wait_for(timeout=SLOW_TIMEOUT)
    assert shown.page.get_by_role("button", name="Chat Rooms", exact=True).count() == 0
    assert shown.page.locator("#bqwidget-rooms").count() == 0
    assert [failure for failure in failures if "bqwidget" in failure] == []
