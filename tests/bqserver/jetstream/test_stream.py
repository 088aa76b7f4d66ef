"""The stream's settings and the connection to NATS: what is created, checked, and rejected with what to do."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from bqserver.errors import StartError, StorageError
from bqserver.jetstream.address import StreamAddress, parse_address
from bqserver.jetstream.client import NatsClient
from bqserver.jetstream.stream import setting_problems, stream_settings
from bqserver.storage.nats.log import open_log
from nats.aio.msg import Msg
from support.certificate import self_signed
from support.nats_cluster import nats_cluster

ADDRESS = StreamAddress(["nats://127.0.0.1:4222"], "rooms")
REPUBLISH = stream_settings(ADDRESS, replicas=3, epoch="e")["republish"]


def test_our_own_settings_have_no_problems():
    assert setting_problems(stream_settings(ADDRESS, replicas=3, epoch="e"), ADDRESS, single=False) == []
    assert setting_problems(stream_settings(ADDRESS, replicas=1, epoch="e"), ADDRESS, single=True) == []
    limited = {**stream_settings(ADDRESS, replicas=3, epoch="e"), "max_bytes": 1 << 40}
    assert setting_problems(limited, ADDRESS, single=False) == []  # a full stream refuses, and loses nothing


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"storage": "memory"}, "set its storage to file"),
        ({"num_replicas": 1}, "1 replica, so one lost disk loses messages: set num_replicas to 3"),
        ({"num_replicas": 2}, "2 replicas"),
        ({"duplicate_window": 10_000_000_000}, "for 10 s"),
        ({"subjects": ["other.*"]}, "another program"),
        ({"retention": "workqueue"}, "retention"),
        ({"max_age": 1}, "max_age would remove old messages"),
        ({"max_bytes": 1, "discard": "old"}, "max_bytes would remove old messages"),
        ({"max_msgs_per_subject": 5}, "max_msgs_per_subject"),
        ({"no_ack": True}, "no_ack"),
        ({"persist_mode": "async"}, "persist_mode"),
        ({"sealed": True}, "sealed"),
        ({"allow_direct": False}, "allow_direct"),
        ({"republish": None}, "republish"),
        ({"republish": {**REPUBLISH, "headers_only": True}}, "set its republish to"),
        ({"metadata": {}}, "it has no epoch"),
    ],
)
def test_each_unsafe_setting_is_named_with_what_to_do(changed: dict, problem: str):
    config = {**stream_settings(ADDRESS, replicas=3, epoch="e"), **changed}
    [found] = setting_problems(config, ADDRESS, single=False)
    assert problem in found


@pytest.mark.parametrize("changed", [{"storage": "memory"}, {"duplicate_window": 10_000_000_000}, {"num_replicas": 1}])
def test_a_node_does_not_start_on_a_stream_with_unsafe_settings(nats_single, tmp_path: Path, changed: dict):
    address = parse_address(nats_single.log())

    async def main() -> None:
        client = NatsClient(address)
        await client.open()
        config = {**stream_settings(address, replicas=1, epoch="e"), **changed}
        assert "error" not in await client.api_request(f"STREAM.CREATE.{address.stream}", config)
        await client.close()
        url = nats_single.log(address.stream)
        with pytest.raises(StorageError, match=f"the stream {address.stream} has unsafe settings"):
            await open_log(url, tmp_path / "view.sqlite", single="num_replicas" not in changed)

    asyncio.run(main())
    assert not list(tmp_path.iterdir())


def test_a_single_server_is_rejected_without_single(nats_single, tmp_path: Path):
    with pytest.raises(StorageError, match="3 servers with JetStream are needed, or pass --single for one"):
        asyncio.run(open_log(nats_single.log(), tmp_path / "view.sqlite"))


def test_the_error_names_the_servers_that_do_not_answer(unused_port: int, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("bqserver.jetstream.client.STARTUP_TIMEOUT", 0.3)
    with pytest.raises(StorageError, match=f"no NATS server answers at 127.0.0.1:{unused_port}: .*; start one"):
        asyncio.run(open_log(f"nats://127.0.0.1:{unused_port}", tmp_path / "view.sqlite"))


def test_a_missing_credentials_file_is_named(nats_single, tmp_path: Path):
    with pytest.raises(StartError, match=r"there is no file .*missing\.creds: correct --nats-creds"):
        asyncio.run(
            open_log(nats_single.log(), tmp_path / "v", single=True, credentials=str(tmp_path / "missing.creds"))
        )


def test_a_server_without_sync_always_is_detected_by_its_monitoring_port(
    nats_single, nats_three, tmp_path: Path, unused_port
):
    [late] = nats_single.servers
    view = tmp_path / "view.sqlite"
    with pytest.raises(StorageError, match=r"syncs every 120 s, .* add jetstream \{ sync_interval: always \}"):
        asyncio.run(open_log(nats_single.log(), view, single=True, monitors=[late.monitor]))
    with pytest.raises(StorageError, match=f"127.0.0.1:{unused_port}/varz does not answer"):
        asyncio.run(open_log(nats_single.log(), view, monitors=[f"http://127.0.0.1:{unused_port}"]))

    async def main() -> None:
        log = await open_log(nats_three.log(), view, monitors=[one.monitor for one in nats_three.servers])
        await log.close()

    asyncio.run(main())


def test_tls_needs_the_right_ca(nats_server: str, tmp_path: Path, missing, monkeypatch):
    cert, key = self_signed(tmp_path, missing)
    with nats_cluster(nats_server, tmp_path / "nats", 1, tls=f'{{ cert_file: "{cert}", key_file: "{key}" }}') as one:
        url = one.log().replace("nats://", "tls://ada:secret@").replace("127.0.0.1", "localhost")

        async def main() -> None:
            log = await open_log(url, tmp_path / "view.sqlite", single=True, ca=str(cert))
            await log.close()
            monkeypatch.setattr("bqserver.jetstream.client.STARTUP_TIMEOUT", 2.0)
            with pytest.raises(StorageError, match="CERTIFICATE_VERIFY_FAILED"):
                await open_log(url, tmp_path / "view.sqlite", single=True)

        asyncio.run(main())
    with pytest.raises(StartError, match=r"is not a certificate .*: correct --nats-ca"):
        asyncio.run(open_log(url, tmp_path / "view.sqlite", ca=str(key)))


def test_a_request_that_is_answered_twice_has_one_answer(monkeypatch):
    """As servers may do during a leader election."""

    async def main() -> None:
        client = NatsClient(parse_address("nats://127.0.0.1:1"))
        client.connected.set()

        async def publish(subject: str, payload: bytes, reply: str = "", headers: object = None) -> None:
            handler = client._inboxes[reply.rpartition(".")[2]]
            for data in (b'{"answer": 1}', b'{"answer": 2}'):
                handler(Msg(_client=None, subject=reply, data=data))

        monkeypatch.setattr(client, "publish", publish)
        assert await client.api_request("STREAM.INFO.any") == {"answer": 1}

    asyncio.run(main())
