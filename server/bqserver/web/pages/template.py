"""The HTML of the pages. A room's holds the last messages, escaped, and the view takes over from there."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

import msgspec
from tornado.template import Template

from bqwidget.protocol import Message

STATIC_FOLDER = Path(str(files("bqwidget"))) / "static"
DEFAULT_PAGE_MESSAGES = 50

ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'%3E"
    "%3Cpath fill='%232459d3' d='M7 4h18a4 4 0 0 1 4 4v12a4 4 0 0 1-4 4h-9l-8 6v-6H7a4 4 0 0 1-4-4V8a4 4 0 0 1 4-4z'/%3E"
    "%3Cpath stroke='%23fff' stroke-width='2.6' stroke-linecap='round' d='M9.5 11h13M9.5 17h8'/%3E%3C/svg%3E"
)
"""Inline: no further request, and the script can draw the dot for unread messages on it."""

_SHELL = Template(
    """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ room or 'Rooms' }} · bqwidget</title>
<link rel="icon" type="image/svg+xml" href="{{ icon }}">
<link rel="stylesheet" href="{{ base }}static/page.css">
<script type="module" src="{{ base }}static/page.js"></script>
</head>
<body>
<main id="bqwidget" data-room="{{ room }}" data-base="{{ base }}" data-session="{{ 'yes' if session else 'no' }}">
{% if session %}{% raw body %}{% else %}<noscript>This page needs JavaScript to take your invite.</noscript>{% end %}
</main>
<script type="application/json" id="bqwidget-state">{% raw state %}</script>
</body>
</html>
""",
    whitespace="all",
)
_MESSAGES = Template(
    """<ol class="bq-static">
{% for message in messages %}<li data-seq="{{ message.seq }}"><b dir="auto">{{ message.user }}</b> \
<time datetime="{{ when(message.at) }}">{{ when(message.at)[11:16] }}</time> {% for part in message.parts %}<span dir="auto">[{{ part.name or part.mime }}]</span> {% end %}\
<p dir="auto">{{ message.text }}</p></li>
{% end %}</ol>""",
    whitespace="all",
)
_ROOMS = Template(
    """<nav class="bq-rooms" aria-labelledby="bq-rooms">
<h1 id="bq-rooms">Rooms</h1>
{% if rooms %}<ul>
{% for room in rooms %}<li><a href="{{ base }}rooms/{{ room.name }}">{{ room.name }}</a>\
{% if room.members %} <span>{{ room.members }} here</span>{% end %}</li>
{% end %}</ul>{% else %}<p>There is no room with messages that you may read. <a href="{{ base }}rooms/lobby">Begin in the lobby.</a></p>{% end %}
</nav>""",
    whitespace="all",
)

_decode = msgspec.json.Decoder(Message).decode


def render(
    *,
    room: str,
    base: str,
    session: bool,
    bodies: list[bytes],
    epoch: str,
    seq: int,
    oldest: int,
    user: str | None,
) -> bytes:
    """The page as UTF-8 HTML. ``bodies``: the room's last messages as JSON, oldest first; left out without a session."""
    state = b'{"messages":[%b],"epoch":%b,"seq":%d,"oldest":%d,"user":%b}' % (
        b",".join(bodies),
        msgspec.json.encode(epoch),
        seq,
        oldest,
        msgspec.json.encode(user),
    )
    messages = [_decode(body) for body in bodies]
    # In a script element only "<" can end or change it, and in JSON it occurs only inside strings.
    state = state.replace(b"<", b"\\u003c") if session else b"null"
    return _shell(room, base, session=session, body=_MESSAGES.generate(messages=messages, when=_when), state=state)


def render_rooms(rooms: Iterable[object], *, base: str, session: bool) -> bytes:
    """The list of ``rooms`` (each with ``name`` and ``members``) as UTF-8 HTML; left out without a session."""
    return _shell("", base, session=session, body=_ROOMS.generate(rooms=rooms, base=base), state=b"null")


def _shell(room: str, base: str, *, session: bool, body: bytes, state: bytes) -> bytes:
    return _SHELL.generate(room=room, base=base, icon=ICON, session=session, body=body, state=state)


def _when(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
