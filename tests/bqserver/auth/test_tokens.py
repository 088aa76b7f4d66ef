"""Named tokens: the file, the command, and what they open on a running server, until they don't."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from bqserver.auth import tokens
from bqserver.auth.authenticator import EXPIRED, REVOKED, SESSION_ENDED, Authenticator
from bqserver.auth.file_watcher import CredentialFiles
from bqserver.auth.identity import Identity
from bqserver.auth.permissions import parse_permissions
from bqserver.auth.tokens import Grants, parse_grants, read_grants
from bqserver.cli.tokens import describe_grant, parse_expiry
from bqserver.errors import AccessFileError
from bqserver.model import Role
from bqserver.testing import running_server
from support.eventually import eventually
from support.ws_client import member, request
from websockets.exceptions import InvalidStatus

NOW = datetime(2027, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def path(home):
    return home / "data" / "tokens.json"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


# ---- the file


def test_the_file_holds_no_token_and_is_private(path):
    token, grant = tokens.add_grant(path, "ada")
    assert token.startswith("bq_")
    assert len(token) > 43
    assert token not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_grants(path).find_by_token(token) == grant
    assert read_grants(path).find_by_token(token + "x") is None
    assert read_grants(path).find_by_token(grant.sha256) is None


def test_a_name_may_hold_several_and_loses_all_of_them(path):
    first, one = tokens.add_grant(path, "ada")
    _, other = tokens.add_grant(path, "ada")
    tokens.add_grant(path, "bob")
    assert [grant.id for grant in tokens.revoke_grants(path, one.id)] == [one.id]
    assert [grant.id for grant in tokens.revoke_grants(path, "ada")] == [other.id]
    grants = read_grants(path)
    assert grants.find_by_token(first).revoked is not None
    assert [grant.name for grant in grants.all if grant.revoked is None] == ["bob"]
    with pytest.raises(AccessFileError, match="'ada'"):
        tokens.revoke_grants(path, "ada")


def test_a_name_that_is_taken_stays_so(path):
    tokens.add_grant(path, "Ada")
    tokens.revoke_grants(path, "Ada")
    grants = read_grants(path)
    assert all(
        grants.has_name(name) for name in ("Ada", "ada", " ADA ", "a\u200bda", "\u202eada", "ａｄａ", "ada\0")
    )
    assert not grants.has_name("adam")


@pytest.mark.parametrize("name", ["", " ada", "a" * 65, "a\nb", "a\u202eb"])
def test_a_bad_name_is_refused(path, name):
    with pytest.raises(AccessFileError, match="is not a name"):
        tokens.add_grant(path, name)
    assert not path.exists()


def test_a_file_that_others_can_read_is_refused(path):
    tokens.add_grant(path, "ada")
    path.chmod(0o640)
    with pytest.raises(AccessFileError, match="chmod 600"):
        read_grants(path)


@pytest.mark.parametrize(
    ("data", "names"),
    [
        (b"{", "not a list"),
        (b'[{"id": "1"}]', "name"),
        (
            b'[{"id": "1", "name": "a", "sha256": "0", "made": "2027-01-01T00:00:00Z", "admin": true}]',
            "admin",
        ),
        (b'[{"id": "1", "name": "a", "sha256": "0", "made": "2027-01-01T00:00:00"}]', "zone"),
        (
            b'[{"id": "1", "name": "a", "sha256": "0", "made": "2027-01-01T00:00:00Z", "rooms": ["a b"]}]',
            "a b",
        ),
    ],
)
def test_a_wrong_file_is_refused_by_name(data, names):
    with pytest.raises(AccessFileError, match=names):
        parse_grants(data)


# ---- what a grant opens: pure


def gate_with(path, *, rights: str = "", now: datetime = NOW) -> Authenticator:
    return Authenticator(
        token="shared",
        is_open=False,
        clock=now.timestamp,
        grants=read_grants(path),
        permissions=parse_permissions(rights),
    )


def test_the_principal_is_the_tokens_name(path):
    token, grant = tokens.add_grant(path, "ada")
    assert gate_with(path).identify(f"Bearer {token}", None) == Identity("ada", is_program=True, grant=grant)


def test_an_expired_or_revoked_token_says_so(path):
    token, _ = tokens.add_grant(path, "ada", expires=NOW)
    assert gate_with(path).identify(f"Bearer {token}", None) == EXPIRED
    assert isinstance(
        gate_with(path, now=NOW - timedelta(seconds=1)).identify(f"Bearer {token}", None), Identity
    )
    tokens.revoke_grants(path, "ada")
    assert gate_with(path).identify(f"Bearer {token}", None) == REVOKED


def test_a_token_never_allows_more_than_its_holder_may(path):
    everywhere, _ = tokens.add_grant(path, "ada")
    limited, _ = tokens.add_grant(path, "ada", rooms=["class-*"])
    reader, _ = tokens.add_grant(path, "ada", read_only=True)
    gate = gate_with(path, rights='[staff]\nada = "none"\n["*"]\nada = "moderate"')
    level = lambda token, room: gate.role(gate.identify(f"Bearer {token}", None), room)  # noqa: E731
    assert [level(everywhere, room) for room in ("lobby", "class-1", "staff")] == [3, 3, 0]
    assert [level(limited, room) for room in ("lobby", "class-1", "staff")] == [0, 3, 0]
    assert [level(reader, room) for room in ("lobby", "class-1", "staff")] == [1, 1, 0]


def test_who_has_no_verified_name_moderates_nothing(path):
    gate = gate_with(path, rights='["*"]\n"*" = "moderate"')
    assert gate.role(gate.identify("Bearer shared", None), "lobby") is Role.WRITE


def test_a_guest_may_no_more_than_who_invited_them_and_goes_with_them(path):
    token, grant = tokens.add_grant(path, "ada", rooms=["lobby"])
    gate = gate_with(path, rights='["*"]\n"*" = "write"\nada = "read"')
    ada = gate.identify(f"Bearer {token}", None)
    session = gate.redeem_local_invite(gate.create_local_invite(uses=1, minutes=1, by=ada))
    guest = gate.identify(None, session.encode())
    assert guest == Identity(None, grant=grant)
    assert gate.role(guest, "lobby") is Role.READ
    assert gate.role(guest, "staff") is Role.NONE
    tokens.revoke_grants(path, "ada")
    gate.grants = read_grants(path)
    assert gate.identify(None, session.encode()) == SESSION_ENDED
    assert gate.revalidate(guest) == REVOKED


def test_an_invite_of_ones_own_keeps_the_name(path):
    token, grant = tokens.add_grant(path, "ada")
    gate = gate_with(path)
    ada = gate.identify(f"Bearer {token}", None)
    session = gate.redeem_local_invite(gate.create_local_invite(uses=1, minutes=1, by=ada, myself=True))
    assert gate.identify(None, session.encode()) == Identity("ada", grant=grant)


def test_the_invite_of_a_revoked_token_is_worth_nothing(path):
    token, _ = tokens.add_grant(path, "ada")
    gate = gate_with(path)
    code = gate.create_local_invite(uses=1, minutes=1, by=gate.identify(f"Bearer {token}", None))
    tokens.revoke_grants(path, "ada")
    gate.grants = read_grants(path)
    assert gate.redeem_local_invite(code) is None


# ---- the command


def bqserver(*args: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "bqserver", "token", *args], capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_a_token_is_shown_once_and_is_alone_on_standard_output(path):
    made = bqserver("add", "ada", "--rooms=lobby,class-*", "--expires=90d", "--read-only")
    token = made.stdout.strip()
    grant = read_grants(path).find_by_token(token)
    assert (grant.name, grant.rooms, grant.read_only) == ("ada", ("lobby", "class-*"), True)
    assert token not in made.stderr
    told = bqserver("list").stdout
    assert all(word in told for word in (grant.id, "ada", "reads lobby, class-*", "valid until"))
    assert grant.sha256 not in told
    assert token not in told
    assert "revoked" in bqserver("revoke", "ada").stdout


@pytest.mark.parametrize(
    ("args", "code", "names"),
    [
        ([], 2, "add NAME"),
        (["add"], 2, "NAME"),
        (["add", "a", "b"], 2, "b is not understood"),
        (["make"], 2, "make"),
        (["add", "ada", "--expire=1d"], 2, "--expires"),
        (["add", "ada", "--expires=soon"], 2, "soon"),
        (["add", "ada", "--expires=2020-01-01"], 2, "past"),
        (["add", "ada", "--rooms=a b"], 1, "a b"),
        (["revoke", "nobody"], 1, "nobody"),
    ],
)
def test_a_wrong_command_says_what_is_wrong(home, args, code, names):
    assert names in bqserver(*args, code=code).stderr


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90d", NOW + timedelta(days=90)),
        ("12h", NOW + timedelta(hours=12)),
        ("2w", NOW + timedelta(weeks=2)),
        ("2027-02-01T00:00Z", datetime(2027, 2, 1, tzinfo=UTC)),
    ],
)
def test_when_a_token_ends(text, expected):
    assert parse_expiry(text, NOW) == expected


def test_a_description_shows_no_control_characters():
    grant = tokens.Grant(id="1", name="a\x1b[2Jb", sha256="secret", made=NOW)
    assert "\x1b" not in describe_grant(grant) + repr(grant)
    assert "secret" not in describe_grant(grant) + repr(grant)


# ---- on a running server


def test_a_named_member_writes_under_their_own_name_alone(path):
    token, _ = tokens.add_grant(path, "ada")
    with running_server() as server:
        posted = request(
            server.url, "POST", "/messages", {"user": "bob", "text": "hi", "cid": "1"}, **bearer(token)
        )
        assert (posted.status, posted.json["user"], posted.json["verified"]) == (201, "ada", True)
        again = request(
            server.url, "POST", "/messages", {"user": "bob", "text": "hi", "cid": "1"}, **bearer(token)
        )
        assert again.status == 200
        with member(server.url, query="?user=eve", **bearer(token)) as one:
            assert one.recv()["user"] == "ada"
            one.say("by socket", user="bob")
            entry = one.until("message")["entry"]
            assert (entry["user"], entry["verified"]) == ("ada", True)
            one.send({"type": "chat.typing", "user": "bob"})
            assert [m["user"] for m in one.until("presence")["members"]] == ["ada"]


def test_nobody_else_may_go_by_a_members_name(path):
    tokens.add_grant(path, "ada")
    with running_server() as server:
        shared = bearer(server.token)
        refused = request(server.url, "POST", "/messages", {"user": "Ada ", "text": "hi"}, **shared)
        assert (refused.status, refused.code) == (403, "name_taken")
        posted = request(server.url, "POST", "/messages", {"user": "bob", "text": "hi"}, **shared)
        assert posted.status == 201
        assert "verified" not in posted.json
        with member(server.url, **shared) as one:
            assert "user" not in one.recv()
            one.say("it is me", user="ada")
            assert one.until("error")["code"] == "name_taken"
        with pytest.raises(InvalidStatus) as rejected, member(server.url, query="?user=ada", **shared):
            pass
        assert rejected.value.response.status_code == 403


def test_a_read_only_token_reads_and_nothing_else(path):
    token, _ = tokens.add_grant(path, "ada", read_only=True)
    with running_server() as server:
        assert request(server.url, "GET", "/messages", **bearer(token)).status == 200
        for way, body in (("/messages", {"user": "ada", "text": "hi"}), ("/invites", {})):
            refused = request(server.url, "POST", way, body, **bearer(token))
            assert (refused.status, refused.code) == (403, "read_only")
        with member(server.url, **bearer(token)) as one:
            one.say("hi")
            error = one.until("error")
            assert (error["code"], error["cid"], "retry_ms" in error) == ("read_only", "c1", False)


def test_a_token_for_some_rooms_opens_no_other(path):
    token, _ = tokens.add_grant(path, "ada", rooms=["class-*"])
    with running_server() as server:
        for room in ("class-1", "lobby"):
            request(
                server.url,
                "POST",
                f"/rooms/{room}/messages",
                {"user": "a", "text": "b"},
                **bearer(server.token),
            )
        assert request(server.url, "GET", "/rooms/class-1/messages", **bearer(token)).status == 200
        refused = request(server.url, "GET", "/messages", **bearer(token))
        assert (refused.status, refused.code) == (403, "forbidden")
        names = [room["name"] for room in request(server.url, "GET", "/rooms", **bearer(token)).json]
        assert names == ["class-1"]
        with pytest.raises(InvalidStatus) as rejected, member(server.url, "lobby", **bearer(token)):
            pass
        assert rejected.value.response.status_code == 403


def test_a_revoked_token_ends_what_is_connected_by_it(path):
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


def test_a_token_ends_in_time(path):
    token, _ = tokens.add_grant(path, "ada", expires=datetime.now(UTC) + timedelta(seconds=1.5))
    with running_server() as server, member(server.url, **bearer(token)) as one:
        one.until("synced")
        assert one.close_code() == 4401
        assert request(server.url, "GET", "/messages", **bearer(token)).code == "token_expired"


def test_rights_that_change_are_followed(path):
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


def test_a_file_that_is_lost_takes_nothing_away_and_gives_nothing(path):
    token, _ = tokens.add_grant(path, "ada")
    rights = path.with_name("rights.toml")
    rights.write_text('[staff]\n"*" = "none"\n')
    access = CredentialFiles(path, rights)
    for lost in (path, rights):
        kept = lost.read_text()
        lost.unlink()
        with pytest.raises(AccessFileError, match="is missing"):
            access.reload()
        assert not access.reload()
        assert access.grants.find_by_token(token)
        assert access.permissions.role("ada", "staff") is Role.NONE
        lost.write_text(kept)
        lost.chmod(0o600)
        assert access.reload()


def test_sighup_reads_them_at_once(path, home):
    token, _ = tokens.add_grant(path, "ada")
    command = [sys.executable, "-m", "bqserver", "--port=0", "--log=memory"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
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


def test_a_wrong_file_keeps_the_server_from_starting(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("[]")
    path.chmod(0o644)
    with pytest.raises(AccessFileError, match="chmod 600"), running_server():
        pass


def test_grants_without_a_file_are_none():
    assert Grants().find_by_token("anything") is None


@pytest.mark.parametrize("blank", ["\u200b", "\ufe0f", "\u3164", "\u115f", "\u034f", "\u2800", "\U000e0100"])
def test_what_can_not_be_seen_makes_no_other_name(blank):
    assert tokens.normalize_name(f"A{blank}da{blank}") == tokens.normalize_name("ada")
