"""RetentionSize: the messages that exceed a limit, counted in few blocks."""

from __future__ import annotations

from bqserver.storage.retention import BLOCKS_PER_LIMIT, RetentionSize


def counted(limit: int, sizes: list[int]) -> RetentionSize:
    counter = RetentionSize(limit)
    for seq, size in enumerate(sizes, 1):
        counter.add(seq, size)
    return counter


def test_nothing_exceeds_a_limit_that_is_not_reached():
    assert counted(1_000, []).excess_upto() == 0
    assert counted(1_000, [500, 500]).excess_upto() == 0


def test_as_few_messages_as_needed_exceed_the_limit():
    assert counted(1_000, [500, 500, 1]).excess_upto() == 1
    assert counted(1_000, [500, 500, 501]).excess_upto() == 2
    assert counted(1_000, [1_500]).excess_upto() == 1  # a single message may exceed it


def test_small_messages_are_counted_in_blocks_of_a_hundredth():
    size = counted(100_000, [200] * 1_000)
    assert size.bytes == 200_000
    assert size.excess_upto() == 500
    assert len(size._blocks) == 2 * BLOCKS_PER_LIMIT


def test_removed_messages_are_subtracted_in_whole_blocks():
    size = counted(100_000, [200] * 1_000)
    size.remove(499)  # one of the block 496 to 500 remains
    assert (size.bytes, size.excess_upto()) == (101_000, 500)
    size.remove(500)
    assert (size.bytes, size.excess_upto(), size.last_seq) == (100_000, 0, 1_000)
    size.remove(5_000)  # another node has seen more
    assert (size.bytes, size.excess_upto()) == (0, 0)
