"""Counting what a room takes: the oldest that is too much is named, in few blocks, and what went is forgotten."""

from __future__ import annotations

from bqserver.storage.nats.retention import BLOCKS, RECORD, Tally


def told(limit: int, sizes: list[int]) -> Tally:
    tally = Tally(limit)
    for seq, size in enumerate(sizes, 1):
        tally.add(seq, size - RECORD)
    return tally


def test_nothing_goes_while_it_fits():
    assert told(1_000, []).due() == 0
    assert told(1_000, [500, 500]).due() == 0


def test_as_few_go_as_are_too_much():
    assert told(1_000, [500, 500, 1]).due() == 1
    assert told(1_000, [500, 500, 501]).due() == 2
    assert told(1_000, [1_500]).due() == 1  # one alone may be too much


def test_small_ones_are_counted_in_blocks_of_a_hundredth():
    tally = told(100_000, [200] * 1_000)
    assert tally.bytes == 200_000
    assert tally.due() == 500
    assert len(tally._blocks) == 2 * BLOCKS


def test_what_went_is_forgotten_in_whole_blocks():
    tally = told(100_000, [200] * 1_000)
    tally.forget(499)  # of the block of 496 to 500 one is left
    assert (tally.bytes, tally.due()) == (101_000, 500)
    tally.forget(500)
    assert (tally.bytes, tally.due(), tally.last) == (100_000, 0, 1_000)
    tally.forget(5_000)  # others have seen more
    assert (tally.bytes, tally.due()) == (0, 0)
