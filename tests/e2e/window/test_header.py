"""The header: at every width the room's name is whole, and the buttons are at the other end."""

from __future__ import annotations

import pytest
from bqserver.testing import running_server
from support.ws_client import member

pytestmark = pytest.mark.browser

WIDTHS = (330, 360, 480, 700, 1100)
"""Pixels: phones, a side panel, a notebook, a page."""


def test_the_room_s_name_is_whole_at_every_width(pages):
    page = pages()
    with (
        running_server(open=True) as server,
        member(server.url, "vision-lab", "?kind=agent&user=claude&live=1"),
        member(server.url, "vision-lab", "?kind=kernel&user=trainer&live=1") as kernel,
    ):
        kernel.send({"type": "chat.busy", "busy": True})
        page.goto(f"{server.url}/rooms/vision-lab")
        page.get_by_role("button", name="2 here").filter(has_text="kernel busy").wait_for()
        name, share = page.get_by_role("heading"), page.get_by_role("button", name="Share")
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 600})
            assert name.evaluate("name => name.scrollWidth <= name.clientWidth"), width
            end, edge = (place.bounding_box() for place in (share, page.locator(".bq-header")))
            assert 0 < edge["x"] + edge["width"] - end["x"] - end["width"] < 20, width
