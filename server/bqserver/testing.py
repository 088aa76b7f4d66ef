"""A real server on a free port, in a thread of this process, for tests and notebooks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from .app import ChatServer, loop_factory


class RunningServer:
    """``url``: the base address. ``token``: the shared token (None with ``open``)."""

    def __init__(self, app: ChatServer) -> None:
        self.app = app
        self._ready = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="bqserver-test")
        self._thread.start()
        self._ready.wait()
        if self._error is not None:
            self._thread.join()
            raise self._error

    @property
    def url(self) -> str:
        return self.app.url

    @property
    def port(self) -> int:
        port = urlsplit(self.url).port
        assert port is not None  # ChatServer always names it
        return port

    @property
    def token(self) -> str | None:
        return self.app.token

    def stop(self) -> None:
        """Stop as SIGTERM does: ``bye`` to every member, finish writing, close. May be called twice."""
        if self._thread.is_alive():
            self.app.stop()
            self._thread.join()

    def __repr__(self) -> str:
        return f"<bqserver at {self.url}>"

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=loop_factory()) as runner:
                runner.run(self.app.serve(lambda _: self._ready.set()))
        except BaseException as error:  # noqa: BLE001 - raised again by __init__
            self._error = error
        finally:
            self._ready.set()


@contextmanager
def running_server(*, log: str = "memory", port: int = 0, **traits: Any) -> Iterator[RunningServer]:
    """A server on a free port of 127.0.0.1, until the end of the block.

    ``log``: as the flag ``--log``. ``traits``: those of ``c.ChatServer``, such as ``open=True``. Raises StartError, also
    as SettingError. Example::

        with running_server(open=True) as server:
            print(server.url)
    """
    server = RunningServer(ChatServer(log_url=log, port=port, **traits))
    try:
        yield server
    finally:
        server.stop()
