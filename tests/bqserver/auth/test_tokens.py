"""Named tokens: the file, identities and roles, and a running server."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta

import pytest
from bqserver.auth import tokens
from bqserver.auth.authenticator import EXPIRED, REVOKED, SESSION_ENDED, Authenticator
from bqserver.auth.identity import Identity
from bqserver.auth.permissions import parse_permissions
from bqserver.auth.tokens import Grants, parse_grants, read_grants
from bqserver.errors import AccessFileError
from bqserver.model import Role
from bqserver.testing import running_server
from support.ws_client import member, request
from websockets.exceptions import InvalidStatus

NOW = datetime(2027, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def path(home):
    return home / "data" / "tokens.json"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


# ---- the file


def test_the_file_is_private_and_does_not_contain_the_token(path):
    token, grant = tokens.add_grant(path, "ada")
    assert token.startswith("bq_")
    assert len(token) > 43
    assert token not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_grants(path).find_by_token(token) == grant
    assert read_grants(path).find_by_token(token + "x") is None
    assert read_grants(path).find_by_token(grant.sha256) is None


def test_tokens_are_revoked_by_id_or_all_by_name(path):
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


def test_the_name_of_a_revoked_token_stays_reserved(path):
    tokens.add_grant(path, "Ada")
    tokens.revoke_grants(path, "Ada")
    grants = read_grants(path)
    assert all(grants.has_name(name) for name in ("Ada", "ada", " ADA ", "a\u200bda", "\u202eada", "ａｄａ", "ada\0"))
    assert not grants.has_name("adam")


@pytest.mark.parametrize("name", ["", " ada", "a" * 65, "a\nb", "a\u202eb"])
def test_an_invalid_name_is_an_error(path, name):
    with pytest.raises(AccessFileError, match="is not a name"):
        tokens.add_grant(path, name)
    assert not path.exists()


def test_a_file_that_others_can_read_is_an_error(path):
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
def test_the_error_of_a_faulty_file_names_the_field(data, names):
    with pytest.raises(AccessFileError, match=names):
        parse_grants(data)


# ---- identities and roles


def make_authenticator(path, *, rights: str = "", now: datetime = NOW) -> Authenticator:
    return Authenticator(
        token="shared",
        is_open=False,
        clock=now.timestamp,
        grants=read_grants(path),
        permissions=parse_permissions(rights),
    )


def test_the_principal_is_the_tokens_name(path):
    token, grant = tokens.add_grant(path, "ada")
    assert make_authenticator(path).identify(f"Bearer {token}", None) == Identity("ada", is_program=True, grant=grant)


def test_expired_and_revoked_tokens_are_denied_with_the_reason(path):
    token, _ = tokens.add_grant(path, "ada", expires=NOW)
    assert make_authenticator(path).identify(f"Bearer {token}", None) == EXPIRED
    assert isinstance(
        make_authenticator(path, now=NOW - timedelta(seconds=1)).identify(f"Bearer {token}", None), Identity
    )
    tokens.revoke_grants(path, "ada")
    assert make_authenticator(path).identify(f"Bearer {token}", None) == REVOKED


def test_the_role_is_limited_by_token_and_holder(path):
    everywhere, _ = tokens.add_grant(path, "ada")
    limited, _ = tokens.add_grant(path, "ada", rooms=["class-*"])
    reader, _ = tokens.add_grant(path, "ada", read_only=True)
    authenticator = make_authenticator(path, rights='[staff]\nada = "none"\n["*"]\nada = "moderate"')
    role = lambda token, room: authenticator.role(authenticator.identify(f"Bearer {token}", None), room)  # noqa: E731
    assert [role(everywhere, room) for room in ("lobby", "class-1", "staff")] == [3, 3, 0]
    assert [role(limited, room) for room in ("lobby", "class-1", "staff")] == [0, 3, 0]
    assert [role(reader, room) for room in ("lobby", "class-1", "staff")] == [1, 1, 0]


def test_an_unverified_member_can_not_moderate(path):
    authenticator = make_authenticator(path, rights='["*"]\n"*" = "moderate"')
    assert authenticator.role(authenticator.identify("Bearer shared", None), "lobby") is Role.WRITE


def test_a_guests_role_and_session_depend_on_the_inviters_token(path):
    token, grant = tokens.add_grant(path, "ada", rooms=["lobby"])
    authenticator = make_authenticator(path, rights='["*"]\n"*" = "write"\nada = "read"')
    ada = authenticator.identify(f"Bearer {token}", None)
    session = authenticator.redeem_local_invite(authenticator.create_local_invite(uses=1, minutes=1, by=ada))
    guest = authenticator.identify(None, session.encode())
    assert guest == Identity(None, grant=grant)
    assert authenticator.role(guest, "lobby") is Role.READ
    assert authenticator.role(guest, "staff") is Role.NONE
    tokens.revoke_grants(path, "ada")
    authenticator.grants = read_grants(path)
    assert authenticator.identify(None, session.encode()) == SESSION_ENDED
    assert authenticator.revalidate(guest) == REVOKED


def test_an_invite_for_oneself_keeps_the_verified_name(path):
    token, grant = tokens.add_grant(path, "ada")
    authenticator = make_authenticator(path)
    ada = authenticator.identify(f"Bearer {token}", None)
    session = authenticator.redeem_local_invite(
        authenticator.create_local_invite(uses=1, minutes=1, by=ada, myself=True)
    )
    assert authenticator.identify(None, session.encode()) == Identity("ada", grant=grant)


def test_the_invite_of_a_revoked_token_is_invalid(path):
    token, _ = tokens.add_grant(path, "ada")
    authenticator = make_authenticator(path)
    code = authenticator.create_local_invite(uses=1, minutes=1, by=authenticator.identify(f"Bearer {token}", None))
    tokens.revoke_grants(path, "ada")
    authenticator.grants = read_grants(path)
    assert authenticator.redeem_local_invite(code) is None


# ---- on a running server


def test_a_named_token_overrides_the_claimed_user_name(path):
    token, _ = tokens.add_grant(path, "ada")
    with running_server() as server:
        posted = request(server.url, "POST", "/messages", {"user": "bob", "text": "hi", "cid": "1"}, **bearer(token))
        assert (posted.status, posted.json["user"], posted.json["verified"]) == (201, "ada", True)
        again = request(server.url, "POST", "/messages", {"user": "bob", "text": "hi", "cid": "1"}, **bearer(token))
        assert again.status == 200
        with member(server.url, query="?user=eve", **bearer(token)) as one:
            assert one.recv()["user"] == "ada"
            one.say("by socket", user="bob")
            entry = one.until("message")["entry"]
            assert (entry["user"], entry["verified"]) == ("ada", True)
            one.send({"type": "chat.typing", "user": "bob"})
            assert [m["user"] for m in one.until("presence")["members"]] == ["ada"]


def test_the_holder_of_an_agents_token_is_shown_as_an_agent(path):
    token, grant = tokens.add_grant(path, "helper", kind="agent")
    assert tokens.read_grants(path).all == (grant,)
    with running_server() as server, member(server.url, query="?kind=kernel&user=x", **bearer(token)) as one:
        shown = one.until("presence")["members"]
        assert [(each["user"], each["kind"]) for each in shown] == [("helper", "agent")]
        posted = request(server.url, "POST", "/messages", {"user": "x", "text": "hi"}, **bearer(token)).json
        assert (posted["user"], posted["author_kind"]) == ("helper", "agent")


def test_others_can_not_use_the_name_of_a_token_holder(path):
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
            refusal = one.until("error")
            assert (refusal["code"], refusal["field"]) == ("name_taken", "user")
        with pytest.raises(InvalidStatus) as rejected, member(server.url, query="?user=ada", **shared):
            pass
        assert rejected.value.response.status_code == 403


def test_a_read_only_token_can_only_read(path):
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


def test_a_token_for_some_rooms_is_rejected_in_others(path):
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


def test_no_token_is_valid_without_a_file():
    assert Grants().find_by_token("anything") is None


@pytest.mark.parametrize("blank", ["\u200b", "\ufe0f", "\u3164", "\u115f", "\u034f", "\u2800", "\U000e0100"])
def test_invisible_characters_do_not_make_a_different_name(blank):
    assert tokens.normalize_name(f"A{blank}da{blank}") == tokens.normalize_name("ada")
