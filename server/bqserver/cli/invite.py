"""``bqserver invite``: a link that lets people into a room of a running server."""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from urllib.parse import urlsplit

from traitlets import Dict, Float, Int, Unicode

from bqserver.auth.origins import is_loopback
from bqserver.config.paths import runtime_file
from bqserver.errors import SettingError, StartError
from bqwidget.errors import ProtocolError
from bqwidget.protocol import MAX_INVITE_MINUTES, MAX_INVITE_USES, check_room

from .application import Command

REQUEST_TIMEOUT = 10.0
"""Seconds for the server's answer."""


class Invite(Command):
    """Print a link that lets people into ROOM (default: lobby) of a running server."""

    name = "bqserver invite"
    examples = "bqserver invite team --uses=20 --minutes=90 --url=https://chat.example.org"
    max_arguments = 1
    uses = Int(1, min=1, max=MAX_INVITE_USES, help="How many people may come in by it.").tag(config=True)
    minutes = Float(60.0, help=f"How long it is valid, up to {MAX_INVITE_MINUTES:,}.").tag(config=True)
    url = Unicode(
        "",
        help="The server's address, with a token in $BQWIDGET_TOKEN. Default: $BQWIDGET_URL, else your local server.",
    ).tag(config=True)
    aliases = Dict({"uses": "Invite.uses", "minutes": "Invite.minutes", "url": "Invite.url"})

    def start(self) -> None:
        super().start()
        with self.reported_errors():
            print(self.link((*self.extra_args, "lobby")[0]))

    def link(self, room: str) -> str:
        """The link. Raises SettingError, and StartError if the server can't be found or refuses."""
        try:
            check_room(room)
        except ProtocolError as error:
            raise SettingError(str(error)) from None
        url, token = self.server()
        body = json.dumps({"uses": self.uses, "minutes": self.minutes}).encode()
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        request = urllib.request.Request(f"{url}/invites", body, headers)  # noqa: S310 - http or https, checked
        # Without the environment's proxy, which does not apply to loopback.
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}) if is_local(url) else urllib.request.ProxyHandler()
        )
        try:
            with opener.open(request, timeout=REQUEST_TIMEOUT) as answer:
                code = json.load(answer)["code"]
        except urllib.error.HTTPError as error:
            raise StartError(f"{url} answered {error.code}: {_reason(error)}") from None
        except (OSError, ValueError, KeyError) as error:
            raise StartError(f"{url} gave no invite: {error}") from None
        if is_local(url):
            print("this link works on this machine only: for others, start bqserver with --ip", file=sys.stderr)
        return f"{url}/rooms/{room}#invite={code}"

    def server(self) -> tuple[str, str | None]:
        """Address and token. Raises SettingError, StartError."""
        token = os.environ.get("BQWIDGET_TOKEN")
        if url := self.url or os.environ.get("BQWIDGET_URL"):
            if urlsplit(url).scheme not in ("http", "https"):
                raise SettingError(f"--url={url} is not an address: give one such as https://chat.example.org")
            return url.rstrip("/"), token
        path = runtime_file()
        try:
            fields = json.loads(path.read_bytes())
            return str(fields["url"]).rstrip("/"), fields["token"]
        except (OSError, ValueError, KeyError, TypeError):
            raise StartError(
                "no local server runs: start one with `bqserver` or a notebook, or give --url=ADDRESS and set BQWIDGET_TOKEN"
            ) from None


def is_local(url: str) -> bool:
    return is_loopback(urlsplit(url).hostname or "")


def _reason(error: urllib.error.HTTPError) -> str:
    """The server's sentence."""
    try:
        return str(json.load(error)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return error.reason
