"""Random submissions for property tests of logs."""

from __future__ import annotations

from functools import cache

from bqserver.model import Submission
from hypothesis import strategies as st

from bqwidget.protocol import Append, Ask, Delete, Draft, Edit, End, Expire, React, Send, SetStep, Vote

rooms, users, cids = (
    st.sampled_from("ab"),
    st.sampled_from(["ada", "bob"]),
    st.sampled_from(["", "1", "2", "3"]),
)
optional_texts = st.sampled_from([None, "x", "z"])
texts, targets = st.sampled_from(["x", "y"]), st.integers(0, 8)
polls = st.builds(Ask, choices=st.just(("x", "y")), from_=st.sampled_from([None, ("ada", "bob")]), poll=st.just(True))


@cache
def drafts(user: str, cid: str) -> st.SearchStrategy[Draft]:
    """Each strategy is made once: to make them again for every draft took most of the time of a test."""
    return st.one_of(
        st.builds(Send, cid=st.just(cid), user=st.just(user), text=texts, format=st.sampled_from([None, "plain"])),
        st.builds(Send, cid=st.just(cid), user=st.just(user), text=texts, live=st.booleans()),
        st.builds(Send, cid=st.just(cid), user=st.just(user), text=texts, ask=polls),
        st.builds(Expire, cid=st.just(cid), user=st.just(user), target=targets),
        st.builds(Send, cid=st.just(cid), user=st.just(user), text=texts, live=st.just(True)),
        st.builds(Append, target=targets, offset=st.integers(0, 2), text=texts, replace=st.sampled_from([None, True])),
        st.builds(
            SetStep,
            cid=st.just(cid),
            target=targets,
            id=texts,
            title=texts,
            state=st.sampled_from(["running", "done"]),
        ),
        st.builds(End, cid=st.just(cid), target=targets, end=st.sampled_from(["done", "lost"]), text=st.none() | texts),
        st.builds(Vote, cid=st.just(cid), user=st.just(user), target=targets, choice=texts),
        st.builds(Edit, cid=st.just(cid), user=st.just(user), target=targets, text=texts),
        st.builds(Append, target=targets, offset=st.integers(0, 3), text=texts, replace=st.sampled_from([None, True])),
        st.builds(
            SetStep,
            cid=st.just(cid),
            target=targets,
            id=texts,
            title=texts,
            state=st.just("done"),
            text=optional_texts,
        ),
        st.builds(End, cid=st.just(cid), target=targets, end=st.just("done"), text=optional_texts),
        st.builds(Delete, cid=st.just(cid), user=st.just(user), target=targets),
        st.builds(
            React,
            cid=st.just(cid),
            user=st.just(user),
            target=targets,
            emoji=texts,
            on=st.booleans(),
            pin=st.sampled_from([None, True]),
        ),
    )


@st.composite
def submissions(draw: st.DrawFn) -> Submission:
    user, cid = draw(users), draw(cids)
    draft = draw(drafts(user, cid))
    return Submission(draw(rooms), user, draft, moderator=draw(st.booleans()))
