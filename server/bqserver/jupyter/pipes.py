"""Passes bytes on between two connections, in both directions, until they end."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress

from tornado.iostream import IOStream, SSLIOStream, StreamClosedError

CHUNK_BYTES = 64 * 1024
ALL_BYTES = sys.maxsize
END_TIMEOUT = 2.0
"""Seconds that one side has to end after the other."""


async def connect_streams(one: IOStream, other: IOStream, stopped: asyncio.Future[None]) -> None:
    """Pass bytes on until both have ended, or ``stopped`` is done; close both."""
    if sys.platform == "win32" or isinstance(one, SSLIOStream) or isinstance(other, SSLIOStream):
        copies = [asyncio.ensure_future(_copy(one, other)), asyncio.ensure_future(_copy(other, one))]
        await _wait(copies, stopped)
        one.close()
        other.close()
        return
    (first, early), (second, late) = _take_socket(one), _take_socket(other)
    pipes = [_Pipe(first, second, early), _Pipe(second, first, late)]
    await _wait([pipe.ended for pipe in pipes], stopped)
    for pipe in pipes:
        pipe.close()
    first.close()
    second.close()


async def _wait(both: Sequence[asyncio.Future[None]], stopped: asyncio.Future[None]) -> None:
    await asyncio.wait([*both, stopped], return_when=asyncio.FIRST_COMPLETED)
    if not stopped.done():
        await asyncio.wait(both, timeout=END_TIMEOUT)


async def _copy(source: IOStream, target: IOStream) -> None:
    with suppress(StreamClosedError):
        while True:
            data = await source.read_bytes(CHUNK_BYTES, partial=True)
            with suppress(StreamClosedError):  # it is read on, so that it gets the last frames and no reset
                await target.write(data)
    if not target.closed() and not isinstance(target, SSLIOStream):  # TLS has no half-close
        with suppress(OSError):
            target.socket.shutdown(socket.SHUT_WR)


def _take_socket(stream: IOStream) -> tuple[socket.socket, bytes]:
    """The stream's connection as a socket of its own, and what the stream has read already. Closes the stream."""
    taken, read = stream.socket.dup(), b""
    with suppress(StreamClosedError):
        reading = asyncio.ensure_future(stream.read_bytes(ALL_BYTES, partial=True))
        if reading.done():
            read = reading.result()
    stream.close()
    return taken, read


_received = bytearray(CHUNK_BYTES)
"""What a socket has received, until the other has taken it: of all pipes, for one runs at a time."""
_view = memoryview(_received)


class _Pipe:
    """One direction. A message that passes a stream's futures takes several times as long.

    ``ended``: done when ``source`` has ended. What ``target`` does not take holds ``source`` back.
    """

    def __init__(self, source: socket.socket, target: socket.socket, first: bytes) -> None:
        self._loop = asyncio.get_running_loop()
        self._source, self._target = source, target
        self._rest = memoryview(first)
        self._reads: bool | None = None
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self._write()

    def close(self) -> None:
        self._listen(None)
        with suppress(OSError):
            self._target.shutdown(socket.SHUT_WR)
        if not self.ended.done():
            self.ended.set_result(None)

    def _read(self) -> None:
        try:
            size = self._source.recv_into(_received)
        except BlockingIOError:
            return
        except OSError:
            size = 0
        if not size:
            self.close()
        elif rest := self._send(_view[:size]):
            self._rest = memoryview(bytes(rest))
            self._listen(reads=False)

    def _write(self) -> None:
        if self._rest:
            self._rest = self._send(self._rest)
        self._listen(not self._rest)

    def _send(self, data: memoryview) -> memoryview:
        """Returns what the target does not take now."""
        try:
            return data[self._target.send(data) :]
        except BlockingIOError:
            return data
        except OSError:  # it has ended; the source is read on, so that it gets the last frames and no reset
            return data[:0]

    def _listen(self, reads: bool | None) -> None:  # noqa: FBT001 - None: to neither
        if reads == self._reads:
            return
        if self._reads is not None:
            self._loop.remove_reader(self._source) if self._reads else self._loop.remove_writer(self._target)
        self._reads = reads
        if reads is not None:
            self._loop.add_reader(self._source, self._read) if reads else self._loop.add_writer(
                self._target, self._write
            )
