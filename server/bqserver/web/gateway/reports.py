"""``POST /gateway``: what a gateway reports of the members whose connections it forwards."""

from __future__ import annotations

import random
from http import HTTPStatus

from bqserver.auth.gateway import ForwardedMember
from bqserver.auth.identity import Denied
from bqserver.web.body import BodyHandler
from bqserver.web.errors import ApiError
from bqwidget import protocol

MAX_RETRY_MS = 5_000


class Report(protocol.Struct, frozen=True):
    """``connections``: their names at the gateway, and who each member is by now; None: the gateway stops."""

    connections: dict[str, ForwardedMember | None]


class ReportHandler(BodyHandler):
    """Updates the members' roles, expels those who are denied, and sends ``bye`` to those whose gateway stops."""

    public = True

    async def post(self) -> None:
        if self.forwarded is None or not self.forwarded.reports:
            raise ApiError(404, "not_found", "there is nothing here but for gateways")
        hub, reported = self.context.hub, self.decoded_body(Report).connections
        for peer in [peer for peer in hub.peers if peer.forwarded_as in reported]:
            member = reported[peer.forwarded_as or ""]
            if member is None:
                peer.dismiss(random.randint(100, MAX_RETRY_MS))  # noqa: S311 - no secret
                continue
            found = member.identity()
            if isinstance(found, Denied):
                peer.expel(4401, found.message)
            else:
                peer.identity = found
                hub.review_one(peer)
        self.set_status(HTTPStatus.NO_CONTENT)
