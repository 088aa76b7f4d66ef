"""TLS: the server's certificate, followed while the server runs, because certificates are renewed every few weeks."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from pathlib import Path

from bqserver.errors import StartError
from bqserver.files import file_stamp

CHECK_INTERVAL = 1.0
"""Seconds between two checks of the files."""

_log = logging.getLogger("bqserver.tls")


def tls_context(certfile: str, keyfile: str, *, password: str | None = None) -> ssl.SSLContext:
    """Without ``password`` OpenSSL asks for it on the terminal if the key has one.

    Raises StartError unless the files are a certificate and its key.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certfile, keyfile, password)
    except (OSError, ssl.SSLError) as error:
        raise StartError(f"the certificate {certfile} can't be used: {error}") from error
    return context


class CertificateWatcher:
    """Gives ``on_change`` a new context when the files change. If they can't be used, the former ones stay in use."""

    def __init__(self, certfile: str, keyfile: str, on_change: Callable[[ssl.SSLContext], None]) -> None:
        self._certfile = certfile
        self._keyfile = keyfile
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()
        self._read = self._seen = self._stamps()
        self._timer = self._loop.call_later(CHECK_INTERVAL, self._check)

    def reload(self) -> None:
        """Read the files now, changed or not (on SIGHUP)."""
        self._read = self._seen = self._stamps()
        try:
            context = tls_context(self._certfile, self._keyfile, password="")  # never ask on the terminal
        except StartError as error:
            sentence = f"the former certificate stays in use: {error}"
            _log.error(sentence)  # no arguments: another fault is no repetition (RepeatFilter)
        else:
            _log.info("the certificate was reloaded")
            self._on_change(context)

    def close(self) -> None:
        self._timer.cancel()

    def _check(self) -> None:
        """Reload changed files once they have been the same for an interval: both are rarely replaced in one moment."""
        self._timer = self._loop.call_later(CHECK_INTERVAL, self._check)
        before, self._seen = self._seen, self._stamps()
        if self._seen != self._read and self._seen == before:
            self.reload()

    def _stamps(self) -> tuple[object, ...]:
        return file_stamp(Path(self._certfile)), file_stamp(Path(self._keyfile))
