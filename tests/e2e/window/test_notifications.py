"""Notifications: nothing is asked before the reader turns them on, and only what they want is shown, in a hidden tab."""

from __future__ import annotations

import pytest
from bqserver.testing import running_server
from support.ws_client import member

pytestmark = pytest.mark.browser

BROWSER = """
window.asked = 0; window.shown = []; window.permission = "granted"; window.hidden = false;
window.Notification = class {
  constructor(title, { body, tag }) { window.last = this; window.shown.push([title, body, tag]); }
  static requestPermission() { window.asked += 1; return Promise.resolve(window.permission); }
};
Object.defineProperty(document, "visibilityState", { get: () => (window.hidden ? "hidden" : "visible") });
"""
"""A headless browser shows none: this records what the page asks of it."""


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 330)])
def test_only_what_the_reader_wants_is_notified_and_only_while_hidden(pages, axe, scheme, width):
    page = pages(color_scheme=scheme, viewport={"width": width, "height": 700})
    page.add_init_script(BROWSER)
    with running_server(open=True) as server, member(server.url, "lab") as bob:

        def hear(text: str, **more: object) -> None:
            bob.say(text, text[:60], "bob", **more)
            page.get_by_role("list", name="Messages").locator("[data-seq]").filter(has_text=text).wait_for()
            page.locator("[aria-live]").filter(has_text=text).wait_for(state="attached")

        page.goto(f"{server.url}/rooms/lab")
        page.get_by_role("textbox", name="Your name").fill("me")
        page.get_by_role("status").filter(has_text="Connected").wait_for()
        page.evaluate("window.hidden = true")
        hear("@me off")
        assert page.evaluate("[window.asked, window.shown]") == [0, []]

        page.evaluate("window.permission = 'denied'")
        page.get_by_role("button", name="Notifications").click()
        page.get_by_role("radio", name="All messages").click()
        page.get_by_role("alert").filter(has_text="does not allow it").wait_for()
        checked = page.get_by_role("radiogroup").get_by_role("radio", checked=True)
        checked.and_(page.get_by_label("Off")).wait_for()
        assert checked.count() == 1
        assert axe(page) == [], "denied"
        page.evaluate("window.permission = 'granted'")
        page.get_by_role("radio", name="Off").focus()
        page.keyboard.press("ArrowDown")
        page.get_by_role("radio", name="When I am named", checked=True).wait_for()
        page.keyboard.press("Escape")
        hear("nothing")
        hear("look @me")
        hear("Continue?", ask={"choices": ["yes"], "from": "me"})
        hear("Label?", ask={"choices": ["yes"], "from": "ada"})
        page.evaluate("window.hidden = false")
        hear("seen @me")
        tag = "bqwidget:lab"
        assert page.evaluate("window.shown") == [["#lab", "bob: look @me", tag], ["#lab", "bob: Continue?", tag]]

        page.get_by_role("button", name="Notifications").click()
        page.get_by_role("radio", name="All messages").click()
        page.get_by_role("radio", name="All messages", checked=True).wait_for()
        page.reload()
        page.get_by_role("status").filter(has_text="Connected").wait_for()
        page.evaluate("window.hidden = true")
        hear("anything")
        assert page.evaluate("[window.asked, window.shown]") == [0, [["#lab", "bob: anything", tag]]]
        page.evaluate("window.last.onclick()")
        page.locator("[aria-current=location]").filter(has_text="anything").wait_for()
