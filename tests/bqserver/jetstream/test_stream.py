"""The stream's address and settings: what is understood, made, and refused with what to do."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from bqserver.errors import SettingError, StartError, StorageError
from bqserver.jetstream.client import JetStreamClient
from bqserver.jetstream.stream import StreamAddress, parse_address, setting_problems, stream_settings
from bqserver.storage.nats.log import open_log
from nats.aio.msg import Msg
from support.certificate import self_signed
from support.nats_cluster import nats_cluster

ADDRESS = StreamAddress(["nats://127.0.0.1:4222"], "rooms")


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
def test_a_wrong_address_is_refused_by_what_is_wrong(url: str):
    with pytest.raises(SettingError, match=r"no host:port|can't be a stream's name"):
        parse_address(url)


def test_a_wrong_address_never_tells_its_password():
    with pytest.raises(SettingError) as refused:
        parse_address("nats://ada:secret@n1:x")
    assert "secret" not in str(refused.value)


def test_our_own_settings_break_no_promise():
    assert setting_problems(stream_settings(ADDRESS, replicas=3, epoch="e"), ADDRESS, single=False) == []
    assert setting_problems(stream_settings(ADDRESS, replicas=1, epoch="e"), ADDRESS, single=True) == []
    limited = {**stream_settings(ADDRESS, replicas=3, epoch="e"), "max_bytes": 1 << 40}
    assert setting_problems(limited, ADDRESS, single=False) == []  # full, it refuses, and keeps what it has


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"storage": "memory"}, "set its storage to file"),
        ({"num_replicas": 1}, "1 replica, so one lost disk loses messages: set num_replicas to 3"),
        ({"num_replicas": 2}, "2 replicas"),
        ({"duplicate_window": 10_000_000_000}, "for 10 s"),
        ({"subjects": ["other.*"]}, "another program's"),
        ({"retention": "workqueue"}, "retention"),
        ({"max_age": 1}, "max_age would let messages go"),
        ({"max_bytes": 1, "discard": "old"}, "max_bytes would let messages go"),
        ({"max_msgs_per_subject": 5}, "max_msgs_per_subject"),
        ({"no_ack": True}, "no_ack"),
        ({"persist_mode": "async"}, "persist_mode"),
        ({"sealed": True}, "sealed"),
        ({"allow_direct": False}, "allow_direct"),
        ({"republish": None}, "republish"),
        ({"metadata": {}}, "epoch"),
    ],
)
def test_each_setting_that_breaks_a_promise_is_named_with_what_to_do(changed: dict, says: str):
    config = {**stream_settings(ADDRESS, replicas=3, epoch="e"), **changed}
    [complaint] = setting_problems(config, ADDRESS, single=False)
    assert says in complaint


@pytest.mark.parametrize(
    "changed", [{"storage": "memory"}, {"duplicate_window": 10_000_000_000}, {"num_replicas": 1}]
)
def test_a_node_does_not_start_on_such_a_stream(nats_single, tmp_path: Path, changed: dict):
    address = parse_address(nats_single.log())

    async def story() -> None:
        client = JetStreamClient(address)
        await client.open()
        config = {**stream_settings(address, replicas=1, epoch="e"), **changed}
        assert "error" not in await client.request(f"STREAM.CREATE.{address.stream}", config)
        await client.close()
        url = nats_single.log(address.stream)
        with pytest.raises(StorageError, match=f"the stream {address.stream} would break a promise"):
            await open_log(url, tmp_path / "view.sqlite", single="num_replicas" not in changed)

    asyncio.run(story())
    assert not list(tmp_path.iterdir())


def test_one_server_is_no_cluster_unless_that_is_meant(nats_single, tmp_path: Path):
    with pytest.raises(StorageError, match="3 servers with JetStream are needed, or say --single for one"):
        asyncio.run(open_log(nats_single.log(), tmp_path / "view.sqlite"))


def test_where_no_server_answers_it_says_which(unused_port: int, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("bqserver.jetstream.client.STARTUP_TIMEOUT", 0.3)
    with pytest.raises(
        StorageError, match=f"no NATS server answers at 127.0.0.1:{unused_port}: .*; start it"
    ):
        asyncio.run(open_log(f"nats://127.0.0.1:{unused_port}", tmp_path / "view.sqlite"))


def test_credentials_that_are_not_there_are_named(nats_single, tmp_path: Path):
    with pytest.raises(StartError, match=r"there is no file .*nobody\.creds: see to --nats-creds"):
        asyncio.run(
            open_log(
                nats_single.log(), tmp_path / "v", single=True, credentials=str(tmp_path / "nobody.creds")
            )
        )


def test_a_server_that_syncs_late_is_found_out_by_its_monitoring(
    nats_single, nats_three, tmp_path: Path, unused_port
):
    [late] = nats_single.servers
    view = tmp_path / "view.sqlite"
    with pytest.raises(
        StorageError, match=r"syncs every 120 s, .* give it jetstream \{ sync_interval: always \}"
    ):
        asyncio.run(open_log(nats_single.log(), view, single=True, monitors=[late.monitor]))
    with pytest.raises(StorageError, match=f"127.0.0.1:{unused_port}/varz says nothing"):
        asyncio.run(open_log(nats_single.log(), view, monitors=[f"http://127.0.0.1:{unused_port}"]))

    async def story() -> None:
        log = await open_log(nats_three.log(), view, monitors=[one.monitor for one in nats_three.servers])
        await log.close()

    asyncio.run(story())


def test_over_tls_only_the_right_ca_will_do(nats_server: str, tmp_path: Path, missing, monkeypatch):
    monkeypatch.setattr("bqserver.jetstream.client.STARTUP_TIMEOUT", 2.0)
    cert, key = self_signed(tmp_path, missing)
    with nats_cluster(
        nats_server, tmp_path / "nats", 1, tls=f'{{ cert_file: "{cert}", key_file: "{key}" }}'
    ) as one:
        url = one.log().replace("nats://", "tls://ada:secret@").replace("127.0.0.1", "localhost")

        async def story() -> None:
            log = await open_log(url, tmp_path / "view.sqlite", single=True, ca=str(cert))
            await log.close()
            with pytest.raises(StorageError, match="CERTIFICATE_VERIFY_FAILED"):
                await open_log(url, tmp_path / "view.sqlite", single=True)

        asyncio.run(story())
    with pytest.raises(StartError, match="is no certificate: see to --nats-ca"):
        asyncio.run(open_log(url, tmp_path / "view.sqlite", ca=str(key)))


def test_a_question_that_is_answered_twice_has_one_answer(monkeypatch):
    """As servers do that elect a leader just then."""

    async def story() -> None:
        client = JetStreamClient(parse_address("nats://127.0.0.1:1"))
        client.connected.set()

        async def publish(subject: str, payload: bytes, reply: str = "", headers: object = None) -> None:
            heard = client._inboxes[reply.rpartition(".")[2]]
            for data in (b'{"answer": 1}', b'{"answer": 2}'):
                heard(Msg(_client=None, subject=reply, data=data))

        monkeypatch.setattr(client, "publish", publish)
        assert await client.request("STREAM.INFO.any") == {"answer": 1}

    asyncio.run(story())
