"""What a reverse proxy does at the least: another address in front of a server, with the path and Host left alone."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def forwarder(target: int) -> Iterator[int]:
    """The port in front of ``target``. What is connected at the end is cut off."""
    front = socket.create_server(("127.0.0.1", 0))
    ends: list[socket.socket] = [front]
    threads: list[threading.Thread] = []

    def start(work, *args: socket.socket) -> None:
        threads.append(threading.Thread(target=work, args=args))
        threads[-1].start()

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = front.accept()
                ends.append(client)
                with suppress(ConnectionRefusedError):
                    ends.append(socket.create_connection(("127.0.0.1", target)))
                    start(pipe, client, ends[-1])
                    start(pipe, ends[-1], client)

    start(accept)
    try:
        yield front.getsockname()[1]
    finally:
        for end in ends:
            cut(end)
        for thread in threads:
            thread.join()
        for end in ends:
            end.close()


def pipe(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    cut(source)
    cut(sink)


def cut(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
