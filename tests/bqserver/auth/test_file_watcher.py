"""The files of tokens and permissions, followed while a server runs."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from bqserver.auth import tokens
from bqserver.auth.file_watcher import CredentialFiles
from bqserver.errors import AccessFileError
from bqserver.model import Role
from bqserver.testing import running_server
from support.eventually import eventually
from support.forking.server import start
from support.ws_client import member, request


@pytest.fixture
def path(home):
    return home / "data" / "tokens.json"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_a_revoked_token_closes_its_connections_and_those_of_its_guests(path):
    token, _ = tokens.add_grant(path, "ada")
    with running_server() as server:
        made = request(server.url, "POST", "/invites", {"minutes": 5}, **bearer(token)).json
        guest = request(server.url, "POST", "/session", {"invite": made["code"]}, Origin=server.url)
        cookie = guest.headers["Set-Cookie"].partition(";")[0]
        with (
            member(server.url, **bearer(token)) as one,
            member(server.url, Cookie=cookie, Origin=server.url) as invited,
            member(server.url, **bearer(server.token)) as other,
        ):
            one.until("synced")
            invited.until("synced")
            tokens.revoke_grants(path, "ada")
            assert one.close_code() == 4401
            assert invited.close_code() == 4401
            other.say("still here", user="bob")
            assert other.texts(1) == ["still here"]
        refused = request(server.url, "GET", "/messages", **bearer(token))
        assert (refused.status, refused.code) == (401, "token_revoked")
        assert request(server.url, "GET", "/messages", Cookie=cookie).code == "session_over"


def test_an_expired_token_closes_its_connections(path, monkeypatch):
    hours_later = 0
    clock = SimpleNamespace(time=lambda: time.time() + 3600 * hours_later)
    monkeypatch.setattr("bqserver.cli.settings.time", clock)
    token, _ = tokens.add_grant(path, "ada", expires=datetime.now(UTC) + timedelta(hours=1))
    with running_server() as server, member(server.url, **bearer(token)) as one:
        one.until("synced")
        hours_later = 2
        assert one.close_code() == 4401
        assert request(server.url, "GET", "/messages", **bearer(token)).code == "token_expired"


def test_changed_permissions_apply_to_open_connections(path):
    token, _ = tokens.add_grant(path, "ada")
    rights = path.with_name("rights.toml")
    with running_server() as server, member(server.url, **bearer(token)) as one:
        one.until("synced")
        rights.write_text('[lobby]\nada = "read"\n')

        def read_only() -> bool:
            one.say("may I?", cid=os.urandom(4).hex())
            while (frame := one.recv())["type"] not in ("ack", "error"):
                pass
            return frame["type"] == "error" and frame["code"] == "read_only"

        eventually(read_only, what="the new rights")
        rights.write_text("[lobby\n")  # a slip: what was stays
        assert read_only()
        rights.write_text('[lobby]\nada = "none"\n')
        assert one.close_code() == 4403


def test_a_deleted_file_changes_nothing(path, caplog):
    token, _ = tokens.add_grant(path, "ada")
    rights = path.with_name("rights.toml")
    rights.write_text('[staff]\n"*" = "none"\n')
    files = CredentialFiles(path, rights, names_rights=False)
    for lost in (path, rights):
        kept = lost.read_text()
        lost.unlink()
        caplog.clear()
        assert not files.reload()
        assert f"{lost} is missing" in caplog.text
        assert not files.reload()
        assert files.grants.find_by_token(token)
        assert files.permissions.role("ada", "staff") is Role.NONE
        lost.write_text(kept)
        lost.chmod(0o600)
        caplog.clear()
        assert not files.reload()
        assert f"{lost} is in effect again" in caplog.text


def test_sighup_reloads_the_files_at_once(path, home):
    token, _ = tokens.add_grant(path, "ada")
    with start("--port=0", "--log=memory", stdout=subprocess.PIPE) as process:
        try:
            url = process.stdout.readline().split()[-1]
            with member(url, **bearer(token)) as one:
                one.until("synced")
                tokens.revoke_grants(path, "ada")
                process.send_signal(signal.SIGHUP)
                assert one.close_code() == 4401
        finally:
            process.terminate()
            assert process.wait(20) == 0


def test_a_faulty_file_is_an_error_at_the_start(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("[]")
    path.chmod(0o644)
    with pytest.raises(AccessFileError, match="chmod 600"), running_server():
        pass
