"""XSS in profiles: payloads as name, initials, colour and picture cause no script and no request.

The real server passes on only valid profiles (tests/bqserver/jupyter/test_profiles.py); here it passes on everything.
"""

from __future__ import annotations

import pytest
from bqserver.testing import running_server
from support.dom_monitor import DomMonitor
from support.xss_payloads import EVIL, payloads

from bqwidget.protocol import Member, Profile

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
MEMBERS_PER_PAGE = 200
PIXEL = "data:image/png;base64,iVBORw0KGgo="
STYLES = (
    f"url({EVIL}a)",
    f"red url({EVIL}b)",
    f"red; background-image: url({EVIL}c)",
    f"var(--jp-collaborator-color1, url({EVIL}d))",
    f"image-set('{EVIL}e' 1x)",
    f'{PIXEL}"), url("{EVIL}f',
    f"{EVIL}g.png",
    "//evil.example/h.png",
    f"data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg'><image href='{EVIL}i'/></svg>",
)
PAYLOADS = [*STYLES, *payloads()]


def hostile_members(room) -> tuple[Member, ...]:
    start = int(room.name)
    return tuple(
        Member(
            user=f"user {start + number}",
            verified=True,
            profile=Profile(name=text, initials=text, color=text, avatar=text),
        )
        for number, text in enumerate(PAYLOADS[start : start + MEMBERS_PER_PAGE])
    )


def test_payloads_in_profiles_stay_text(pages, monkeypatch):
    monkeypatch.setattr("bqserver.hub.presence.members", hostile_members)
    with running_server(open=True) as server:
        page = pages()
        monitor = DomMonitor(page, server.url)
        for start in range(0, len(PAYLOADS), MEMBERS_PER_PAGE):
            page.goto(f"{server.url}/rooms/{start}")
            names = PAYLOADS[start : start + MEMBERS_PER_PAGE]
            page.get_by_role("button", name=f"{len(names)} here").click()
            page.locator(".bq-people .bq-alias").last.wait_for()
            shown = page.evaluate("[...document.querySelectorAll('.bq-people .bq-alias')].map(e => e.textContent)")
            assert shown == names
            assert monitor.report() == []


def test_valid_profiles_are_drawn_and_the_monitor_accepts_them(pages, monkeypatch):
    full = Profile(name="Ada", initials="AL", color="teal", avatar=PIXEL)
    plain = Profile(color="var(--jp-collaborator-color2)")
    members = (
        Member(user="ada", verified=True, profile=full),
        Member(user="bob", verified=True, profile=plain),
    )
    monkeypatch.setattr("bqserver.hub.presence.members", lambda _: members)
    with running_server(open=True) as server:
        page = pages()
        monitor = DomMonitor(page, server.url)
        page.goto(f"{server.url}/rooms/lobby")
        page.get_by_role("button", name="2 here").click()
        page.locator(".bq-people .bq-avatar").nth(1).wait_for()
        drawn = "e => [getComputedStyle(e).backgroundColor, getComputedStyle(e).backgroundImage]"
        ada, bob = page.locator(".bq-people .bq-avatar").all()
        assert ada.evaluate(drawn) == ["rgb(0, 128, 128)", f'url("{PIXEL}")']
        assert bob.evaluate(drawn) == ["rgb(123, 106, 0)", "none"]
        assert monitor.report() == []


def test_the_monitor_reports_a_picture_of_another_host(pages):
    """Without this, the tests above would prove nothing."""
    with running_server(open=True) as server:
        page = pages()
        monitor = DomMonitor(page, server.url)
        page.goto(f"{server.url}/rooms/lobby")
        region = page.get_by_role("region", name="Chat room lobby")
        region.wait_for()
        region.evaluate(
            "(region, url) => { region.querySelector('p').style.background = `url(${url})`; }", f"{EVIL}x.png"
        )
        page.wait_for_function("() => domMonitor().length > 0")
        assert any("evil.example" in line for line in monitor.report())
