"""A user's looks stay looks: whatever a server says of name, initials, colour and picture, nothing runs or is asked for.

Our own server lets only harmless ones through (tests/bqserver/jupyter/test_profiles.py); here it is made to pass everything on.
"""

from __future__ import annotations

import pytest
from bqserver.testing import running_server
from support.dom_monitor import DomMonitor
from support.xss_payloads import EVIL, payloads

from bqwidget.protocol import Member, Profile

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
CROWD = 200
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
HOSTILE = [*STYLES, *payloads()]


def crowd(room) -> tuple[Member, ...]:
    start = int(room.name)
    return tuple(
        Member(
            user=f"user {start + number}",
            verified=True,
            profile=Profile(name=text, initials=text, color=text, avatar=text),
        )
        for number, text in enumerate(HOSTILE[start : start + CROWD])
    )


def test_no_looks_become_more_than_looks(pages, monkeypatch):
    monkeypatch.setattr("bqserver.hub.presence.members", crowd)
    with running_server(open=True) as server:
        page = pages()
        monitor = DomMonitor(page, server.url)
        for start in range(0, len(HOSTILE), CROWD):
            page.goto(f"{server.url}/rooms/{start}")
            told = HOSTILE[start : start + CROWD]
            page.get_by_role("button", name=f"{len(told)} here").click()
            page.locator(".bq-people .bq-alias").last.wait_for()
            shown = page.evaluate(
                "[...document.querySelectorAll('.bq-people .bq-alias')].map(e => e.textContent)"
            )
            assert shown == told
            assert monitor.report() == []


def test_harmless_looks_are_drawn_and_the_monitor_accepts_them(pages, monkeypatch):
    looks = Profile(name="Ada", initials="AL", color="teal", avatar=PIXEL)
    plain = Profile(color="var(--jp-collaborator-color2)")
    told = (
        Member(user="ada", verified=True, profile=looks),
        Member(user="bob", verified=True, profile=plain),
    )
    monkeypatch.setattr("bqserver.hub.presence.members", lambda _: told)
    with running_server(open=True) as server:
        page = pages()
        monitor = DomMonitor(page, server.url)
        page.goto(f"{server.url}/rooms/lobby")
        page.get_by_role("button", name="2 here").click()
        drawn = "e => [getComputedStyle(e).backgroundColor, getComputedStyle(e).backgroundImage]"
        ada, bob = page.locator(".bq-people .bq-avatar").all()
        assert ada.evaluate(drawn) == ["rgb(0, 128, 128)", f'url("{PIXEL}")']
        assert bob.evaluate(drawn) == ["rgb(123, 106, 0)", "none"]
        assert monitor.report() == []


def test_a_picture_from_elsewhere_would_be_seen(pages):
    """Else the tests above would prove nothing."""
    with running_server(open=True) as server:
        page = pages()
        monitor = DomMonitor(page, server.url)
        page.goto(f"{server.url}/rooms/lobby")
        region = page.get_by_role("region", name="Chat room lobby")
        region.wait_for()
        region.evaluate(
            "(region, url) => { region.querySelector('p').style.background = `url(${url})`; }", f"{EVIL}x.png"
        )
        page.wait_for_function("domMonitor().length > 0")
        assert any("evil.example" in line for line in monitor.report())
