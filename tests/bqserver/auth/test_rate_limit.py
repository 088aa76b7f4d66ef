"""The sliding window, with the time passed in."""

from __future__ import annotations

from bqserver.auth.rate_limit import RateLimit


def test_events_above_the_count_have_to_wait():
    limit = RateLimit(2, 10)
    assert [limit.acquire("ada", now) for now in (0.0, 1.0, 2.0)] == [0, 0, 8]
    assert limit.acquire("bob", 2.0) == 0
    assert limit.acquire("ada", 10.0) == 0
    assert limit.acquire("ada", 10.5) == 0.5


def test_a_count_of_zero_means_no_limit():
    limit = RateLimit(0, 10)
    assert not any(limit.acquire("ada", 0.0) for _ in range(1000))


def test_keys_without_recent_events_are_removed():
    limit = RateLimit(1, 10)
    for number in range(100):
        limit.acquire(f"user {number}", 0.0)
    limit.acquire("ada", 50.0)
    assert len(limit._times) == 1


def test_peek_counts_nothing():
    limit = RateLimit(1, 10)
    assert [limit.peek("ada", now) for now in (0.0, 1.0)] == [0, 0]
    limit.acquire("ada", 2.0)
    assert limit.peek("ada", 5.0) == 7
