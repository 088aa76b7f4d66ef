"""Random submissions for property tests of logs."""

from __future__ import annotations

from bqserver.model import Submission
from hypothesis import strategies as st

from bqwidget.protocol import Ask, Delete, Edit, Expire, React, Send, Vote

rooms, users, cids = (
    st.sampled_from("ab"),
    st.sampled_from(["ada", "bob"]),
    st.sampled_from(["", "1", "2", "3"]),
)
texts, targets = st.sampled_from(["x", "y"]), st.integers(0, 8)
polls = st.builds(Ask, choices=st.just(("x", "y")), from_=st.sampled_from([None, ("ada", "bob")]), poll=st.just(True))


@st.composite
def submissions(draw: st.DrawFn) -> Submission:
    user, cid = draw(users), draw(cids)
    draft = draw(
        st.one_of(
            st.builds(Send, cid=st.just(cid), user=st.just(user), text=texts, format=st.sampled_from([None, "plain"])),
            st.builds(Send, cid=st.just(cid), user=st.just(user), text=texts, ask=polls),
            st.builds(Expire, cid=st.just(cid), user=st.just(user), target=targets),
            st.builds(Vote, cid=st.just(cid), user=st.just(user), target=targets, choice=texts),
            st.builds(Edit, cid=st.just(cid), user=st.just(user), target=targets, text=texts),
            st.builds(Delete, cid=st.just(cid), user=st.just(user), target=targets),
            st.builds(React, cid=st.just(cid), user=st.just(user), target=targets, emoji=texts, on=st.booleans()),
        )
    )
    return Submission(draw(rooms), user, draft)
