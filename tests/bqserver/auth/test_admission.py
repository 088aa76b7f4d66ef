"""Wrong tokens, joins and connections are counted; a rejection says when to try again."""

from __future__ import annotations

from collections import Counter

import pytest
from bqserver.app import ChatServer
from bqserver.auth import tokens
from bqserver.auth.admission import ConnectionLimiter, LoginThrottle
from bqserver.hub.dispatch import MAX_CONSECUTIVE_REJECTIONS
from bqserver.testing import running_server
from support.eventually import eventually
from support.ws_client import member, request
from websockets.exceptions import InvalidStatus


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_failures_lock_an_address_except_for_credentials_known_from_there():
    clock = Clock()
    throttle = LoginThrottle(failures=2, clock=clock)
    throttle.record_success("10.0.0.1", "Bearer right")
    for _ in range(2):
        assert throttle.check("10.0.0.1", "Bearer guess") is None
        throttle.record_failure("10.0.0.1")
    assert throttle.check("10.0.0.1", "Bearer guess").status == 429
    assert throttle.check("10.0.0.1", "Bearer right") is None
    assert throttle.check("10.0.0.2", "Bearer guess") is None
    clock.now = 60.0
    assert throttle.check("10.0.0.1", "Bearer guess") is None


def test_too_many_connections_are_rejected_in_total_and_by_address():
    limiter = ConnectionLimiter(max_connections=3, max_per_address=2, clock=Clock())
    assert limiter.check("a", "10.0.0.1", Counter({"10.0.0.1": 1})) is None
    assert limiter.check("a", "10.0.0.1", Counter({"10.0.0.1": 2})).code == "too_many_connections"
    assert limiter.check("a", "10.0.0.2", Counter({"10.0.0.1": 2, "10.0.0.2": 1})).code == "full"


def test_limits_are_off_on_loopback_and_on_elsewhere():
    def limits(**traits: object) -> tuple[int, int, int]:
        server = ChatServer(**traits)
        limiter = server.connection_limiter()
        return limiter.joins.count, server.login_throttle().failures.count, limiter.max_per_address

    assert limits() == (0, 0, 0)
    assert limits(ip="0.0.0.0") == limits(behind_proxy=True) == (100, 20, 1000)
    assert limits(ip="0.0.0.0", join_limit=1, failure_limit=2, max_connections_each=3) == (1, 2, 3)
    assert ChatServer().connection_limiter().max_connections > 0  # what open files allow


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_a_locked_address_gets_429_even_with_a_valid_token(home):
    newcomer, _ = tokens.add_grant(home / "data" / "tokens.json", "ada")
    with running_server(failure_limit=5) as server:
        assert request(server.url, "GET", "/messages", **bearer(server.token)).status == 200
        found = [request(server.url, "GET", "/messages", **bearer(f"guess-{n}")) for n in range(7)]
        assert [answer.status for answer in found] == [401] * 5 + [429] * 2
        assert found[-1].code == "too_many_failures"
        assert 1 <= int(found[-1].headers["Retry-After"]) <= 60
        assert request(server.url, "GET", "/messages", **bearer(newcomer)).status == 429
        assert request(server.url, "GET", "/messages", **bearer(server.token)).status == 200
        with pytest.raises(InvalidStatus) as refused, member(server.url, **bearer("guess-8")):
            pass
        assert refused.value.response.status_code == 429


def test_guessed_invites_count_as_failures(home):
    with running_server(failure_limit=2) as server:
        made = request(server.url, "POST", "/invites", {}, **bearer(server.token)).json
        swap = lambda code: request(server.url, "POST", "/session", {"invite": code}, Origin=server.url)  # noqa: E731
        assert [swap(code).status for code in ("a", "b", "c", made["code"])] == [403, 403, 429, 429]


def test_joins_are_counted_by_member(home):
    tokens_file = home / "data" / "tokens.json"
    ada, bob = (tokens.add_grant(tokens_file, name)[0] for name in ("ada", "bob"))
    with running_server(join_limit=2) as server:
        for _ in range(2):
            with member(server.url, **bearer(ada)) as one:
                one.recv()
        with pytest.raises(InvalidStatus) as refused, member(server.url, **bearer(ada)):
            pass
        answer = refused.value.response
        assert answer.status_code == 429
        assert b"too_many_joins" in answer.body
        assert 1 <= int(answer.headers["Retry-After"]) <= 10
        with member(server.url, **bearer(bob)) as other:
            other.recv()


@pytest.mark.parametrize(
    ("traits", "status", "code"),
    [({"max_connections": 1}, 503, b"full"), ({"max_connections_each": 1}, 429, b"too_many_connections")],
)
def test_a_member_can_join_again_after_another_has_left(home, traits, status, code):
    with running_server(open=True, **traits) as server:
        with member(server.url) as one:
            one.recv()
            with pytest.raises(InvalidStatus) as refused, member(server.url):
                pass
            answer = refused.value.response
            assert (answer.status_code, code in answer.body) == (status, True)
            assert int(answer.headers["Retry-After"]) == 10
            assert request(server.url, "GET", "/messages").status == 200

        def joins() -> bool:
            try:
                with member(server.url) as other:
                    return other.recv()["type"] == "hello"
            except InvalidStatus:
                return False

        eventually(joins, what="the free place")


def test_messages_are_counted_by_member_and_a_flood_closes_the_connection(home):
    ada, _ = tokens.add_grant(home / "data" / "tokens.json", "ada")
    with running_server(rate_limit=3, rate_seconds=600) as server:
        with member(server.url, **bearer(ada)) as one, member(server.url, **bearer(ada)) as other:
            one.until("synced")
            for number in range(3):
                one.say(str(number), cid=f"c{number}")
            one.texts(3)
            other.say("as the same member", cid="d1")
            error = other.until("error")
            assert (error["code"], error["cid"]) == ("rate", "d1")
            assert 0 < error["retry_ms"] <= 600_000
            for number in range(MAX_CONSECUTIVE_REJECTIONS + 1):  # one more could find the connection closed
                one.say("flood", cid=f"f{number}")
            assert one.close_code() == 4029
        refused = request(server.url, "POST", "/messages", {"user": "x", "text": "hi"}, **bearer(ada))
        assert (refused.status, refused.code) == (429, "rate")
        assert 1 <= int(refused.headers["Retry-After"]) <= 600


def test_forwarded_addresses_are_trusted_only_behind_a_proxy(home):
    wrong = {**bearer("guess"), "X_Forwarded_For": "192.0.2.9"}
    for behind_proxy, free in ((True, 401), (False, 429)):
        with running_server(failure_limit=1, behind_proxy=behind_proxy) as server:
            assert request(server.url, "GET", "/messages", **bearer("guess")).status == 401
            assert request(server.url, "GET", "/messages", **wrong).status == free


def test_behind_an_https_proxy_the_cookie_is_secure(home):
    with running_server(behind_proxy=True, allow_host=["chat.example"]) as server:
        made = request(server.url, "POST", "/invites", {}, **bearer(server.token)).json
        proxied = {"Host": "chat.example", "X_Forwarded_Proto": "https", "Origin": "https://chat.example"}
        answer = request(server.url, "POST", "/session", {"invite": made["code"]}, **proxied)
        assert answer.status == 204
        assert "Secure" in answer.headers["Set-Cookie"]
        plain = {**proxied, "Origin": "http://chat.example"}
        assert request(server.url, "POST", "/session", {"invite": "x"}, **plain).code == "bad_origin"
