"""From a draft to the entry that it becomes, and back. A field is copied to the field of its name."""

from __future__ import annotations

from typing import Any

from .client_frames import Append, Delete, Draft, Edit, End, Expire, Post, React, Send, SetStep, Vote
from .entries import Change, Entry, Message

_CHANGES: dict[str, type[Edit | Delete | React | Expire | Append | SetStep | End | Vote]] = {
    "edit": Edit,
    "delete": Delete,
    "react": React,
    "expire": Expire,
    "append": Append,
    "step": SetStep,
    "end": End,
    "vote": Vote,
}
_KINDS = {draft: kind for kind, draft in _CHANGES.items()}


def _shared(draft: type, entry: type) -> tuple[str, ...]:
    """The fields that both structs have, without ``cid``: that of an entry is None where a draft's is empty."""
    names = draft.__struct_fields__  # type: ignore[attr-defined]
    return tuple(name for name in names if name in entry.__struct_fields__ and name != "cid")  # type: ignore[attr-defined]


_OF_MESSAGE = _shared(Send, Message)
_OF_CHANGE = {draft: _shared(draft, Change) for draft in _KINDS}


def to_entry(
    draft: Draft,
    *,
    room: str,
    seq: int,
    at: int,
    verified: bool = False,
    real_at: int | None = None,
    author_kind: str | None = None,
) -> Entry:
    """The entry that ``draft`` becomes at this seq and time. ``real_at``, ``author_kind``: see ``Message``."""
    cid = draft.cid or None
    if isinstance(draft, Send):
        # Each field in turn: five times as fast, for every message of the server. So are the first ones by position:
        # Python puts the arguments of a call with more than 15 names into a dict.
        return Message(
            seq,
            room,
            draft.user,
            draft.text,
            at,
            cid,
            draft.re,
            draft.choice,
            draft.ask,
            draft.parts,
            verified=verified,
            real_at=real_at,
            live=draft.live,
            progress=draft.progress,
            format=draft.format,
            stoppable=draft.stoppable,
            author_kind=author_kind,
            cell=draft.cell,
        )
    fields = _fields(draft, _OF_CHANGE[type(draft)])
    return Change(seq=seq, room=room, at=at, cid=cid, real_at=real_at, kind=_KINDS[type(draft)], **fields)  # type: ignore[arg-type]


def to_draft(entry: Entry) -> Draft:
    """The draft that ``entry`` was made from; one whose text, choice or title was removed has an empty one."""
    cid = entry.cid or ""
    if isinstance(entry, Message):
        fields = _fields(entry, _OF_MESSAGE)
        return Send(cid=cid, **fields | {"format": "plain" if entry.format == "plain" else None})
    draft = _CHANGES[entry.kind]
    fields = _fields(entry, _OF_CHANGE[draft])
    if draft is Edit or draft is Append:
        fields["text"] = entry.text or ""
    elif draft is Vote:
        fields["choice"] = entry.choice or ""
    elif draft is SetStep:
        fields["title"] = entry.title or ""
    return draft(cid=cid, **fields)


def to_send(post: Post) -> Send:
    """The frame with the fields of ``post``; ``cid`` is empty where the body has none."""
    return Send(
        cid=post.cid or "",
        user=post.user,
        text=post.text,
        re=post.re,
        choice=post.choice,
        ask=post.ask,
        parts=post.parts,
        live=post.live,
        format=post.format,
        cell=post.cell,
    )


def _fields(struct: object, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(struct, name) for name in names}
