"""HTTP answers of 4xx and 5xx, as JSON: ``{"error": {"code", "message", "field"?}}``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tornado.web import HTTPError

from bqserver.model import Rejected
from bqwidget.errors import ProtocolError
from bqwidget.protocol import encode


class ApiError(HTTPError):
    """An HTTP answer of 4xx or 5xx with the wire's ``code`` and ``message``. ``retry_after``: seconds.

    ``field``: the path of the field that is to blame.
    """

    def __init__(
        self, status: int, code: str, message: str, *, retry_after: float | None = None, field: str | None = None
    ) -> None:
        super().__init__(status, log_message=message.replace("%", "%%"))
        self.code = code
        self.message = message
        self.retry_after = retry_after
        self.field = field

    @classmethod
    def of(cls, refused: Rejected) -> ApiError:
        return cls(refused.status, refused.code, refused.message, retry_after=refused.retry_after, field=refused.field)


@contextmanager
def bad_request() -> Iterator[None]:
    """Turn a ProtocolError into a 400 that names the field."""
    try:
        yield
    except ProtocolError as error:
        raise ApiError.of(Rejected.of(error)) from None


def error_body(code: str, message: str, field: str | None = None) -> bytes:
    error = {"code": code, "message": message}
    return encode({"error": error if field is None else {**error, "field": field}})
