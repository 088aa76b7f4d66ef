"""The HTML of the pages. A room's holds the last messages, escaped, and the view takes over from there."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path

import msgspec
from tornado.template import Template

from bqwidget.protocol import Message, Struct, encode

from .rows import rows_of

STATIC_FOLDER = Path(str(files("bqwidget"))) / "static"
DEFAULT_PAGE_MESSAGES = 50

ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'%3E"
    "%3Cpath fill='%232459d3' d='M7 4h18a4 4 0 0 1 4 4v12a4 4 0 0 1-4 4h-9l-8 6v-6H7a4 4 0 0 1-4-4V8a4 4 0 0 1 4-4z'/%3E"
    "%3Cpath stroke='%23fff' stroke-width='2.6' stroke-linecap='round' d='M9.5 11h13M9.5 17h8'/%3E%3C/svg%3E"
)
"""Inline: no further request, and the script can draw the dot for unread messages on it."""

_START = Template(
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
{% if room and session %}<noscript><p class="bq-static-note">To write here, and to see new messages, switch on JavaScript.</p></noscript>
<section class="bq-chat bq-static"><header class="bq-header">\
<a class="bq-header-button bq-to-rooms" href="{{ base }}" rel="noopener noreferrer" aria-label="All rooms" title="All rooms">\
<svg class="bq-icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false"><path d="M14.5 5.5 8 12l6.5 6.5"></path></svg></a>\
<h1 class="bq-room" dir="auto">{{ room }}</h1></header>
<div class="bq-messages"><div class="bq-scroll">{% end %}""",
    whitespace="all",
)
_END = b"""
</main>
<script type="application/json" id="bqwidget-state">%b</script>
</body>
</html>
"""
_INVITE = b"<noscript>This page needs JavaScript to take your invite.</noscript>"
_FAILURE = b'<p class="bq-top">The messages can\'t be read just now: load this page again.</p>'
_SHELL_END = b"</div></div></section>"
_MESSAGES = Template(
    """<ol class="bq-list">
{% for row in rows %}{% set message = row.message %}<li class="{{ row.classes }}" data-seq="{{ message.seq }}">\
{% if row.day %}<div class="bq-divider"><span>{{ row.day }}</span></div>{% end %}<div class="bq-message">\
{% if row.starts_group and not row.mine %}<span class="bq-avatar bq-hue-{{ row.hue }}{% if row.program %} bq-square{% end %}" aria-hidden="true">{{ row.initials }}</span>{% end %}\
<div class="bq-column"><p class="{% if row.starts_group and not row.mine %}bq-author{% else %}bq-sr{% end %}"><b dir="auto">{{ message.user }}</b>\
{% if row.program %} <span class="bq-badge">{{ row.program }}</span>{% end %}</p>\
<div class="bq-bubble{% if message.deleted %} bq-deleted{% elif message.ask %} bq-question{% end %}">\
{% if message.re and not message.deleted %}<div class="bq-quote">{% if row.quoted %}<b dir="auto">{{ row.quoted.user }}</b><span dir="auto">{{ row.quoted.text }}</span>\
{% else %}<span>an earlier message</span>{% end %}</div>{% end %}\
<div class="bq-line">{% if message.deleted %}<p>This message was deleted</p>{% else %}\
{% for part in message.parts %}<a dir="auto" rel="noopener noreferrer" href="{{ base }}rooms/{{ room }}/parts/{{ part.sha256 }}">[{{ part.name or part.mime }}]</a> {% end %}\
{% for step in message.steps %}<span dir="auto">{{ step.title }}: {{ step.state }}</span> {% end %}\
{% if message.text %}<div class="bq-text"><p dir="auto">{{ message.text }}</p></div>{% end %}\
{% if message.ask and message.ask.choices %}<ul class="bq-static-choices">{% for choice in message.ask.choices %}\
<li dir="auto">{{ choice }}{% if message.ask.poll %}: {{ len(message.votes.get(choice, ())) }}{% end %}</li> {% end %}</ul>{% end %}\
{% end %}<p class="bq-meta">{% if message.live %}<span>is being written</span> {% end %}\
{% if message.end in ("stopped", "failed", "lost") %}<span>{{ message.end }}</span> {% end %}{% if message.pinned %}<span>pinned</span> {% end %}\
{% if message.edited and not message.deleted %}<span>edited</span> {% end %}\
<time datetime="{{ row.when }}" title="{{ row.when }}">{{ row.when[11:16] }} UTC</time></p></div></div>\
{% if message.reactions %}<p class="bq-reactions">{% for emoji, users in message.reactions.items() %}<span class="bq-reaction">{{ emoji }} {{ len(users) }}</span> {% end %}</p>{% end %}\
</div></div></li>
{% end %}</ol>""",
    whitespace="all",
)
_ROOMS = Template(
    """<nav class="bq-rooms" aria-labelledby="bq-rooms">
<h1 id="bq-rooms">Rooms</h1>
{% if rooms %}<ul>
{% for room in rooms %}<li><a href="{{ base }}rooms/{{ room.name }}">{{ room.name }}</a>\
{% if room.unread and room.unread.unread %} <b>{{ room.unread.unread }} new</b>{% end %}{% if room.members %} <span>{{ room.members }} here</span>{% end %}</li>
{% end %}</ul>{% else %}<p>There is no room with messages that you may read. <a href="{{ base }}rooms/lobby">Begin in the lobby.</a></p>{% end %}
</nav>""",
    whitespace="all",
)

_decode = msgspec.json.Decoder(Message).decode


class PageState(Struct, frozen=True, omit_defaults=False):
    """What the view continues from, besides the messages. ``read``: up to where a verified member has read."""

    epoch: str
    seq: int
    oldest: int
    user: str | None
    read: int | None


def render_start(room: str, base: str, *, session: bool) -> bytes:
    """A page up to its content, as UTF-8 HTML; ``room`` is empty for the list of rooms. It needs nothing of the log."""
    return _START.generate(room=room, base=base, icon=ICON, session=session)


def render_messages(room: str, base: str, bodies: list[bytes], state: PageState) -> bytes:
    """The rest of a room's page. ``bodies``: its last messages as JSON, oldest first."""
    data = b'{"messages":[%b],%b' % (b",".join(bodies), encode(state)[1:])
    messages = [_decode(body) for body in bodies]
    complete = len(messages) < DEFAULT_PAGE_MESSAGES or messages[0].seq <= state.oldest
    rows = _MESSAGES.generate(rows=rows_of(messages, state.user, complete=complete), room=room, base=base)
    # In a script element only "<" can end or change it, and in JSON it occurs only inside strings.
    return rows + _SHELL_END + _END % data.replace(b"<", b"\\u003c")


def render_rooms(rooms: Iterable[object], base: str) -> bytes:
    """The rest of the list of ``rooms``, each with ``name``, ``members`` and ``unread``."""
    return _ROOMS.generate(rooms=rooms, base=base) + _END % b"null"


def render_invite() -> bytes:
    """The rest of a page without a session."""
    return _INVITE + _END % b"null"


def render_failure() -> bytes:
    """The rest of a page whose messages can't be read."""
    return _FAILURE + _SHELL_END + _END % b"null"
