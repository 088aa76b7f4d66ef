"""From a draft to the entry that it becomes, and back."""

from __future__ import annotations

from typing import Any

from .client_frames import Append, Delete, Draft, Edit, End, Expire, React, Send, SetStep, Vote
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
_SHARED = {
    draft: tuple(name for name in draft.__struct_fields__ if name in Change.__struct_fields__) for draft in _KINDS
}


def to_entry(
    draft: Draft, *, room: str, seq: int, at: int, verified: bool = False, real_at: int | None = None
) -> Entry:
    """The entry that ``draft`` becomes at this seq and time. ``real_at``: see ``Message``."""
    if isinstance(draft, Send):
        return Message(
            seq=seq,
            room=room,
            user=draft.user,
            text=draft.text,
            at=at,
            cid=draft.cid or None,
            re=draft.re,
            choice=draft.choice,
            ask=draft.ask,
            parts=draft.parts,
            verified=verified,
            real_at=real_at,
            live=draft.live,
            progress=draft.progress,
            format=draft.format,
        )
    fields: dict[str, Any] = {name: getattr(draft, name) for name in _SHARED[type(draft)]}
    fields.update(cid=draft.cid or None, real_at=real_at)
    return Change(seq=seq, room=room, at=at, kind=_KINDS[type(draft)], **fields)  # type: ignore[arg-type]


def to_draft(entry: Entry) -> Draft:
    """The draft that ``entry`` was made from; one whose text, choice or title was removed has an empty one."""
    if isinstance(entry, Message):
        return Send(
            cid=entry.cid or "",
            user=entry.user,
            text=entry.text,
            re=entry.re,
            choice=entry.choice,
            ask=entry.ask,
            parts=entry.parts,
            live=entry.live,
            progress=entry.progress,
            format="plain" if entry.format == "plain" else None,
        )
    draft = _CHANGES[entry.kind]
    fields: dict[str, Any] = {name: getattr(entry, name) for name in _SHARED[draft]}
    fields["cid"] = entry.cid or ""
    if draft is Edit or draft is Append:
        fields["text"] = entry.text or ""
    elif draft is Vote:
        fields["choice"] = entry.choice or ""
    elif draft is SetStep:
        fields["title"] = entry.title or ""
    return draft(**fields)
