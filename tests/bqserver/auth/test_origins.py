"""The allow-lists for Host and Origin, also against DNS rebinding."""

from __future__ import annotations

import pytest
from bqserver.auth.origins import Origins, is_loopback

LOCAL = "127.0.0.1"


@pytest.mark.parametrize("host", ["127.0.0.1:8765", "localhost:8765", "LOCALHOST", "[::1]:8765", "127.0.0.1"])
def test_loopback_names_are_accepted_on_loopback(host):
    assert Origins().allows_host(host, LOCAL)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8765",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "",
        "10.0.0.1:8765",
    ],
)
def test_other_host_names_are_rejected(host):
    assert not Origins().allows_host(host, LOCAL)


def test_a_loopback_name_on_a_network_connection_is_rejected():
    assert not Origins().allows_host("localhost:8765", "192.0.2.7")


def test_the_servers_address_and_listed_names_are_accepted():
    origins = Origins(hosts=["chat.example.org", "other.example:444"])
    assert origins.allows_host("192.0.2.7:8765", "192.0.2.7")
    assert origins.allows_host("chat.example.org:8765", "192.0.2.7")
    assert origins.allows_host("other.example:444", "192.0.2.7")
    assert not origins.allows_host("other.example:445", "192.0.2.7")
    assert not origins.allows_host("192.0.2.8:8765", "192.0.2.7")


def test_the_servers_own_origin_and_listed_origins_are_accepted():
    origins = Origins(origins=["https://app.example/"])
    assert origins.allows_origin("http://127.0.0.1:8765", "127.0.0.1:8765", "http")
    assert origins.allows_origin("https://app.example", "127.0.0.1:8765", "http")
    assert origins.allows_cors("https://app.example")


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "https://127.0.0.1:8765",
        "http://127.0.0.1",
        "http://127.0.0.1:9999",
        "http://localhost:8765",
        "http://127.0.0.1:8765.evil.example",
        "http://evil.example",
        "https://app.example.evil",
        "http://app.example",
        "",
    ],
)
def test_other_origins_are_rejected(origin):
    origins = Origins(origins=["https://app.example"])
    assert not origins.allows_origin(origin, "127.0.0.1:8765", "http")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", False),
        ("", False),
        ("192.0.2.7", False),
        ("example.org", False),
    ],
)
def test_loopback_addresses_are_recognised(address, expected):
    assert is_loopback(address) is expected
