"""Profiles of Jupyter users: only what is safe to display is sent."""

from __future__ import annotations

import asyncio

import pytest
from bqserver.auth.identity import Identity
from bqserver.hub.hub import Hub
from bqserver.hub.presence import MAX_AVATARS, members
from bqserver.jupyter.profiles import MAX_AVATAR_LENGTH, make_profile
from bqserver.storage.memory import MemoryLog
from support.hub import joined

from bqwidget.protocol import Profile

PIXEL = "data:image/png;base64,iVBORw0KGgo="


@pytest.mark.parametrize(
    "color",
    ["#fa0", "#FFAA00", "teal", "rgb(1, 2, 3)", "hsl(120deg 50% 40%)", "var(--jp-collaborator-color1)"],
)
def test_valid_colours_are_kept(color):
    assert make_profile(None, color=color) == Profile(color=color)


@pytest.mark.parametrize(
    "color",
    [
        "#fa0; background: url(https://evil.example)",
        "url(https://evil.example/x)",
        "var(--jp-collaborator-color1, url(//evil.example))",
        "var(--anything)",
        "expression(alert(1))",
        "rgb(1,2,3))",
        "red\n",
        "x" * 65,
    ],
)
def test_other_texts_are_removed(color):
    assert make_profile(None, color=color) is None


def test_a_small_picture_in_a_data_url_is_kept():
    assert make_profile(None, avatar=PIXEL) == Profile(avatar=PIXEL)


@pytest.mark.parametrize(
    "avatar",
    [
        "https://evil.example/a.png",
        "//evil.example/a.png",
        "/logout",
        "javascript:alert(1)",
        "data:image/svg+xml;base64,PHN2Zy8+",
        "data:text/html;base64,PGI+",
        'data:image/png;base64,x" onerror="alert(1)',
        PIXEL + "\n",
        "data:image/png;base64," + "A" * MAX_AVATAR_LENGTH,
    ],
)
def test_other_pictures_are_removed(avatar):
    assert make_profile(None, avatar=avatar) is None


def test_names_are_cut_to_one_printable_line():
    profile = make_profile("Ada\u202e\n L" + "x" * 99, "ABCDEFG")
    assert profile == Profile(name="Ada L" + "x" * 59, initials="ABCD")
    assert make_profile("", "", "", "") is None


def test_a_presence_frame_has_a_limited_number_of_pictures():
    looks = make_profile("Name", avatar=PIXEL)

    async def listed():
        hub = Hub(MemoryLog())
        for number in range(MAX_AVATARS + 3):
            one = await joined(hub, identity=Identity(f"user-{number:02}", profile=looks))
        return members(hub.peers[one])

    profiles = [member.profile for member in asyncio.run(listed())]
    assert [profile.avatar for profile in profiles] == [PIXEL] * MAX_AVATARS + [None] * 3
    assert {profile.name for profile in profiles} == {"Name"}
