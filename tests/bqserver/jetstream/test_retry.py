"""``retry``: what is repeated, when it ends, and what is raised then."""

from __future__ import annotations

import asyncio

import nats.errors
import pytest
from bqserver.errors import ClusterError
from bqserver.jetstream.retry import retry


class Call:
    """Raises the given errors one after the other, then returns the number of calls."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.count = 0

    async def __call__(self) -> int:
        self.count += 1
        if self.errors:
            raise self.errors.pop(0)
        return self.count


def failure(reason: str) -> ClusterError:
    return ClusterError(f"it failed: {reason}")


def test_a_call_is_repeated_until_it_succeeds():
    call = Call(TimeoutError(), nats.errors.NoRespondersError(), ConnectionResetError())
    assert asyncio.run(retry(call, failure, interval=0, time_limit=20)) == 4


def test_after_the_last_attempt_the_failure_has_the_text_of_the_last_error():
    call = Call(TimeoutError("first"), TimeoutError("second"), TimeoutError("third"))
    with pytest.raises(ClusterError, match=r"^it failed: second$") as raised:
        asyncio.run(retry(call, failure, interval=0, max_attempts=2))
    assert call.count == 2
    assert isinstance(raised.value.__cause__, TimeoutError)


def test_an_error_after_the_time_limit_is_the_last():
    call = Call(*[TimeoutError()] * 3)
    with pytest.raises(ClusterError, match=r"^it failed: TimeoutError$"):
        asyncio.run(retry(call, failure, interval=0, time_limit=-1))
    assert call.count == 1


def test_a_success_after_the_time_limit_counts():
    assert asyncio.run(retry(Call(), failure, interval=0, time_limit=-1)) == 1


def test_only_the_given_errors_are_repeated():
    call = Call(KeyError("a"), ValueError("b"))
    with pytest.raises(ValueError, match="b"):
        asyncio.run(retry(call, failure, interval=0, errors=(KeyError,)))


def test_the_interval_is_waited_between_attempts_and_not_after_the_last(monkeypatch):
    waits = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr("bqserver.jetstream.retry.asyncio.sleep", sleep)
    with pytest.raises(ClusterError):
        asyncio.run(retry(Call(*[OSError()] * 3), failure, interval=0.25, max_attempts=3))
    assert waits == [0.25, 0.25]
