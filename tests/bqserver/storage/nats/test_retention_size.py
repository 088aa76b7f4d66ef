"""Counting what a room takes: the oldest that is too much is named, in few blocks, and what went is forgotten."""

from __future__ import annotations

from bqserver.storage.nats.retention import MAX_BLOCKS, MESSAGE_OVERHEAD_BYTES, RetentionSize


def told(limit: int, sizes: list[int]) -> RetentionSize:
    tally = RetentionSize(limit)
    for seq, size in enumerate(sizes, 1):
        tally.add(seq, size - MESSAGE_OVERHEAD_BYTES)
    return tally


def test_nothing_goes_while_it_fits():
    assert told(1_000, []).excess_upto() == 0
    assert told(1_000, [500, 500]).excess_upto() == 0


def test_as_few_go_as_are_too_much():
    assert told(1_000, [500, 500, 1]).excess_upto() == 1
    assert told(1_000, [500, 500, 501]).excess_upto() == 2
    assert told(1_000, [1_500]).excess_upto() == 1  # one alone may be too much


def test_small_ones_are_counted_in_blocks_of_a_hundredth():
    tally = told(100_000, [200] * 1_000)
    assert tally.bytes == 200_000
    assert tally.excess_upto() == 500
    assert len(tally._blocks) == 2 * MAX_BLOCKS


def test_what_went_is_forgotten_in_whole_blocks():
    tally = told(100_000, [200] * 1_000)
    tally.remove(499)  # of the block of 496 to 500 one is left
    assert (tally.bytes, tally.excess_upto()) == (101_000, 500)
    tally.remove(500)
    assert (tally.bytes, tally.excess_upto(), tally.last_seq) == (100_000, 0, 1_000)
    tally.remove(5_000)  # others have seen more
    assert (tally.bytes, tally.excess_upto()) == (0, 0)
