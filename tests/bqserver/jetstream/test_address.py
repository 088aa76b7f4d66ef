"""A cluster's address: how ``--log=nats://...`` is parsed, and which ones are rejected."""

from __future__ import annotations

import pytest
from bqserver.errors import SettingError
from bqserver.jetstream.address import StreamAddress, parse_address


@pytest.mark.parametrize(
    ("url", "servers", "stream"),
    [
        ("nats://n1", ["nats://n1:4222"], "bqwidget"),
        ("nats://n1:4333/chat", ["nats://n1:4333"], "chat"),
        ("nats://n1,n2:4333,n3/x", ["nats://n1:4222", "nats://n2:4333", "nats://n3:4222"], "x"),
        ("tls://ada:se:cret@n1,n2", ["tls://ada:se:cret@n1:4222", "tls://ada:se:cret@n2:4222"], "bqwidget"),
        ("nats://[::1]:4333/", ["nats://[::1]:4333"], "bqwidget"),
    ],
)
def test_an_address_names_servers_and_a_stream(url: str, servers: list[str], stream: str):
    assert parse_address(url) == StreamAddress(servers, stream)


@pytest.mark.parametrize(
    "url", ["nats://", "nats://n1,", "nats://n1:x", "nats://n1:99999", "nats://n1/a.b", "nats://n1/*"]
)
def test_an_invalid_address_is_rejected_with_the_reason(url: str):
    with pytest.raises(SettingError, match=r"is not host or host:port|can't be a stream's name"):
        parse_address(url)


def test_the_error_of_an_invalid_address_does_not_contain_its_password():
    with pytest.raises(SettingError) as raised:
        parse_address("nats://ada:secret@n1:x")
    assert "secret" not in str(raised.value)
