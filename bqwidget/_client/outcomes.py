"""Outcomes of drafts, for the threads that wait for them."""

from __future__ import annotations

from concurrent.futures import Future

from bqwidget.errors import ConnectionRefused, MessageRefused
from bqwidget.protocol import Error

from .outbox import Delivery


def to_refusal(error: Exception) -> Exception:
    """The error of a failed upload, as the error of its message."""
    if not isinstance(error, ConnectionRefused):
        return error
    return MessageRefused(error.code or "refused", str(error), status=error.status, retry_after=error.retry_after)


def resolve(future: Future[Delivery], result: Delivery | Error) -> None:
    if isinstance(result, Error):
        future.set_exception(MessageRefused(result.code, result.message))
    else:
        future.set_result(result)
