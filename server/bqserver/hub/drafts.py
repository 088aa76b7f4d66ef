"""A REST post, from the bytes of its body to what is appended: the same by every way in."""

from __future__ import annotations

import msgspec

from bqserver.auth.identity import Identity
from bqserver.model import Rejected, Role, Submission
from bqwidget.protocol import Post, Send, check, decode_post

from .hub import Hub


def read_post(hub: Hub, identity: Identity, room: str, body: bytes) -> Post | Rejected:
    """What ``identity``, who has been let in to write in ``room``, says there, under their verified name where there
    is one; Rejected where they may not under that name.

    Raises ProtocolError, which names the field. Its parts are still to be vouched for.
    """
    post = decode_post(body)
    if identity.principal is not None:
        post = msgspec.structs.replace(post, user=identity.principal)
    check(post, hub.limits)
    return hub.policy.no_writer(identity, Role.WRITE, room, post.user) or post


def submission_of(post: Post, identity: Identity, room: str) -> Submission:
    draft = Send(
        cid=post.cid or "",
        user=post.user,
        text=post.text,
        re=post.re,
        choice=post.choice,
        ask=post.ask,
        parts=post.parts,
    )
    principal = identity.principal
    return Submission(room, principal or post.user, draft, verified=principal is not None)
