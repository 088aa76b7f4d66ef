"""How fast a room's list takes in what its socket brings: ``python tests/benchmarks/kernel.py [--burst 20000]``.

A ``Room`` as notebooks have it on one core; on the other a bqserver, and a member that says a burst. Timed from
the burst's begin until ``room.messages`` holds its last message, with 1,000 and with 100,000 messages kept; and
the CPU of the room's process for each message.

Every burst is checked: each message once, in order. Needs Linux and ``taskset``.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import sys
import time
from multiprocessing.connection import Connection

from scale import Member, running

from bqwidget import Room

KEPT = (1_000, 100_000)


def main() -> None:
    parser = argparse.ArgumentParser(description="How fast a room's list takes in what its socket brings.")
    parser.add_argument("--burst", type=int, default=20_000, help="messages (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="(default: %(default)s)")
    options = parser.parse_args()
    os.sched_setaffinity(0, {1})
    costs = [measure(kept, options.burst, options.rounds) for kept in KEPT]
    print(f"a message with {KEPT[1]:,} kept costs {costs[1] / costs[0]:.2f} of one with {KEPT[0]:,}")


def measure(kept: int, burst: int, rounds: int) -> float:
    """Seconds of this process's CPU for a message, in the median."""
    with running() as (port, _), Room("burst", "ada", keep=kept, url=f"http://127.0.0.1:{port}") as room:
        room.wait_open(20)
        speaker, orders = speaking(port)
        for start in range(0, kept, burst):  # the list is full before it is measured
            take_in(room, orders, min(burst, kept - start))
        rates, costs = [], []
        for _ in range(rounds):
            begun, cpu = time.perf_counter(), time.process_time()
            take_in(room, orders, burst)
            rates.append(burst / (time.perf_counter() - begun))
            costs.append((time.process_time() - cpu) / burst)
        orders.send(0)
        speaker.join()
    print(
        f"{kept:>7,} kept: {statistics.median(rates):,.0f} messages/s into room.messages "
        f"({min(rates):,.0f} to {max(rates):,.0f}), {1e6 * statistics.median(costs):.1f} us CPU each"
    )
    return statistics.median(costs)


def take_in(room: Room, orders: Connection, count: int) -> None:
    first = room.messages[-1].seq + 1 if room.messages else 1
    last = first + count - 1
    orders.send(count)
    room.wait_for(lambda message: message.seq == last, after=last - 1, timeout=120)
    seqs = [message.seq for message in room.messages[-min(count, room.keep) :]]
    if seqs != list(range(last - len(seqs) + 1, last + 1)):
        sys.exit("a message is missing, twice there, or out of order")


def speaking(port: int) -> tuple[multiprocessing.Process, Connection]:
    """A process that says as many messages as it is told to, until it is told 0."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=speak, args=(port, theirs), daemon=True)
    process.start()
    return process, ours


def speak(port: int, orders: Connection) -> None:
    os.sched_setaffinity(0, {0})
    member = Member(port, "burst")
    while count := orders.recv():
        member.say(*[f"message {number}" for number in range(count)])
        heard = 0
        while heard < count:
            heard += member.read()


if __name__ == "__main__":
    main()
